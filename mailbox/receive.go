package mailbox

import (
	"context"
	"sync/atomic"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/shm"
)

// Receiver is the consumer's right to one mailbox. One goroutine at a time uses it; the right may pass to another goroutine
// through anything that orders the two.
type Receiver struct {
	*Mailbox
	head    uint64
	epoch   uint32
	orders  controlWord // the control word without orders for this life
	wake    chan struct{}
	next    uint32   // who had the turn for room last, as bit of the room bits
	remote  bool     // the last message came from another process: it pays to look for the next one for a while
	most    int      // how often the handler of a message is begun; 0 without redelivery
	again   handWord // what the receiver before had in hand, until it is received
	retired atomic.Bool
}

// Receiver takes over the receiving side of a mailbox for this process. What was queued is received next, in order. The caller
// makes sure that no other receiver is at work: the one before has ended, or its process was swept. Orders to the present life that
// were given before it began are received; orders to an earlier one are not, which has ended.
func (m *Mailbox) Receiver() *Receiver {
	old := consumerWord(m.rec[recConsumer].Load())
	r := &Receiver{Mailbox: m, epoch: old.epoch() + 1, wake: make(chan struct{}, 1), orders: makeControl(m.incarnation, m.Life())}
	m.rec[recWaitsFor].Store(0)
	m.rec[recSince].Store(0)
	m.rec[recConsumer].Store(uint64(makeConsumer(r.epoch, m.hub.self))) // first the word, then the ring; step: park.owner
	r.head = m.recoverHead()
	m.rec[recHead].Store(r.head)
	if r.again = m.inHand(r.head); r.again == 0 {
		m.rec[recHand].Store(0)
	}
	m.hub.host(r)
	return r
}

// recoverHead finds where to go on. The last consumer may have died between emptying a slot and moving head; it is at most
// a ring behind.
func (m *Mailbox) recoverHead() uint64 {
	head := m.rec[recHead].Load()
	for range m.mask + 1 {
		if load(m.ring, head&m.mask).ahead(head>>m.shift) <= 0 { // step: head.skip
			break
		}
		head++
	}
	return head
}

// Close gives the consumer's right back. What is queued stays.
func (r *Receiver) Close() {
	if r.retired.CompareAndSwap(false, true) {
		r.hub.unhost(r)
	}
}

// Bits takes the control bits that are set for this life.
func (r *Receiver) Bits() uint64 {
	for range controlTries {
		w := controlWord(r.rec[recControl].Load())
		if !w.of(r.orders) || w == r.orders {
			return 0
		}
		if r.rec[recControl].CompareAndSwap(uint64(w), uint64(r.orders)) {
			return w.bits()
		}
	}
	return 0 // senders set bits all the time: it looks again before the next message
}

// TryReceive returns the next message; ok is false when there is none. Messages that were abandoned, or that make no sense, are
// settled on the way and counted.
func (r *Receiver) TryReceive() (msg Message, ok bool) {
	if r.again != 0 {
		if msg, ok = r.resume(); ok {
			return msg, true
		}
	}
	for range r.mask + 1 + pushTries {
		lap := r.head >> r.shift
		w := load(r.ring, r.head&r.mask) // sync: publish; step: take.slot
		if !w.full() || w.ahead(lap) != 0 {
			r.mend(w, lap)
			return msg, false
		}
		taken, f := r.take(w.frame())
		hand := handWord(0)
		if r.most > 0 && taken == takenMessage {
			hand = makeHand(f, 0, r.most)
			r.rec[recHand].Store(uint64(hand)) // sync: in-hand
		}
		if !swap(r.ring, r.head&r.mask, w, emptySlot(lap+1)) { // step: take.empty
			// Only the holder of this right empties slots: the word was scribbled over. The message in hand is good.
			r.rec[recStale].Add(1)
			r.hub.doubt()
		}
		r.head++
		r.rec[recHead].Store(r.head) // step: take.head
		r.makeRoom()
		switch taken {
		case takenMessage:
			msg = r.message(f, hand)
			r.remote = msg.Header.Caller.Index() != r.hub.self.Index()
			depth := r.rec[recTail].Load() - r.head
			if depth < r.mask+1 && depth+1 > r.rec[recPeak].Load() {
				r.rec[recPeak].Store(depth + 1)
			}
			return msg, true
		case takenAbandoned:
			r.rec[recAbandoned].Add(1)
			r.hub.drop(f)
		case takenNothing:
			r.rec[recStale].Add(1)
		}
	}
	return msg, false
}

// mend sets the tail right where it cannot be: beyond an empty slot, or further behind the head than one sender leaves it. Senders
// only help it forward, one position at a time.
func (r *Receiver) mend(w slotWord, lap uint64) {
	tail := r.rec[recTail].Load()
	off := int64(tail - r.head)
	if w.ahead(lap) != 0 { // only the holder of this right moves a slot to another lap
		r.hub.doubt()
		return
	}
	if off == 0 || off == -1 || r.filled() { // or filled just now
		return
	}
	if r.rec[recTail].CompareAndSwap(tail, r.head) {
		r.rec[recStale].Add(1)
		r.hub.doubt()
	}
}

