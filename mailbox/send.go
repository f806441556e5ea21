package mailbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmactor/shmactor/shm"
)

// Draft is a message that is being filled: a frame that belongs to this process alone. TrySend, Send, Call and Discard use
// it up, whatever their outcome.
type Draft struct {
	Frame  shm.Frame
	Header shm.Header // its addresses are filled in by the sending operation
	value  any
	local  bool
	place  *Local
}

// Draft returns a draft with room for n bytes of payload: ErrTooLarge, or ErrNoSpace when there is no frame now, or others
// here wait for one of that size.
func (h *Hub) Draft(n int) (Draft, error) { return h.draftNow(n, false) }

// DraftWait is Draft that waits for a frame until ctx ends. The wait is woken, not polled, and those who wait for the same size are served
// in the order in which they came.
func (h *Hub) DraftWait(ctx context.Context, n int) (Draft, error) { return h.draftWait(ctx, n, false) }

// DraftReserved is Draft for who has a message in hand: it passes those who wait for a frame, and may use the reserve of message
// memory. Others will have what the message holds when it is done.
func (h *Hub) DraftReserved(n int) (Draft, error) { return h.draft(n, true) }

// DraftWaitReserved is DraftWait for who has a message in hand.
func (h *Hub) DraftWaitReserved(ctx context.Context, n int) (Draft, error) {
	return h.draftWait(ctx, n, true)
}

func (h *Hub) draftWait(ctx context.Context, n int, inHand bool) (Draft, error) {
	d, err := h.draftNow(n, inHand)
	if err == nil || !errors.Is(err, shm.ErrNoSpace) {
		return d, err
	}
	queue := frameQueue(n, inHand)
	wake, first := h.room.enter(queue)
	defer func() {
		if !h.room.leave(queue, wake) {
			h.passFrameTurn()
		}
	}()
	for {
		if first {
			h.seg.Want(h.self.Index())
			if d, err = h.draft(n, inHand); err == nil || !errors.Is(err, shm.ErrNoSpace) {
				return d, err
			}
		}
		h.woken(ctx, wake)
		if ended := h.Err(); ended != nil {
			return d, ended
		}
		if ctx.Err() != nil {
			return d, fmt.Errorf("%w, until: %w", err, context.Cause(ctx))
		}
		first = true // only the first is woken
	}
}

// woken waits for a wake or the end of the wait. Which it was is for the caller to see: when both are there select takes any.
func (h *Hub) woken(ctx context.Context, wake <-chan struct{}) {
	select {
	case <-wake:
	case <-ctx.Done():
	case <-h.done:
	}
}

// draftNow is draft for who comes later than those who wait.
func (h *Hub) draftNow(n int, inHand bool) (Draft, error) {
	if !inHand && h.room.waited(frameQueue(n, false)) {
		if err := h.Err(); err != nil {
			return Draft{}, err
		}
		return Draft{}, fmt.Errorf("no frame for %d bytes, others wait for one; raise MessageBytes: %w", n, shm.ErrNoSpace)
	}
	return h.draft(n, inHand)
}

func (h *Hub) draft(n int, inHand bool) (Draft, error) {
	if err := h.Err(); err != nil {
		return Draft{}, err
	}
	get := h.pool.Get
	if inHand {
		get = h.pool.GetReserved
	}
	f, err := get(n)
	if errors.Is(err, shm.ErrCorrupt) {
		h.doubt()
	}
	return Draft{Frame: f}, err
}

// frameQueue stands for the frames of one size among the mailboxes that senders wait for room in.
func frameQueue(n int, inHand bool) uint32 {
	queue := 2 * uint32(shm.Class(n))
	if inHand {
		queue++
	}
	return firstFrameQueue - queue
}

const firstFrameQueue = ^uint32(0)

// passFrameTurn gives back a turn for a frame that nobody here uses.
func (h *Hub) passFrameTurn() {
	if !h.room.waitedAbove(uint32(h.seg.Mailboxes())) {
		h.seg.PassTurn(h.self)
	}
}

// Discard gives the draft's frame back.
func (h *Hub) Discard(d *Draft) {
	if d.local {
		h.takeValue(d.Frame, h.valueLife())
	}
	h.pool.Put(d.Frame)
}

// TrySend sends a one-way message: ErrMailboxFull at once when there is no room, ErrStopped when the mailbox was closed.
// With an error nothing was sent.
func (m *Mailbox) TrySend(d *Draft) error {
	m.address(d)
	err := m.publishNow(d, 0)
	if err != nil {
		m.hub.Discard(d)
	}
	return err
}

