package actor_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

func TestDeadlineTravels(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		var got time.Time
		var has bool
		n := do(t, func(ctx context.Context, _ *scripted) (int64, error) {
			got, has = ctx.Deadline()
			return 0, ctx.Err()
		})
		until := time.Now().Add(time.Hour)
		ctx, cancel := context.WithDeadline(context.Background(), until)
		defer cancel()
		_, err := s.run.Call(ctx, s.ref, n)
		must(t, err)
		if off := got.Sub(until).Abs(); !has || off > time.Millisecond {
			t.Errorf("the handler's deadline is %v (%v), the caller's %v", got, has, until)
		}
		_, err = s.run.Call(context.Background(), s.ref, n)
		must(t, err)
		if has {
			t.Errorf("the handler has the deadline %v, the caller none", got)
		}
		must(t, s.run.Send(ctx, s.ref, n)) // the deadline bounds the sending
		s.works()
		if has {
			t.Errorf("the handler of a one-way message has the deadline %v", got)
		}
	})
}

// A deadline that no clock reaches is none.
func TestDeadlineFarAway(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		for _, until := range []time.Time{time.Now().Add(math.MaxInt64), time.Unix(1<<40, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
			ctx, cancel := context.WithDeadline(context.Background(), until)
			got, err := s.text.Call(ctx, s.ref, "x")
			cancel()
			if got != "x" || err != nil {
				t.Errorf("with the deadline %v: %q, %v", until, got, err)
			}
		}
	})
}

func TestHandlerContextEnds(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		var ran atomic.Bool
		n := do(t, func(ctx context.Context, _ *scripted) (int64, error) {
			ran.Store(true)
			<-ctx.Done()
			wantIs(t, ctx.Err(), context.DeadlineExceeded)
			return 1, nil
		})
		for limit := 5 * time.Millisecond; !ran.Load(); limit *= 2 { // a request that is reached too late is not run
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			if _, err := s.run.Call(ctx, s.ref, n); err != nil { // a reply that got in counts
				wantIs(t, err, context.DeadlineExceeded)
			}
			cancel()
			s.works()
		}
	})
}

func TestDoneContextSendsNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		var ran atomic.Int64
		n := do(t, func(context.Context, *scripted) (int64, error) { return ran.Add(1), nil })
		because := errors.New("because")
		caused, cancel := context.WithCancelCause(context.Background())
		cancel(because)
		canceled, cancel2 := context.WithCancel(context.Background())
		cancel2()
		late, cancel3 := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
		defer cancel3()
		for _, c := range []struct {
			ctx  context.Context
			want []error
		}{
			{caused, []error{context.Canceled, because}}, {canceled, []error{context.Canceled}}, {late, []error{context.DeadlineExceeded}},
		} {
			_, callErr := s.run.Call(c.ctx, s.ref, n)
			sendErr := s.run.Send(c.ctx, s.ref, n)
			for _, want := range c.want {
				wantIs(t, callErr, want)
				wantIs(t, sendErr, want)
			}
		}
		s.works()
		if got := ran.Load(); got != 0 {
			t.Errorf("%d messages of ended contexts were handled", got)
		}
	})
}

func TestCancelWhileQueued(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		f, running, release := block(t)
		first := call(func() (int64, error) { return s.do(f) })
		wait(t, running, "the handler runs")
		because := errors.New("because")
		ran := false
		n := do(t, func(context.Context, *scripted) (int64, error) { ran = true; return 0, nil })
		ctx, cancel := context.WithCancelCause(context.Background())
		var queued []<-chan outcome[int64]
		for range 5 {
			queued = append(queued, call(func() (int64, error) { return s.run.Call(ctx, s.ref, n) }))
		}
		testkit.Eventually(t, patience, "five calls wait", func() bool {
			census, _ := mailbox.Check(s.w.seg)
			return census.States[shm.Queued] == 5
		})
		cancel(because)
		for _, ch := range queued {
			err := wait(t, ch, "a cancelled call ends").err
			wantIs(t, err, context.Canceled)
			wantIs(t, err, because)
		}
		release()
		if got := wait(t, first, "the call that was not cancelled"); got.res != 7 || got.err != nil {
			t.Error(got)
		}
		s.works()
		if ran {
			t.Error("a call that was cancelled in the queue was run")
		}
	})
}

func TestCancelWhileHandled(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		f, running, release := block(t)
		ctx, cancel := context.WithCancel(context.Background())
		gone := call(func() (int64, error) { return s.run.Call(ctx, s.ref, do(t, f)) })
		wait(t, running, "the handler runs")
		cancel()
		wantIs(t, wait(t, gone, "the cancelled call ends").err, context.Canceled)
		next := call(func() (string, error) { return s.text.Call(s.ctx(), s.ref, "mine") })
		release()
		if got := wait(t, next, "the next call"); got.res != "mine" || got.err != nil {
			t.Errorf("the next call got %q, %v", got.res, got.err)
		}
	})
}

// A request whose deadline has passed when it is reached is not run, whether or not its caller still waits.
func TestExpiredIsNotRun(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		ran := false
		n := do(t, func(context.Context, *scripted) (int64, error) { ran = true; return 0, nil })
		box, err := s.caller.hub.Open("a")
		must(t, err)
		d, err := s.caller.hub.Draft(0)
		must(t, err)
		d.Header.Method, d.Header.Deadline = methodID(s, func(r actor.Ref[*scripted]) error { return s.run.TrySend(r, n) }), 1
		_, err = box.Call(s.ctx(), &d)
		wantIs(t, err, context.DeadlineExceeded)
		s.works()
		if ran {
			t.Error("an expired request was run")
		}
		if life.Generation() != 1 {
			t.Errorf("generation %d", life.Generation())
		}
	})
}

// methodID finds out the number of a method: what a message of it carries.
func methodID(s *scene, send func(actor.Ref[*scripted]) error) uint64 {
	s.t.Helper()
	name := newName(s.t)
	box := s.w.box(name, s.kind)
	rx := box.Receiver()
	defer rx.Close()
	must(s.t, send(s.kind.Ref(s.caller.sys, name)))
	m, ok := rx.TryReceive()
	if !ok {
		s.t.Fatal("no message")
	}
	_, _, _ = m.Value()
	m.Release()
	return m.Header.Method
}

// Callers that give up all the time, and callers that do not, side by side: whoever gets a reply gets his own.
func TestTinyTimeouts(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		const callers = 8
		calls := 200_000 / callers / 2 / slower
		id := do(t, func(ctx context.Context, a *scripted) (int64, error) {
			if a.sum++; a.sum%64 == 0 {
				runtime.Gosched()
			}
			return a.sum, nil
		})
		var all sync.WaitGroup
		var ended, replied atomic.Int64
		for c := range callers {
			all.Go(func() {
				for i := range calls {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(20_000)))
					own := int64(c)<<32 | int64(i)
					p, err := s.point.Call(ctx, s.ref, point{X: int32(c), Y: int32(i)})
					switch {
					case err == nil && int64(p.X)<<32|int64(p.Y) != own:
						t.Errorf("caller %d got the reply %v to its call %d", c, p, i)
					case err == nil:
						replied.Add(1)
					case !errors.Is(err, context.DeadlineExceeded):
						t.Error(err)
					default:
						ended.Add(1)
					}
					if i%16 == 0 {
						_, _ = s.run.Call(ctx, s.ref, id)
					}
					cancel()
				}
			})
		}
		all.Wait()
		t.Logf("%d replies, %d timeouts", replied.Load(), ended.Load())
		s.works()
	})
}
