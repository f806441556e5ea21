package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// Children start in order, each when the one before is ready, and stop in the opposite order, one at a time.
func TestStopsInReverse(t *testing.T) {
	testkit.NeedWorkers(t)
	recorded()
	s := start(t, of(
		supervisor.Actor("zeta", witnesses), supervisor.Actor("alpha", witnesses),
		supervisor.Worker("w1", a("w1/1"), a("w1/2")),
		supervisor.Group("mu", supervisor.Actor("mu/1", witnesses), supervisor.Group("mu/g", supervisor.Actor("mu/2", witnesses))),
		supervisor.Worker("w2", a("w2/1")),
		supervisor.Actor("beta", witnesses),
	))
	if err := supervisor.Spawn(s.ctx, s.System, supervisor.Actor("last", witnesses)); err != nil {
		t.Fatal(err)
	}
	s.check()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	const want = "+zeta +alpha +mu/1 +mu/2 +beta +last -last .last -beta .beta -mu/2 .mu/2 -mu/1 .mu/1 -alpha .alpha -zeta .zeta"
	if got := strings.Join(recorded(), " "); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	var ended []string
	for _, line := range s.log.find("INFO child ended", "supervisor=test child=") {
		_, name, _ := strings.Cut(line, "child=")
		name, _, _ = strings.Cut(name, " ")
		ended = append(ended, name)
	}
	if want := []string{"last", "beta", "w2", "mu", "w1", "alpha", "zeta"}; !slices.Equal(ended, want) {
		t.Errorf("ended: %v, want %v", ended, want)
	}
}

