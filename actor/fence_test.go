package actor_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// A handler that does not stop is given up: its caller is told at once, the next life works meanwhile, and when the
// goroutine comes back, however it does, nobody gets its reply and nothing is left.
func TestFence(t *testing.T) {
	for name, comeBack := range map[string]func() (int64, error){
		"returns":            func() (int64, error) { return 7, nil },
		"fails":              func() (int64, error) { return 0, errKnown },
		"panics":             func() (int64, error) { panic("late") },
		"ends its goroutine": func() (int64, error) { runtime.Goexit(); return 0, nil },
	} {
		for _, oneWay := range []bool{false, true} {
			kind := name + ", a call"
			if oneWay {
				kind = name + ", one way"
			}
			t.Run(kind, func(t *testing.T) {
				everywhere(t, func(t *testing.T, s *scene) { s.fence(t, comeBack, oneWay) })
			})
		}
	}
}

func (s *scene) fence(t *testing.T, comeBack func() (int64, error), oneWay bool) {
	life := s.home.start("a", s.kind)
	running, leave, back := make(chan context.Context, 1), make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(leave) })
	t.Cleanup(release)
	n := do(t, func(ctx context.Context, _ *scripted) (int64, error) {
		defer close(back)
		running <- ctx
		<-leave
		return comeBack()
	})
	var hung <-chan outcome[int64]
	if oneWay {
		must(t, s.run.Send(s.ctx(), s.ref, n))
	} else {
		hung = call(func() (int64, error) { return s.run.Call(s.ctx(), s.ref, n) })
	}
	ctx := wait(t, running, "the handler runs")
	must(t, s.note.Send(s.ctx(), s.ref, 1))
	if end := life.Stop(false, 0, 0); end.Reason != actor.EndFenced {
		t.Errorf("the end is %+v", end)
	}
	wait(t, life.Done(), "the end")
	if hung != nil {
		wantIs(t, wait(t, hung, "the caller is told").err, actor.ErrStopped)
	}
	wantIs(t, ctx.Err(), context.Canceled)
	s.home.keep("a", s.kind)
	got, err := s.seen.Call(s.ctx(), s.ref, struct{}{})
	if err != nil || len(got) != 1 {
		t.Errorf("the next life has seen %v, %v", got, err)
	}
	s.works()
	release()
	wait(t, back, "the goroutine comes back")
	for range 20 {
		s.works()
	}
	if oneWay {
		if l := s.w.waitLetters(1); l[0].reason != shm.Stopped || l[0].to != "a" {
			t.Errorf("the message in hand became %+v", l)
		}
		for _, m := range mailbox.Inspect(s.w.seg).Mailboxes {
			if m.Name == "a" && m.Dead != 1 {
				t.Errorf("the mailbox counts %d dead letters, want 1", m.Dead)
			}
		}
	}
	s.w.clean()
}

// What is given up may be in the user's codec instead of the handler.
func TestFenceInCodec(t *testing.T) {
	for _, c := range []struct {
		name string
		v    awkward
	}{
		{"the reply is being written", awkward{Text: "write: hang"}},
		{"the request is being read", awkward{Mode: "read: hang"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, s *scene) {
				if s.local {
					return // no codec
				}
				life := s.home.start("a", s.kind)
				// From now on replies are thought to be large, and are written beside the request.
				_, err := s.odd.Call(s.ctx(), s.ref, awkward{Text: strings.Repeat("x", 100_000)})
				must(t, err)
				entered, open := closeGate()
				defer open()
				hung := call(func() (awkward, error) { return s.odd.Call(s.ctx(), s.ref, c.v) })
				wait(t, entered, "the codec hangs")
				if end := life.Stop(false, 0, 0); end.Reason != actor.EndFenced {
					t.Errorf("the end is %+v", end)
				}
				wantIs(t, wait(t, hung, "the caller is told").err, actor.ErrStopped)
				s.home.keep("a", s.kind)
				s.works()
				open()
				s.works()
				s.w.clean()
			})
		})
	}
}

