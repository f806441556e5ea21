package mailbox

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// How this process waits. A party that expects its peer soon looks a few times, then looks and yields for a while, then
// sleeps: a peer on another processor answers within the looks, one on the same processor runs when this one yields, and a wake-up
// from sleep costs tens of microseconds when it crosses processors.

const (
	spinLooks    = 64                    // looks without yielding
	spinTime     = 50 * time.Microsecond // then looks with yielding
	spinYields   = 5                     // between two looks at the clock
	spinsUseless = 8                     // so many useless spins in a row, and only one wait in spinEvery spins
	spinEvery    = 16
)

// spinPolicy lets at most one party of a process spin at a time, and stops it where it does not pay.
type spinPolicy struct {
	busy    atomic.Bool
	useless atomic.Int32
	waits   atomic.Uint32
}

// spin looks for a while and reports whether done became true.
func (h *Hub) spin(done func() bool) bool {
	if word.Points {
		return false // who makes every access a choice does not want to look twice
	}
	for range spinLooks {
		if done() {
			return true
		}
	}
	s := &h.spins
	if s.useless.Load() >= spinsUseless && s.waits.Add(1)%spinEvery != 0 {
		return false
	}
	if !s.busy.CompareAndSwap(false, true) {
		return false
	}
	defer s.busy.Store(false)
	for end := time.Now().Add(spinTime); ; {
		found := done()
		for i := 0; i < spinYields && !found; i++ {
			sys.Yield()
			found = done()
		}
		// A yield that lost the processor for a whole slice did not pay, even if the peer has answered meanwhile.
		if late := time.Now().After(end); late {
			s.useless.Add(1)
			return found
		}
		if found {
			s.useless.Store(0)
			return true
		}
		runtime.Gosched()
	}
}

// waiter is where one caller sleeps. Its number stands in the frame; two waiters may share one, and then both look.
type waiter struct {
	wake   chan struct{}
	number uint32
}

// callTable has the waiters of this process. They are made as callers need them and used again.
type callTable struct {
	mu       sync.Mutex
	idle     []*waiter
	made     uint32
	byNumber [shm.CallNumbers]atomic.Pointer[[]*waiter]
}

func (t *callTable) get() *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.idle); n > 0 {
		w := t.idle[n-1]
		t.idle = t.idle[:n-1]
		return w
	}
	w := &waiter{make(chan struct{}, 1), t.made % shm.CallNumbers}
	t.made++
	at := &t.byNumber[w.number]
	var list []*waiter
	if old := at.Load(); old != nil {
		list = append(list, *old...)
	}
	list = append(list, w)
	at.Store(&list)
	return w
}

func (t *callTable) put(w *waiter) {
	select {
	case <-w.wake:
	default:
	}
	t.mu.Lock()
	t.idle = append(t.idle, w)
	t.mu.Unlock()
}

func (t *callTable) wake(number uint32) {
	if list := t.byNumber[number%shm.CallNumbers].Load(); list != nil {
		for _, w := range *list {
			poke(w.wake)
		}
	}
}

func (t *callTable) wakeAll() {
	for i := range t.byNumber {
		t.wake(uint32(i))
	}
}
