package shm

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
)

// sleeper is a process's waiter: it gives back what the process keeps when somebody wants a frame, and wakes who waits here.
type sleeper struct {
	p    *Pool
	wake chan struct{}
	here atomic.Bool // somebody waits here
	stop atomic.Bool
	done sync.WaitGroup
}

func newSleeper(t *testing.T, s *Segment, id ProcessID) *sleeper {
	w := &sleeper{p: s.NewPool(id), wake: make(chan struct{}, 1)}
	l := s.Listen(id.Index())
	w.done.Go(func() {
		listenFor(l, w.stop.Load, func() bool {
			if !l.Look() {
				return false
			}
			if s.Wanted() {
				w.p.Flush()
			}
			if !w.here.Load() {
				s.PassTurn(id)
			}
			select {
			case w.wake <- struct{}{}:
			default:
			}
			return true
		})
	})
	t.Cleanup(func() {
		w.stop.Store(true)
		s.SetLook(id.Index())
		s.Ring(id.Index())
		w.done.Wait()
		w.p.Flush()
	})
	return w
}

// get waits for a frame.
func (w *sleeper) get(t *testing.T, n int) (f Frame, ok bool) {
	timer := time.NewTimer(testkit.Scale(limit))
	defer timer.Stop()
	w.here.Store(true)
	defer func() {
		w.here.Store(false)
		w.p.seg.PassTurn(w.p.self)
	}()
	for {
		if f, err := w.p.Get(n); err == nil {
			return f, true
		}
		w.p.seg.Want(w.p.self.Index())
		if f, err := w.p.Get(n); err == nil {
			return f, true
		}
		select {
		case <-w.wake:
		case <-timer.C:
			return f, false
		}
	}
}

// Who waits for a frame is woken when there is one, however the freeing and the last look before the sleep meet, and wherever
// the frame would have gone.
func TestWantedFrameWakes(t *testing.T) {
	const spans = 16
	for name, n := range map[string]int{
		"kept in a cache": classFrame(20),
		"a whole span":    classFrame(len(classSizes) - 1),
		"a run":           spans / 2 * spanSize, // its parts take a while to free
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			o := small()
			o.MessageBytes, o.MaxMessage = spans*spanSize, spans/2*spanSize
			s := create(t, o)
			a, b := newSleeper(t, s, s.ID(0)), newSleeper(t, s, enter(t, s, "b"))
			all := fill(t, a.p, n) // all that fit
			if len(all) == 0 {
				t.Fatal("no frame")
			}
			last := all[len(all)-1]
			rounds := roundsOf(1000)
			start, freed := make(chan Frame), make(chan struct{})
			defer close(start)
			go func() {
				for f := range start {
					a.p.Put(f)
					freed <- struct{}{}
				}
			}()
			for i := range rounds {
				start <- last // the moment varies by itself
				f, ok := b.get(t, n)
				<-freed
				if !ok {
					t.Fatalf("round %d: a frame is free, or kept by a process that does not use it, and nobody woke who waits for it", i)
				}
				b.p.Put(f)
				if last, ok = a.get(t, n); !ok {
					t.Fatalf("round %d: the frame does not come back", i)
				}
			}
			for _, f := range append(all[:len(all)-1], last) {
				a.p.Put(f)
			}
		})
	}
}

// Who frees a frame while another begins to wait for one sees that, though it looked before.
func TestWantedWhileFreeing(t *testing.T) {
	const n = 5000
	for name, full := range map[string]bool{"into the cache": false, "beside a full cache": true} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			s := create(t, small())
			a, b := pool(t, s, s.ID(0)), pool(t, s, enter(t, s, "b"))
			var rest []Frame
			if full {
				for range keptOf(classOf(n)) {
					rest = append(rest, get(t, a, n))
				}
			}
			f := get(t, a, n)
			for _, f := range rest {
				a.Put(f)
			}
			lock := &a.classes[classOf(n)].Mutex
			lock.Lock()
			freed := make(chan struct{})
			go func() {
				a.Put(f)
				close(freed)
			}()
			testkit.Eventually(t, limit, "Put waits for its cache", func() bool {
				stacks := make([]byte, 1<<20)
				return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "shm.(*Pool).keep")
			})
			l := s.Listen(b.self.Index())
			s.Want(b.self.Index())
			l.Look() // it wakes itself too, looks once more, and sleeps
			lock.Unlock()
			if !full {
				a.Flush() // so does process a, which is woken, before its Put goes on
			}
			<-freed
			if kept := a.Kept(); !l.Look() || kept > keptOf(classOf(n)) && full {
				t.Errorf("nobody woke who waits for a frame; %d are kept", kept)
			}
		})
	}
}