type taken int

const (
	takenNothing taken = iota
	takenMessage
	takenAbandoned
)

// take is step 9: it makes a queued frame this process's, if it is for this use of this mailbox.
func (m *Mailbox) take(index uint32) (taken, shm.Frame) {
	f, err := m.hub.seg.FrameAt(index)
	if err != nil {
		return takenNothing, f
	}
	return m.takeFrame(f)
}

// takeFrame is take of the frame in one of its generations.
func (m *Mailbox) takeFrame(f shm.Frame) (taken, shm.Frame) {
	for range ownerTries {
		w := f.Owner() // step: take.owner
		st := w.State()
		again := st == shm.Taken && !m.hub.seg.Alive(w.Holder()) // taken by a life that died before it emptied the slot
		if box, inc := f.To(); w.Generation() != f.Generation() || box != m.index || inc != m.incarnation || (st != shm.Queued && !again) {
			return takenNothing, f
		}
		// Abandoned or not, it is taken before its slot is emptied: a frame that is freed while a full slot names it could
		// be received before it was sent again.
		if !f.Move(w, w.To(m.hub.self, shm.Taken)) { // step: take.take
			continue
		}
		m.hub.order.came(f)
		if w.Has(shm.Abandoned) {
			return takenAbandoned, f
		}
		return takenMessage, f
	}
	return takenNothing, f
}

// ownerTries bounds how often an owner word is tried again: its caller can change it at most twice, to wait and to give up.
const ownerTries = 8

// Receive waits for the next message, or for a control bit: then ok is false and the bits are not 0.
func (r *Receiver) Receive(ctx context.Context) (msg Message, bits uint64, err error) {
	for round := 1; ; round++ {
		if round%idleRounds == 0 && ctx.Err() != nil { // words that change all the time must not keep it from its end
			return msg, 0, context.Cause(ctx)
		}
		if bits = r.Bits(); bits != 0 {
			return msg, bits, nil
		}
		if msg, ok := r.TryReceive(); ok {
			return msg, 0, nil
		}
		if err := r.hub.Err(); err != nil {
			return msg, 0, err
		}
		if err := r.wait(ctx, r.pending); err != nil {
			return msg, 0, err
		}
	}
}

// idleRounds is how often a receiver is woken for nothing before it looks at its context.
const idleRounds = 64

// Depth is how many messages wait. The tail may lag behind the head, when the sender that fills the slot has not moved it yet.
func (r *Receiver) Depth() int {
	return int(max(0, min(int64(r.rec[recTail].Load()-r.head), int64(r.mask+1))))
}

// Above waits until more than n messages wait, or a control bit is set, without taking any. It may return early.
func (r *Receiver) Above(ctx context.Context, n int) error {
	return r.wait(ctx, func() bool { return r.Depth() > n && r.filled() || r.ordered() })
}

// pending reports whether there is something to do.
func (r *Receiver) pending() bool { return r.filled() || r.ordered() }

// filled reports whether there is a message at the head.
func (r *Receiver) filled() bool {
	w := load(r.ring, r.head&r.mask)
	return w.full() && w.ahead(r.head>>r.shift) == 0
}

// ordered reports whether a control bit is set for this life.
func (r *Receiver) ordered() bool {
	w := controlWord(r.rec[recControl].Load()) // sync: control
	return w.of(r.orders) && w != r.orders
}

// wait is step 15: it looks for a while if that pays, then announces that it sleeps, looks once more, and sleeps.
func (r *Receiver) wait(ctx context.Context, pending func() bool) error {
	if r.remote && r.hub.spin(pending) {
		return nil
	}
	w := makeConsumer(r.epoch, r.hub.self)
	r.rec[recConsumer].Store(uint64(w | parkedBit))        // sync: park; step: park.announce
	defer func() { r.rec[recConsumer].Store(uint64(w)) }() // step: park.end
	if pending() {                                         // step: park.second-look
		return nil
	}
	select {
	case <-r.wake:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.hub.done:
		return r.hub.Err()
	}
}

// Busy says since when the receiver handles a message, for those who look from outside.
func (r *Receiver) Busy(on bool) {
	since := uint64(0)
	if on {
		since = uint64(sys.Now())
	}
	r.rec[recSince].Store(since)
}

// Outcome is how a message ended, for the counters.
type Outcome int

// The outcomes.
const (
	Handled       Outcome = iota
	HandlerFailed         // handled; the handler returned an error
	HandlerCrashed
	DeadlinePassed
)

// Counted adds one to the counters of an outcome.
func (r *Receiver) Counted(o Outcome) {
	add := func(w int) { r.rec[w].Store(r.rec[w].Load() + 1) } // one writer
	switch o {
	case Handled:
		add(recHandled)
	case HandlerFailed:
		add(recHandled)
		add(recErrors)
	case HandlerCrashed:
		add(recCrashes)
	case DeadlinePassed:
		add(recExpired)
	}
}
