package mailbox

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// Mailbox is the senders' side of one use of a mailbox. It is safe for concurrent use, and stays valid while its actor is
// restarted or moves to another process; after the mailbox was closed every operation returns ErrStopped.
type Mailbox struct {
	hub         *Hub
	rec, ring   []word.Word
	mask        uint64
	shift       uint
	index       uint32
	incarnation uint32
}

// handle makes the handle of the present use of mailbox i. The record is another process's input: what the handle keeps
// was checked.
func (h *Hub) handle(i uint32) (*Mailbox, error) {
	rec := h.seg.Mailbox(i)
	if rec == nil {
		return nil, fmt.Errorf("mailbox %d of %d: %w", i, h.seg.Mailboxes(), shm.ErrCorrupt)
	}
	capacity := rec[recCapacity].Load()
	if capacity == 0 {
		return nil, fmt.Errorf("mailbox %d was never made: %w", i, shm.ErrNotFound)
	}
	ring := h.seg.RingWords(rec[recRing].Load(), capacity)
	if ring == nil || capacity > MaxCapacity || bits.OnesCount64(capacity) != 1 {
		return nil, fmt.Errorf("mailbox %d has a ring of %d messages outside of ring memory: %w", i, capacity, shm.ErrCorrupt)
	}
	return &Mailbox{
		hub: h, rec: rec, ring: ring, mask: capacity - 1, shift: uint(bits.TrailingZeros64(capacity)), index: i,
		incarnation: stateWord(rec[recState].Load()).incarnation(),
	}, nil
}

// Open returns the mailbox with that name, or ErrNotFound.
func (h *Hub) Open(name string) (*Mailbox, error) {
	if err := h.Err(); err != nil {
		return nil, err
	}
	i, ok := h.seg.Lookup(name)
	if !ok {
		h.doubt() // nobody has the name, or somebody scribbled over the directory
		return nil, fmt.Errorf("no mailbox has the name %q: %w", name, shm.ErrNotFound)
	}
	m, err := h.At(i)
	if err != nil {
		return nil, err
	}
	// The name may have been given to another use in between; names change only while the mailbox is closed.
	if h.seg.Name(i) != name || !m.state().open() {
		return nil, fmt.Errorf("mailbox %q is being closed: %w", name, shm.ErrNotFound)
	}
	return m, nil
}

// Create makes and opens a mailbox for up to capacity messages, which is rounded up to a power of two. Only the owner of
// the segment calls it. kind is for whoever reads it with Kind; it says what the mailbox takes.
func (h *Hub) Create(name string, capacity int, kind uint64) (*Mailbox, error) {
	if capacity < 1 || capacity > MaxCapacity {
		return nil, fmt.Errorf("mailbox %q: capacity %d, want 1 to %d", name, capacity, MaxCapacity)
	}
	if err := shm.CheckName(name); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	size := max(2, uint64(1)<<bits.Len64(uint64(capacity-1)))
	if m, ok := h.claim(name, size, kind); ok {
		return m, nil
	}
	if i, taken := h.seg.Lookup(name); taken {
		return nil, fmt.Errorf("mailbox %q is mailbox %d, received by process %v: %w", name, i,
			consumerWord(h.seg.Mailbox(i)[recConsumer].Load()).process(), shm.ErrNameTaken)
	}
	i, err := h.reserve(name, size)
	if err != nil {
		return nil, err
	}
	m, err := h.handle(i)
	if err != nil {
		return nil, err
	}
	m.reset(kind)
	if err := h.seg.Insert(name, i); err != nil {
		h.closed[size] = append(h.closed[size], i)
		return nil, err
	}
	m.rec[recState].Store(uint64(makeState(m.incarnation, 0, stateOpen))) // step: close.reopen
	return m, nil
}

// reserve finds a mailbox that is closed and has the right capacity, or one that was never used.
func (h *Hub) reserve(name string, size uint64) (uint32, error) {
	if l := h.closed[size]; len(l) > 0 {
		i := l[len(l)-1]
		h.closed[size] = l[:len(l)-1]
		return i, nil
	}
	if int(h.unused) >= h.seg.Mailboxes() {
		return 0, fmt.Errorf("mailbox %q: all %d mailboxes are in use; raise Mailboxes: %w", name, h.seg.Mailboxes(), shm.ErrNoSpace)
	}
	at, err := h.seg.NewRing(size)
	if err != nil {
		return 0, fmt.Errorf("mailbox %q: %w", name, err)
	}
	rec := h.seg.Mailbox(h.unused)
	rec[recRing].Store(at)
	rec[recCapacity].Store(size)
	h.rings = append(h.rings, ringPlace{at, size})
	h.unused++
	return h.unused - 1, nil
}

