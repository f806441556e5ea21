package mailbox

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// Waiting for room. Two rules see to it that nobody waits for ever while others send:
//
//   - Inside a process senders are served in the order in which they began to wait. Only the first of them looks and is woken; when
//     it has sent or given up it wakes the next. Who comes later, also with TrySend, does not pass those who wait.
//   - Among processes there is a turn. When a receiver makes room, it gives the turn to one of the processes that are in line, to
//     each in its time. As long as it has the turn, all others leave the last free slot to it. The turn ends with the message that it
//     sends, when nobody waits there any more, with its death, and at the latest after turnLimit messages.
//
// A process that is stopped while it has the turn holds up nobody: the mailbox is one message smaller for the others
// meanwhile, as if it had sent, and it has at least two.

// turnLimit is how many messages a mailbox receives before a turn that was not used goes to the next. It bounds what a process that was
// stopped costs the others that wait, and gives one that runs all the time that a wake-up can need.
const turnLimit = 1 << 16

// turnWord says which process has the turn, 0 for none, and at which position the receiver was when it gave it.
//
//	| position 56 | process index mod 64, plus 1   8 |
type turnWord uint64

func makeTurn(bit uint32, head uint64) turnWord { return turnWord(head<<8 | uint64(bit%64) + 1) }

func (t turnWord) of(p shm.ProcessID) bool { return uint64(t&0xff) == uint64(p.Index()%64)+1 }
func (t turnWord) over(head uint64) bool {
	return t&0xff == 0 || (head-uint64(t>>8))&(1<<56-1) >= turnLimit
}

// roomTable has the senders of this process that wait for room, by mailbox, and in the order in which they came.
type roomTable struct {
	mu      sync.Mutex
	count   atomic.Int32
	waiting map[uint32][]chan struct{}
}

// enter joins the queue of a mailbox; first says that nobody is before it.
func (t *roomTable) enter(mailbox uint32) (wake chan struct{}, first bool) {
	wake = make(chan struct{}, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.Add(1)
	t.waiting[mailbox] = append(t.waiting[mailbox], wake)
	return wake, len(t.waiting[mailbox]) == 1
}

// leave leaves the queue, and wakes who is the first by that. It is false when nobody waits any more.
func (t *roomTable) leave(mailbox uint32, wake chan struct{}) (others bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.Add(-1)
	list := t.waiting[mailbox]
	at := slices.Index(list, wake)
	list = slices.Delete(list, at, at+1)
	if len(list) == 0 {
		delete(t.waiting, mailbox)
		return false
	}
	t.waiting[mailbox] = list
	if at == 0 {
		poke(list[0])
	}
	return true
}

// wake wakes the first in the queue of a mailbox; it is false when nobody waits.
func (t *roomTable) wake(mailbox uint32) bool {
	if t.count.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.waiting[mailbox]
	if len(list) == 0 {
		return false
	}
	poke(list[0])
	return true
}

// waited reports whether somebody waits for room in a mailbox.
func (t *roomTable) waited(mailbox uint32) bool {
	if t.count.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting[mailbox]) > 0
}

// waitedAbove reports whether somebody waits for something that is no mailbox.
func (t *roomTable) waitedAbove(mailboxes uint32) bool {
	if t.count.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for queue := range t.waiting {
		if queue >= mailboxes {
			return true
		}
	}
	return false
}

func (t *roomTable) wakeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.waiting {
		poke(list[0])
	}
}

// publishNow publishes if there is room, and nobody here waits for it.
func (m *Mailbox) publishNow(d *Draft, flags shm.Owner) error {
	if m.hub.room.waited(m.index) {
		m.rec[recRefused].Add(1)
		if !m.Open() {
			return m.stopped()
		}
		return fmt.Errorf("mailbox %q, capacity %d, where others wait for room: %w", m.Name(), m.mask+1, ErrMailboxFull)
	}
	return m.publish(d, flags)
}

// publishWait publishes, waiting for room until ctx ends.
func (m *Mailbox) publishWait(ctx context.Context, d *Draft, flags shm.Owner) error {
	h := m.hub
	if err := h.Err(); err != nil {
		return err
	}
	if !h.room.waited(m.index) {
		if err := m.publish(d, flags); !isFull(err) {
			return err
		}
	}
	wake, first := h.room.enter(m.index)
	sent := false
	defer func() { m.leaveRoom(wake, sent) }()
	for {
		if first {
			m.wantRoom()
			if err := m.publish(d, flags); !isFull(err) { // step: room.second-look
				sent = err == nil
				return err
			}
		}
		h.woken(ctx, wake)
		if err := h.Err(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for room in %q: %w", m.Name(), context.Cause(ctx))
		}
		first = true // only the first is woken
	}
}