// Send is TrySend that waits for room until the context ends. The wait is woken, not polled.
func (m *Mailbox) Send(ctx context.Context, d *Draft) error {
	m.address(d)
	err := m.publishWait(ctx, d, 0)
	if err != nil {
		m.hub.Discard(d)
	}
	return err
}

// SendBytes sends a copy of b. It waits for room until the context ends.
func (m *Mailbox) SendBytes(ctx context.Context, b []byte) error {
	d, err := m.hub.DraftWait(ctx, len(b))
	if err != nil {
		return err
	}
	d.fill(b)
	return m.Send(ctx, &d)
}

// TrySendBytes sends a copy of b, or returns ErrMailboxFull at once.
func (m *Mailbox) TrySendBytes(b []byte) error {
	d, err := m.hub.Draft(len(b))
	if err != nil {
		return err
	}
	d.fill(b)
	return m.TrySend(&d)
}

func (d *Draft) fill(b []byte) { d.Header.Length = uint32(copy(d.Frame.Payload(), b)) }

// address writes the header, where everything about the message stands except who holds it.
func (m *Mailbox) address(d *Draft) {
	d.Header.Mailbox, d.Header.Incarnation, d.Header.Caller = m.index, m.incarnation, m.hub.self
	if d.local {
		d.Header.Value = m.hub.valueLife()
		m.hub.putValue(d)
	}
	d.Frame.SetHeader(&d.Header)
}

// publish is steps 3 to 8 of the one-way table.
func (m *Mailbox) publish(d *Draft, flags shm.Owner) error {
	f := d.Frame
	m.hub.order.leaves(f)
	f.Set(f.Word(m.hub.self, shm.Queued).With(flags)) // step: push.queue
	if err := m.push(f.Index()); err != nil {
		f.Set(f.Word(m.hub.self, shm.Held)) // step: push.refused
		if isFull(err) {
			m.signal() // who filled it may be stopped in front of its own
		}
		return err
	}
	m.signal()
	return nil
}

// isFull reports whether there was no room.
func isFull(err error) bool { return errors.Is(err, ErrMailboxFull) }

// push is steps 4 to 7: it publishes a queued frame.
func (m *Mailbox) push(frame uint32) error {
	tries := 2*(m.mask+1) + pushTries
	for range tries {
		tail := m.rec[recTail].Load() // step: push.tail
		lap := tail >> m.shift
		w := load(m.ring, tail&m.mask)                                        // sync: publish; step: push.slot
		if st := m.state(); !st.open() || st.incarnation() != m.incarnation { // step: push.state
			if !st.open() && st&0xff != stateClosed || int32(st.incarnation()-m.incarnation) < 0 {
				m.hub.doubt()
			}
			return m.stopped()
		}
		switch ahead := w.ahead(lap); {
		case ahead > 0 || ahead == 0 && w.full():
			m.rec[recTail].CompareAndSwap(tail, tail+1) // step: push.help
		case ahead < 0 || !m.spare(tail):
			if off := int64(tail - m.rec[recHead].Load()); ahead < -1 || off < -1 || off > 2*int64(m.mask+1) {
				m.hub.doubt() // not full: wrong
			}
			m.rec[recRefused].Add(1)
			return fmt.Errorf("mailbox %q, capacity %d: %w", m.Name(), m.mask+1, ErrMailboxFull)
		case swap(m.ring, tail&m.mask, w, fullSlot(lap, frame)): // sync: publish; step: push.publish
			m.rec[recTail].CompareAndSwap(tail, tail+1) // step: push.advance
			return nil
		}
	}
	// Other senders were faster each time, or the ring is scribbled over. To this sender both mean: no room now.
	m.hub.doubt()
	m.rec[recRefused].Add(1)
	return fmt.Errorf("mailbox %q, after %d tries: %w", m.Name(), tries, ErrMailboxFull)
}

// pushTries bounds how often a sender tries again beside others, on top of two laps of helping the tail forward.
const pushTries = 64

func (m *Mailbox) stopped() error {
	return fmt.Errorf("mailbox %d was closed: %w", m.index, ErrStopped)
}

// signal is step 8: it wakes the consumer if it is parked, wherever it is now.
func (m *Mailbox) signal() {
	c := consumerWord(m.rec[recConsumer].Load()) // sync: park; step: signal.look
	for range signalTries {
		if c.parked() {
			m.hub.wakeMailbox(c.process(), m.index)
		}
		now := consumerWord(m.rec[recConsumer].Load()) // step: signal.again
		if now.process() == c.process() && now.epoch() == c.epoch() {
			return
		}
		c = now // it moved: ring there too
	}
}

// signalTries bounds how often a mailbox may move during one send.
const signalTries = 4