// reset prepares a closed mailbox for its next use: a new incarnation, and counters at zero.
func (m *Mailbox) reset(kind uint64) {
	m.incarnation = stateWord(m.rec[recState].Load()).incarnation() + 1
	m.rec[recState].Store(uint64(makeState(m.incarnation, 0, stateClosed)))
	m.rec[recKind].Store(kind)
	m.rec[recBase].Store(m.rec[recHead].Load())
	for _, w := range []int{
		recRefused, recRoom, recWaitsFor, recTurn, recLine, recHandled, recErrors, recCrashes, recExpired, recAbandoned, recDead,
		recStale, recPeak, recSince, recHand,
	} {
		m.rec[w].Store(0)
	}
	m.rec[recControl].Store(uint64(makeControl(m.incarnation, 0)))
	m.rec[recConsumer].Store(uint64(makeConsumer(consumerWord(m.rec[recConsumer].Load()).epoch()+1, 0))) // nobody receives yet
}

// Close ends this use of the mailbox: nothing is accepted any more, every queued call is told why, every queued one-way
// message goes to the dead letters, the name is free. Only the owner of the segment calls it, after the receiver has
// ended.
func (m *Mailbox) Close(why shm.Reason) {
	if m.end(why) {
		m.hub.mu.Lock()
		m.hub.setFree(m)
		m.hub.mu.Unlock()
	}
}

// end closes the mailbox and settles what is in it; it is false when somebody else did.
func (m *Mailbox) end(why shm.Reason) bool {
	if !m.shut() {
		return false
	}
	m.seal(why)
	m.hub.seg.Remove(m.index)
	m.wakeRoom()
	return true
}

// shut is the first step of end: nothing is accepted any more.
func (m *Mailbox) shut() bool {
	for range stateTries {
		w := m.state()
		if w.incarnation() != m.incarnation || !w.open() {
			return false
		}
		if m.rec[recState].CompareAndSwap(uint64(w), uint64(makeState(m.incarnation, w.life(), stateClosed))) { // step: close.state
			return true // refused by a next life that began at the same moment
		}
	}
	m.hub.doubt()
	return false
}

// stateTries bounds how often the state of a mailbox changes while one party changes it.
const stateTries = 1 << 10

// setFree makes a mailbox that was ended available for its next use. The caller has the hub's lock.
func (h *Hub) setFree(m *Mailbox) { h.closed[m.mask+1] = append(h.closed[m.mask+1], m.index) }

// seal settles what the closed ring holds and moves every slot to the next lap, in order. A sender that saw the mailbox
// open loaded its slot word before; so either its compare-and-swap came first, and seal finds the message, or it is
// refused.
func (m *Mailbox) seal(why shm.Reason) {
	head := m.recoverHead()
	held, f, hand := takenNothing, shm.Frame{}, m.inHand(head)
	if hand != 0 {
		held, f = m.takeInHand(hand)
	}
	m.rec[recHand].Store(0) // sync: in-hand
	m.reject(held, f, hand, why)
	for i := range m.mask + 1 {
		pos := head + i
		lap := pos >> m.shift
		for range sealTries {
			w := load(m.ring, pos&m.mask) // step: close.slot
			if w.ahead(lap) != 0 {
				break // already sealed by a closer that was cut off
			}
			// As a consumer does it: take, empty, and only then settle.
			held, f := takenNothing, shm.Frame{}
			if w.full() {
				held, f = m.take(w.frame())
			}
			if swap(m.ring, pos&m.mask, w, emptySlot(lap+1)) { // step: close.empty
				m.reject(held, f, 0, why)
				break
			}
		}
	}
	m.rec[recTail].Store(head + m.mask + 1) // step: close.tail
	m.rec[recHead].Store(head + m.mask + 1) // step: close.head
}

// sealTries is how often a slot is looked at while senders fill it; two are enough, since a slot fills once a lap.
const sealTries = 16

func (m *Mailbox) state() stateWord { return stateWord(m.rec[recState].Load()) }

// Index is the mailbox's number.
func (m *Mailbox) Index() uint32 { return m.index }

// Incarnation counts the uses of the mailbox.
func (m *Mailbox) Incarnation() uint32 { return m.incarnation }

// Name is the mailbox's name, empty when it was closed.
func (m *Mailbox) Name() string { return m.hub.seg.Name(m.index) }

// Kind is what Create was told.
func (m *Mailbox) Kind() uint64 { return m.rec[recKind].Load() }