// spare reports whether a sender of this process may fill the slot at tail: somebody else's turn leaves the last free slot to
// that process. Slots are filled in order, so the next one is still free when the one at tail is filled.
func (m *Mailbox) spare(tail uint64) bool {
	turn := turnWord(m.rec[recTurn].Load()) // sync: turn; step: turn.spare
	if turn == 0 || turn.of(m.hub.self) {
		return true
	}
	next := tail + 1
	w := load(m.ring, next&m.mask) // step: turn.next-slot
	return w.ahead(next>>m.shift) == 0 && !w.full()
}

// wantRoom says that this process waits for room, and is in line for the turn.
func (m *Mailbox) wantRoom() {
	bit := uint64(1) << (m.hub.self.Index() % 64)
	m.rec[recLine].Or(bit) // step: room.line
	m.rec[recRoom].Or(bit) // sync: room; step: room.bit
}

// leaveRoom ends a wait for room. Who has sent has used the turn; if others wait here, the process is in line for the next one
// before it lets go of this one.
func (m *Mailbox) leaveRoom(wake chan struct{}, sent bool) {
	others := m.hub.room.leave(m.index, wake)
	if !others {
		m.hub.passTurn(m.index)
		return
	}
	if sent {
		m.wantRoom()
		m.endTurn()
	}
}

// endTurn ends this process's turn, if it has it.
func (m *Mailbox) endTurn() {
	if turn := turnWord(m.rec[recTurn].Load()); turn != 0 && turn.of(m.hub.self) { // step: turn.look
		m.rec[recTurn].CompareAndSwap(uint64(turn), 0) // sync: turn; step: turn.end
	}
}

// passTurn leaves the line, gives back a turn that nobody here uses, and wakes those who left a slot to it. One who begins to wait
// meanwhile may lose the place in the line until it is woken, and no more.
func (h *Hub) passTurn(mailbox uint32) {
	rec, bit := h.seg.Mailbox(mailbox), uint64(1)<<(h.self.Index()%64)
	if rec == nil {
		return
	}
	if rec[recLine].Load()&bit != 0 {
		rec[recLine].And(^bit) // step: turn.leave
	}
	turn := turnWord(rec[recTurn].Load())                                             // step: turn.look
	if turn != 0 && turn.of(h.self) && rec[recTurn].CompareAndSwap(uint64(turn), 0) { // step: turn.pass
		h.wakeRoom(rec, mailbox, 0)
	}
}

// makeRoom is step 12: it wakes who waits for room, after the slot was emptied.
func (r *Receiver) makeRoom() {
	line := r.rec[recLine].Load() // step: room.waiting
	set := r.rec[recRoom].Load()  // sync: room; step: room.look
	if line|set == 0 {
		return
	}
	next := r.giveTurn(line) // before it is woken
	if next|set != 0 {
		r.hub.wakeRoom(r.rec, r.index, next)
	}
}

// giveTurn gives the turn to the next process in the line, when nobody has it or it was not used in time, and returns its bit.
func (r *Receiver) giveTurn(line uint64) (bit uint64) {
	turn := turnWord(r.rec[recTurn].Load()) // step: turn.given
	if line == 0 || !turn.over(r.head) {
		return 0
	}
	next := (r.next + 1 + uint32(bits.TrailingZeros64(bits.RotateLeft64(line, -int(r.next)-1)))) % 64
	to := makeTurn(next, r.head)
	if !r.rec[recTurn].CompareAndSwap(uint64(turn), uint64(to)) { // sync: turn; step: turn.give
		return 0 // it ended just now: who is next is not passed over
	}
	r.next = next
	// First the turn, then the look: the line was read before, and the sweep that ended the turns of the dead may have passed.
	if !r.hub.seg.AnyAlive(next) { // step: turn.verdict
		r.rec[recTurn].CompareAndSwap(uint64(to), 0) // step: turn.revoke
		return 0
	}
	return 1 << next
}

func (m *Mailbox) wakeRoom() { m.hub.wakeRoom(m.rec, m.index, 0) }

// wakeRoom wakes the processes that wait for room, and those named besides.
func (h *Hub) wakeRoom(rec []word.Word, mailbox uint32, also uint64) {
	set := rec[recRoom].Swap(0) | also // step: room.clear
	for p := uint32(0); set != 0 && int(p) < h.seg.Processes(); p++ {
		if set>>(p%64)&1 != 0 {
			h.wakeMailbox(h.seg.ID(p), mailbox)
		}
	}
}