// A Close that hangs is given up too.
func TestFenceInClose(t *testing.T) {
	w := newWorld(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	k, m := newLiving(t, func() *living {
		return &living{run: answer, close: func() error {
			select {
			case <-entered:
				return nil
			default:
			}
			close(entered)
			<-leave
			return errors.New("late")
		}}
	})
	defer close(leave)
	life := w.main.start("a", k)
	if end := life.Stop(false, 0, 0); end.Reason != actor.EndFenced {
		t.Errorf("the end is %+v", end)
	}
	wait(t, entered, "Close runs")
	w.main.start("a", k)
	if n, err := m.Call(testkit.Deadline(t, patience), k.Ref(w.main.sys, "a"), 1); n != 42 || err != nil {
		t.Error(n, err)
	}
}

// A handler that returns in the moment in which it is given up: either its reply counts or the caller is told, and nothing
// is left in either case.
func TestFenceRace(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		var replies, stops int
		s.raceFences(t, func(_ context.Context, i int64) (int64, error) { return i, nil }, func(i int64, o outcome[int64]) {
			switch {
			case o.err == nil && o.res == i:
				replies++
			case errors.Is(o.err, actor.ErrStopped):
				stops++
			default:
				t.Errorf("%d: %d, %v", i, o.res, o.err)
			}
		})
		t.Logf("%d replies, %d told", replies, stops)
	})
}

// The same, with a handler that defers its reply in that moment: nobody ever replies.
func TestFenceRacesDefer(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.raceFences(t, func(ctx context.Context, _ int64) (int64, error) {
			_, err := actor.Defer[int64](ctx)
			return 0, err
		}, func(i int64, o outcome[int64]) {
			if !errors.Is(o.err, actor.ErrStopped) {
				t.Fatalf("%d: %d, %v", i, o.res, o.err)
			}
		})
	})
}

// raceFences stops an actor again and again, each time a little earlier or later than its handler does something.
func (s *scene) raceFences(t *testing.T, then func(ctx context.Context, i int64) (int64, error), check func(i int64, o outcome[int64])) {
	for i := range int64(1000 / slower) {
		life := s.home.start("a", s.kind)
		var leave atomic.Bool
		running := make(chan struct{}, 1)
		n := do(t, func(ctx context.Context, _ *scripted) (int64, error) {
			running <- struct{}{}
			for !leave.Load() {
				runtime.Gosched()
			}
			spin(10 * time.Microsecond)
			return then(ctx, i)
		})
		got := call(func() (int64, error) { return s.run.Call(s.ctx(), s.ref, n) })
		wait(t, running, "the handler runs")
		leave.Store(true)
		spin(50 * time.Microsecond)
		life.Stop(false, 0, 0)
		check(i, wait(t, got, "the call ends"))
		wait(t, life.Done(), "the end")
	}
}

// spin keeps a processor busy for a random time up to d.
func spin(d time.Duration) {
	for end := time.Now().Add(rand.N(d)); time.Now().Before(end); {
	}
}

// A stop first asks, then cancels the context, and only then gives up.
func TestStopCancelsBeforeItFences(t *testing.T) {
	w := newWorld(t)
	life := w.main.start("a", plain.kind)
	ref := plain.kind.Ref(w.main.sys, "a")
	running := make(chan struct{}, 1)
	got := call(func() (int64, error) {
		return plain.run.Call(testkit.Deadline(t, patience), ref, do(t, func(ctx context.Context, _ *scripted) (int64, error) {
			running <- struct{}{}
			<-ctx.Done()
			return 5, nil
		}))
	})
	wait(t, running, "the handler runs")
	if end := life.Stop(false, time.Millisecond, patience); end.Reason != actor.EndShutdown {
		t.Errorf("the end is %+v", end)
	}
	if o := wait(t, got, "the call"); o.res != 5 || o.err != nil {
		t.Error(o)
	}
}

func TestStopTwice(t *testing.T) {
	w := newWorld(t)
	life := w.main.start("a", plain.kind)
	f, running, release := block(t)
	must(t, plain.run.TrySend(plain.kind.Ref(w.main.sys, "a"), do(t, f)))
	wait(t, running, "the handler runs")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if end := life.Stop(false, 0, 0); end.Reason != actor.EndFenced {
				t.Errorf("the end is %+v", end)
			}
		})
	}
	all.Wait()
	release()
}
