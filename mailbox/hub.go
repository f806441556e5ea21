package mailbox

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// Hub joins one process to a segment. It has the process's frame cache, and the one goroutine that sleeps on the process's
// doorbell for all parked callers, receivers and senders. Safe for concurrent use.
type Hub struct {
	seg      *shm.Segment
	self     shm.ProcessID
	instance uint64
	pool     *shm.Pool
	values   *valueTable
	order    raceOrder
	letters  atomic.Pointer[Mailbox] // where dead letters go

	hosted []atomic.Pointer[Receiver] // by mailbox index
	calls  callTable
	room   roomTable
	spins  spinPolicy

	mu     word.Mutex          // guards what only the owner uses
	closed map[uint64][]uint32 // mailboxes to use again, by capacity
	unused uint32
	rings  []ringPlace     // of the mailboxes before unused, by the owner's own account
	left   map[uint32]bool // open mailboxes of an owner that died, which nobody has claimed
	cutOff []*Mailbox      // mailboxes that it had begun to close

	sweeping word.Mutex    // sweeps are serial
	doubts   chan struct{} // somebody here has read what no correct program writes

	done    chan struct{}
	err     atomic.Pointer[error]
	stopped sync.WaitGroup
}

// Join makes a hub for this process, which holds entry p of the segment's process table.
func Join(seg *shm.Segment, p uint32) *Hub {
	h := &Hub{
		seg: seg, self: seg.Entered(p), instance: seg.Info().Instance & (1<<31 - 1),
		values: newValueTable(seg.Frames()),
		order:  newOrder(seg.Frames()),
		hosted: make([]atomic.Pointer[Receiver], seg.Mailboxes()),
		closed: map[uint64][]uint32{},
		done:   make(chan struct{}),
		doubts: make(chan struct{}, 1),
	}
	h.pool = seg.NewPool(h.self)
	h.room.waiting = map[uint32][]chan struct{}{}
	h.takeStock()
	listen := seg.Listen(p)
	h.stopped.Go(func() { h.listen(listen) })
	return h
}

// Segment is the segment that the hub joins.
func (h *Hub) Segment() *shm.Segment { return h.seg }

// Self is this process.
func (h *Hub) Self() shm.ProcessID { return h.self }

// Kept is how many frames the hub's cache keeps: they are held and idle.
func (h *Hub) Kept() int { return h.pool.Kept() }

// Err is why the hub was closed, nil while it is open.
func (h *Hub) Err() error {
	if e := h.err.Load(); e != nil {
		return *e
	}
	return nil
}

// Done is closed when the hub is.
func (h *Hub) Done() <-chan struct{} { return h.done }

// Close ends every wait of this process with err, which callers get, gives the kept frames back, and stops the waiter. It
// does not change what is in the segment. Without an error it is ErrSystemEnded.
func (h *Hub) Close(err error) {
	if err == nil {
		err = ErrSystemEnded
	}
	if !h.err.CompareAndSwap(nil, &err) {
		return
	}
	close(h.done)
	h.seg.Wake(h.self.Index())
	h.stopped.Wait()
	h.pool.Flush()
}

// listen is the waiter: step 16. Bits are hints, so all it does is wake; the woken look at the real words.
func (h *Hub) listen(l *shm.Listen) {
	look := func() bool {
		any := l.Look()
		if any {
			if h.seg.Wanted() {
				h.pool.Flush()
			}
			h.wakeAll()
			h.passFrameTurn()
		}
		any = l.Calls(h.calls.wake) || any
		return l.Ready(h.wakeHosted) || any
	}
	h.attend(l, look)
}

// doorbell is what attend sleeps on: shm.Listen.
type doorbell interface {
	Announce() (bell uint32)
	Sleep(bell uint32)
	Awake()
}

// attend looks, and sleeps while there is nothing, until the hub is closed.
func (h *Hub) attend(l doorbell, look func() (any bool)) {
	for h.Err() == nil {
		if look() {
			continue
		}
		v := l.Announce()
		if !look() && h.Err() == nil { // step: waiter.second-look
			// The sleep holds this thread's P until the scheduler takes it away: let everything runnable go first.
			runtime.Gosched()
			l.Sleep(v)
		}
		l.Awake()
	}
}

// wakeHosted wakes the receiver of a mailbox, if it is here, and who is the first here to wait for room in it.
func (h *Hub) wakeHosted(i uint32) {
	if int(i) >= len(h.hosted) {
		return
	}
	if r := h.hosted[i].Load(); r != nil {
		poke(r.wake)
	}
	if !h.room.wake(i) {
		h.passTurn(i)
	}
}

// wakeMailbox says to process p: look at mailbox i.
func (h *Hub) wakeMailbox(p shm.ProcessID, i uint32) {
	if p == h.self {
		h.wakeHosted(i)
		return
	}
	h.seg.SetReady(p.Index(), i)
	h.seg.Ring(p.Index())
}

// wakeAll wakes everybody here: after a sweep anything may have changed.
func (h *Hub) wakeAll() {
	for i := range h.hosted {
		if r := h.hosted[i].Load(); r != nil {
			poke(r.wake)
		}
	}
	h.room.wakeAll()
	h.calls.wakeAll()
}

// host makes r the receiver of its mailbox in this process.
func (h *Hub) host(r *Receiver) { h.hosted[r.index].Store(r) }

func (h *Hub) unhost(r *Receiver) { h.hosted[r.index].CompareAndSwap(r, nil) }

// poke wakes the sleeper on ch, now or at its next sleep.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