// When a child does not start, those before it are stopped in the opposite order.
func TestStartFailureStopsInReverse(t *testing.T) {
	recorded()
	_, err := tryStart(t, of(
		supervisor.Actor("one", witnesses), supervisor.Group("g", supervisor.Actor("two", witnesses)), supervisor.Actor("three", witnesses),
		b(argued.With(arg{Fail: "error"})), supervisor.Actor("never", witnesses),
	))
	wantError(t, err, errRefused, `child "b" did not start`)
	const want = "+one +two +three -three .three -two .two -one .one"
	if got := strings.Join(recorded(), " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A context that ends during a start ends it, whatever is being started, and says which child that was.
func TestStartIsBoundedByItsContext(t *testing.T) {
	testkit.NeedWorkers(t)
	hang := b(argued.With(arg{Fail: "hang"})).With(supervisor.ReadyTimeout(time.Hour))
	for name, spec := range map[string]supervisor.Spec{
		"b": of(a("a"), w(a("c")), hang),
		"w": of(a("a"), w(a("c"), hang).With(supervisor.ReadyTimeout(time.Hour))),
		"g": of(a("a"), supervisor.Group("g", a("c"), hang)),
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			hung := make(chan struct{})
			ctx, cancel := context.WithCancelCause(context.Background())
			enough := errors.New("that is enough")
			log := &events{t: t}
			go func() {
				defer close(hung)
				// Whatever comes before is ready then, and the child that hangs is being started.
				if name != "w" {
					log.want(1, "child is ready", "child="+map[string]string{"b": "w", "g": "c"}[name])
				} else {
					log.want(1, "child is ready", "child=a")
				}
				cancel(enough)
			}()
			spec.Name, spec.Logger = "test", log.logger()
			_, err := supervisor.Start(ctx, spec)
			<-hung
			wantError(t, err, enough, fmt.Sprintf("child %q was not ready", name))
			if left := runtimeEntries(t); len(left) > 0 {
				t.Errorf("in the runtime directory: %q", left)
			}
			releaseHung()
		})
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := supervisor.Start(ended, of(a("a")))
	wantError(t, err, shm.ErrBadName)
	_, err = supervisor.Start(ended, supervisor.Spec{Name: "test", Children: []supervisor.Child{a("a")}})
	wantError(t, err, context.Canceled)
}

// A start that is ended at any moment leaves nothing.
func TestStartEndsAtAnyMoment(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	try := func(ctx context.Context) (took time.Duration, err error) {
		begin := time.Now()
		sys, err := supervisor.Start(ctx, supervisor.Spec{Name: "test", Logger: (&events{t: t}).logger(), Children: []supervisor.Child{
			a("a"), w(a("b")), supervisor.Group("g", a("c"), supervisor.Worker("v", a("d"))),
		}})
		took = time.Since(begin)
		if err == nil {
			err = sys.Close()
		}
		return took, err
	}
	whole, err := try(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	rounds := 60 / min(slower, 3)
	ended := 0
	for i := range rounds {
		ctx, cancel := context.WithTimeout(context.Background(), whole*3/2*time.Duration(i)/time.Duration(rounds))
		_, err := try(ctx)
		cancel()
		if err != nil {
			ended++
			wantError(t, err, context.DeadlineExceeded)
		}
	}
	t.Logf("%d of %d starts were cut off", ended, rounds)
	if ended == 0 {
		t.Error("no start was cut off")
	}
}

// A handler that does not end: a worker is killed, a goroutine is given up, and the rest stops in order.
func TestStopOfTheStubborn(t *testing.T) {
	testkit.NeedWorkers(t)
	short := supervisor.ShutdownTimeout(50 * time.Millisecond)
	s := start(t, of(
		a("before"),
		supervisor.Worker("w", supervisor.Actor("far", stubborns)).With(short),
		supervisor.Actor("near", stubborns).With(short),
		a("after"),
	))
	s.kept = true
	near, far := make(chan error, 1), make(chan error, 1)
	go func() { _, err := stay.Call(s.ctx, stubborns.Ref(s.System, "near"), "stubborn"); near <- err }()
	go func() { _, err := stay.Call(s.ctx, stubborns.Ref(s.System, "far"), ""); far <- err }()
	<-gateNamed("stubborn").arrived
	s.busy("far")
	pid := s.pid("w")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantError(t, <-near, actor.ErrStopped)
	wantError(t, <-far, actor.ErrWorkerDied, "signal: killed")
	if !gone(pid) {
		t.Error("the worker lives")
	}
	s.log.want(1, "WARN child did not stop in order", "child=near", "its goroutine still runs")
	s.log.want(1, "WARN child did not stop in order", "child=w", "it was killed, since it did not stop within 50ms")
	s.log.want(1, "INFO child ended", "child=before")
	s.log.want(1, "INFO child ended", "child=after")
	gateNamed("stubborn").open <- struct{}{}
}

// busy waits until an actor handles a message.
func (s *system) busy(name string) {
	s.t.Helper()
	if !eventually(func() bool { return s.box(name).Busy > 0 }) {
		s.t.Errorf("%q handles nothing", name)
	}
}

// A worker that is stopped by a signal does not hear of the end: it is killed.
func TestCloseKillsASuspendedWorker(t *testing.T) {
	testkit.NeedWorkers(t)
	s := start(t, of(w(a("far")).With(supervisor.ShutdownTimeout(100*time.Millisecond))))
	pid := s.pid("w")
	suspend(t, pid)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !gone(pid) {
		t.Error("it is still there")
	}
	s.log.want(1, "WARN child did not stop in order", "child=w", "signal: killed")
}

// The time to stop counts once, for the actors of a worker and its own end together.
func TestShutdownTimeoutZero(t *testing.T) {
	testkit.NeedWorkers(t)
	s := start(t, of(w(a("far")).With(supervisor.ShutdownTimeout(0)), a("near", supervisor.ShutdownTimeout(0))))
	must[int64](t)(add.Call(s.ctx, s.counter("far"), 1))
	must[int64](t)(add.Call(s.ctx, s.counter("near"), 1))
}

// A child that is still at work calls one that has stopped already: it is told at once, and does not hold up the end.
func TestCallsBetweenChildrenDuringTheEnd(t *testing.T) {
	testkit.NeedWorkers(t)
	patient := supervisor.ShutdownTimeout(time.Hour) // who waited for it would wait for ever
	for ended, other := range map[string]supervisor.Child{
		"other": a("other", patient), "w": w(a("other", patient)).With(patient), "g": supervisor.Group("g", a("other", patient)),
	} {
		t.Run(ended, func(t *testing.T) {
			s := start(t, of(supervisor.Actor("gate", gates).With(patient), a("early", patient), supervisor.Worker("v", a("far", patient)).With(patient), other))
			s.kept = true
			ref := s.counter("other")
			must[int64](t)(add.Call(s.ctx, ref, 1))
			late := make(chan error, 1)
			go func() {
				<-s.stopped(ended)
				for {
					if _, err := add.Call(s.ctx, ref, 1); err != nil {
						late <- err
						return
					}
				}
			}()
			held := s.hold(func() error {
				_, err := waitAndAdd.Call(s.ctx, s.counter("early"), order{Name: "other", What: "gate"})
				return err
			})
			closed := make(chan error, 1)
			go func() { closed <- s.Close() }()
			<-s.stopped(ended)
			s.open()
			wantError(t, <-held, actor.ErrSystemEnded)
			wantError(t, <-late, actor.ErrSystemEnded)
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	}
}

// Whoever waits when the system ends is told so at once: queued, being handled, deferred, or waiting for a name.
func TestCloseTellsEverybody(t *testing.T) {
	testkit.NeedWorkers(t)
	short := supervisor.ShutdownTimeout(50 * time.Millisecond)
	s := start(t, of(supervisor.Actor("gate", gates).With(short), a("near", short), w(a("far"))))
	s.kept = true
	var all sync.WaitGroup
	told := func(what string, call func() error) {
		all.Go(func() {
			if err := call(); !errors.Is(err, actor.ErrSystemEnded) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	inHand := s.hold(func() error { _, err := wait.Call(s.ctx, s.counter("near"), "gate"); return err })
	for i := range 10 {
		told(fmt.Sprint("queued ", i), func() error { _, err := add.Call(context.Background(), s.counter("near"), 1); return err })
	}
	told("a name", func() error { return supervisor.WaitFor(context.Background(), s.System, "nobody") })
	if !eventually(func() bool { return s.box("near").Depth == 10 && s.box("$system").Handled > 0 }) {
		t.Error("they do not wait")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-inHand
	all.Wait()
	<-s.Done()
}

// Close, many times at once, and then again.
func TestCloseConcurrently(t *testing.T) {
	testkit.NeedWorkers(t)
	for range 10 {
		s := must[*system](t)(startBeside(t, of(a("near"), w(a("far")))))
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				switch i % 4 {
				case 0:
					_, _ = add.Call(s.ctx, s.counter("far"), 1)
				case 1:
					_ = supervisor.Spawn(s.ctx, s.System, a(fmt.Sprint("x", i)))
				case 2:
					_ = supervisor.Stop(s.ctx, s.System, "far")
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if s.Err() == nil {
					t.Error("Close returned before the end")
				}
				_, err := add.Call(s.ctx, s.counter("far"), 1)
				wantError(t, err, actor.ErrSystemEnded)
				_, err = add.Call(s.ctx, s.counter("near"), 1)
				wantError(t, err, actor.ErrSystemEnded)
				wantError(t, supervisor.SpawnIn(s.ctx, s.System, "w", a("y")), actor.ErrSystemEnded)
				wantError(t, supervisor.Stop(s.ctx, s.System, "near"), actor.ErrSystemEnded)
				wantError(t, supervisor.WaitFor(s.ctx, s.System, "z"), actor.ErrSystemEnded)
				_, err = supervisor.DeadLetters(s.ctx, s.System, 1)
				wantError(t, err, actor.ErrSystemEnded)
			})
		}
		all.Wait()
	}
}

// A worker dies while it is told to stop.
func TestWorkerDiesDuringClose(t *testing.T) {
	testkit.NeedWorkers(t)
	for i := range int64(10) {
		s := must[*system](t)(startBeside(t, supervisor.Spec{Limits: eager, Children: []supervisor.Child{w(a("far")), supervisor.Worker("v", a("b"))}}))
		_, err := add.Call(s.ctx, s.counter("far"), 1)
		if err == nil && i%2 == 0 {
			err = die.Send(s.ctx, s.counter("far"), order{What: "exit", N: i})
		}
		if err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