// Open reports whether this use of the mailbox still accepts messages.
func (m *Mailbox) Open() bool {
	w := m.state()
	return w.open() && w.incarnation() == m.incarnation
}

// Life counts the restarts of the actor behind the mailbox.
func (m *Mailbox) Life() uint32 { return m.state().life() }

// NextLife begins the next life of the actor behind the mailbox. The supervisor of the actor calls it before it starts the actor
// again.
func (m *Mailbox) NextLife() uint32 {
	for range stateTries {
		w := m.state()
		next := w.life() + 1
		if !w.open() || w.incarnation() != m.incarnation {
			return w.life()
		}
		if m.rec[recState].CompareAndSwap(uint64(w), uint64(makeState(m.incarnation, next, stateOpen))) {
			return next
		}
	}
	m.hub.doubt()
	return m.Life()
}

// Process is the process that receives, or that received last.
func (m *Mailbox) Process() shm.ProcessID {
	return consumerWord(m.rec[recConsumer].Load()).process()
}

// Control bits of a mailbox. They are seen before any message, cannot overflow, and setting one twice is setting it once.
const (
	ControlStop  uint64 = 1 << 0 // end after the message in hand
	ControlDrain uint64 = 1 << 1 // end when the mailbox is empty
	ControlPing  uint64 = 1 << 2 // look around
)

// Control gives an order to the present life of the actor, whose receiver it wakes. A life that is being started sees it when it
// receives; if that life ends before, the order has nobody left to end, and does not reach the next.
func (m *Mailbox) Control(bits uint64) error { return m.control(m.state, bits) }

// ControlLife is Control for that life alone: ErrStopped when it is not the present one any more.
func (m *Mailbox) ControlLife(life uint32, bits uint64) error {
	return m.control(func() stateWord {
		if w := m.state(); w.life() == life {
			return w
		}
		return 0
	}, bits)
}

func (m *Mailbox) control(present func() stateWord, bits uint64) error {
	for range controlTries {
		w := controlWord(m.rec[recControl].Load()) // first the word, then the life that it may be of
		st := present()
		if !st.open() || st.incarnation() != m.incarnation || w.incarnation() != m.incarnation {
			return m.stopped()
		}
		to := makeControl(st.incarnation(), st.life())
		if w.of(to) { // else it has the orders to a life that is over
			to = w
		}
		if m.rec[recControl].CompareAndSwap(uint64(w), uint64(to|controlWord(bits&controlBits))) { // sync: control
			m.signal()
			return nil
		}
	}
	return fmt.Errorf("the control word of mailbox %d never stands still: %w", m.index, shm.ErrCorrupt)
}

// controlTries bounds how often the bits change while one party sets its own.
const controlTries = 1 << 12

// WaitFor publishes that the receiver of this mailbox waits for a reply of mailbox to (nil: that it waits no more), and
// reports whether that would close a circle of actors that wait for each other. call tells this call from others of the same
// receiver, and stands in its Header.Chain.
func (m *Mailbox) WaitFor(to *Mailbox, call uint32) (cycle bool) {
	if to == nil {
		m.rec[recWaitsFor].Store(0)
		return false
	}
	m.rec[recWaitsFor].Store(waitsFor(to.index, call)) // sync: waits-for
	// Twice: the words are read one after the other, and may never have stood together the first time.
	for range 2 {
		if !m.waitsForMe(to.index) {
			return false
		}
	}
	m.rec[recWaitsFor].Store(0)
	return true
}

// waitsFor is the word of a receiver that waits for the end of a call to that mailbox.
func waitsFor(to, call uint32) uint64 { return uint64(call)<<32 | uint64(to+1) }

// waitsForMe follows the chain of who waits for whom, and reports whether it leads here.
func (m *Mailbox) waitsForMe(next uint32) bool {
	for range maxChain {
		if next == m.index {
			return true
		}
		rec := m.hub.seg.Mailbox(next)
		if rec == nil {
			return false
		}
		w := rec[recWaitsFor].Load() // sync: waits-for
		if uint32(w) == 0 {
			return false
		}
		next = uint32(w) - 1
	}
	return false
}

// maxChain is the longest chain of waiting actors that is followed.
const maxChain = 64

var errExpired = fmt.Errorf("not handled before its deadline: %w", context.DeadlineExceeded)

// At returns the present use of the mailbox with that index: for a process that was told the index by the owner.
func (h *Hub) At(index uint32) (*Mailbox, error) {
	m, err := h.handle(index)
	if errors.Is(err, shm.ErrCorrupt) {
		h.doubt()
	}
	return m, err
}
