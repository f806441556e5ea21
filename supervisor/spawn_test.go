package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/supervisor"
)

// places are where an actor can live, and from where something can be asked of the system.
var places = []string{"", "w", "v"}

// town is a system with two workers, each with an actor that does what it is told.
func town(t *testing.T, opts ...supervisor.ChildOption) *system {
	t.Helper()
	testkit.NeedWorkers(t)
	return start(t, supervisor.Spec{Limits: eager, Children: []supervisor.Child{
		a("clerk", opts...),
		supervisor.Actor("gate", gates),
		supervisor.Worker("w", a("clerk of w", opts...), a("neighbour")).With(supervisor.WithLimits(eager)),
		supervisor.Worker("v", a("clerk of v", opts...)).With(supervisor.WithLimits(eager)),
	}})
}

func clerk(place string) string {
	if place == "" {
		return "clerk"
	}
	return "clerk of " + place
}

func (s *system) argued(name string) actor.Ref[*arguedCounter] { return argued.Ref(s.System, name) }

// manage has the clerk of a place do something.
func (s *system) manage(place string, o order) error {
	_, err := manage.Call(s.ctx, s.counter(clerk(place)), o)
	return err
}

// From everywhere to everywhere, and what an actor knows of itself.
func TestCallsEverywhere(t *testing.T) {
	s := town(t)
	for _, from := range places {
		for _, to := range places {
			before := must[int64](t)(add.Call(s.ctx, s.counter(clerk(to)), 1))
			got, err := relay.Call(s.ctx, s.counter(clerk(from)), order{Name: clerk(to), N: 2})
			if from == to {
				wantError(t, err, actor.ErrCycle)
				continue
			}
			if err != nil || got != before+2 {
				t.Errorf("from %q to %q: %d, %v, want %d", from, to, got, err, before+2)
			}
			_, err = relay.Call(s.ctx, s.counter(clerk(from)), order{Name: clerk(to), N: -1})
			wantError(t, err, errNegative, "-1")
			_, err = relay.Call(s.ctx, s.counter(clerk(from)), order{Name: "nobody"})
			wantError(t, err, actor.ErrNotFound, "nobody")
		}
	}
	must[int64](t)(relay.Call(s.ctx, s.counter("clerk of w"), order{Name: "neighbour", N: 1})) // inside one worker
	for _, place := range places {
		got := must[facts](t)(about.Call(s.ctx, s.counter(clerk(place)), struct{}{}))
		want := facts{
			System: "test", Name: clerk(place), Ref: clerk(place), Worker: place, Generation: 1, PID: s.PID(), OwnerPID: s.PID(),
		}
		if place != "" {
			want.PID = s.pid(place)
		}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	s.signal("w", syscall.SIGKILL)
	if got := must[facts](t)(about.Call(s.ctx, s.counter("clerk of w"), struct{}{})); got.Generation != 2 || got.PID != s.pid("w") {
		t.Errorf("after a restart: %+v", got)
	}
}

// Actors are spawned and stopped by everybody everywhere, and the name can be used again at once.
func TestSpawnEverywhere(t *testing.T) {
	s := town(t)
	for _, from := range append(places, "the test") {
		for _, to := range places {
			spawn := func() error {
				return s.manage(from, order{What: "spawn", Name: "child", Worker: to, N: 40})
			}
			stop := func() error { return s.manage(from, order{What: "stop", Name: "child"}) }
			if from == "the test" {
				spawn = func() error {
					return supervisor.SpawnIn(s.ctx, s.System, to, b(argued.With(arg{Start: 40})).With(named("child")))
				}
				stop = func() error { return supervisor.Stop(s.ctx, s.System, "child") }
			}
			for range 2 {
				if err := spawn(); err != nil {
					t.Fatalf("from %q to %q: %v", from, to, err)
				}
				if n := must[int64](t)(arguedUp.Call(s.ctx, s.argued("child"), 2)); n != 42 {
					t.Errorf("from %q to %q: it began with %d", from, to, n-2)
				}
				wantError(t, spawn(), actor.ErrNameTaken, "child")
				if err := stop(); err != nil {
					t.Fatalf("from %q to %q: stop: %v", from, to, err)
				}
				_, err := arguedUp.Call(s.ctx, s.argued("child"), 2)
				wantError(t, err, actor.ErrNotFound)
			}
			wantError(t, stop(), actor.ErrNotFound, "child")
		}
	}
	wantError(t, s.manage("w", order{What: "stop", Name: "clerk of w"}), actor.ErrCycle, "clerk of w")
	wantError(t, s.manage("", order{What: "stop", Name: "clerk"}), actor.ErrCycle)
}

// named changes the name of a child, for tests.
func named(name string) supervisor.ChildOption {
	return func(c *supervisor.Child) { *c = supervisor.Actor(name, argued.With(arg{Start: 40})) }
}

// Whatever kills an actor, its argument is the same in each life, and what was spawned comes back with its worker.
func TestSpawnedActorsComeBack(t *testing.T) {
	s := town(t)
	for _, to := range places {
		name := "spawned in " + to
		if err := s.manage("v", order{What: "spawn", Name: name, Worker: to, N: 100}); err != nil {
			t.Fatal(err)
		}
		ref := s.argued(name)
		must[int64](t)(arguedUp.Call(s.ctx, ref, 5))
		_, err := arguedDie.Call(s.ctx, ref, struct{}{})
		wantError(t, err, actor.ErrCrashed, "argued")
		if n := must[int64](t)(arguedUp.Call(s.ctx, ref, 1)); n != 101 {
			t.Errorf("%s: the next life began with %d", name, n-1)
		}
	}
	for range 3 {
		s.signal("w", syscall.SIGKILL)
		if n := must[int64](t)(arguedUp.Call(s.ctx, s.argued("spawned in w"), 1)); n != 101 {
			t.Errorf("the next life began with %d", n-1)
		}
	}
	if n := must[int64](t)(arguedUp.Call(s.ctx, s.argued("spawned in v"), 1)); n != 102 {
		t.Errorf("another worker's has %d", n)
	}
	// What was stopped does not.
	if err := supervisor.Stop(s.ctx, s.System, "spawned in w"); err != nil {
		t.Fatal(err)
	}
	s.signal("w", syscall.SIGKILL)
	must[uint64](t)(echo.Call(s.ctx, s.counter("clerk of w"), 1))
	_, err := arguedUp.Call(s.ctx, s.argued("spawned in w"), 1)
	wantError(t, err, actor.ErrNotFound)
	if err := supervisor.Stop(s.ctx, s.System, "neighbour"); err != nil { // of the spec
		t.Fatal(err)
	}
	s.signal("w", syscall.SIGKILL)
	must[uint64](t)(echo.Call(s.ctx, s.counter("clerk of w"), 1))
	_, err = add.Call(s.ctx, s.counter("neighbour"), 1)
	wantError(t, err, actor.ErrNotFound)
}

// An actor that has ended for good is gone: its name is free, what was queued is settled, no life of its worker starts it.
func TestActorsThatRetire(t *testing.T) {
	s := town(t)
	for _, to := range places {
		for _, c := range []struct {
			restart supervisor.Restart
			end     func(ref actor.Ref[*counter]) error
			stays   bool
		}{
			{supervisor.Temporary, func(r actor.Ref[*counter]) error { _, err := die.Call(s.ctx, r, order{What: "panic"}); return err }, false},
			{supervisor.Temporary, func(r actor.Ref[*counter]) error { _, err := leave.Call(s.ctx, r, struct{}{}); return err }, false},
			{supervisor.Transient, func(r actor.Ref[*counter]) error { _, err := leave.Call(s.ctx, r, struct{}{}); return err }, false},
			{supervisor.Transient, func(r actor.Ref[*counter]) error { _, err := die.Call(s.ctx, r, order{What: "panic"}); return err }, true},
		} {
			child := a("mortal", supervisor.RestartWhen(c.restart))
			if err := supervisor.SpawnIn(s.ctx, s.System, to, child); err != nil {
				t.Fatalf("%v in %q: %v", c.restart, to, err)
			}
			ref := s.counter("mortal")
			holding := s.hold(func() error { _, err := wait.Call(s.ctx, ref, "gate"); return err })
			ended := make(chan error, 1)
			go func() { ended <- c.end(ref) }()
			if !eventually(func() bool { return s.box("mortal").Depth == 1 }) {
				t.Fatal("the end is not queued")
			}
			queued := make(chan error, 1)
			go func() { _, err := add.Call(s.ctx, ref, 1); queued <- err }()
			if !eventually(func() bool { return s.box("mortal").Depth == 2 }) {
				t.Fatal("the call is not queued")
			}
			s.open()
			if err := <-holding; err != nil {
				t.Error(err)
			}
			<-ended
			if err := <-queued; c.stays && err != nil || !c.stays && !errors.Is(err, actor.ErrStopped) {
				t.Errorf("%v in %q, stays %v: what was queued got %v", c.restart, to, c.stays, err)
			}
			if c.stays {
				if err := supervisor.Stop(s.ctx, s.System, "mortal"); err != nil {
					t.Error(err)
				}
			}
			if !eventually(func() bool { return supervisor.SpawnIn(s.ctx, s.System, to, a("mortal")) == nil }) {
				t.Fatal("the name is not free")
			}
			if err := supervisor.Stop(s.ctx, s.System, "mortal"); err != nil {
				t.Error(err)
			}
		}
	}
	for _, place := range []string{"w", "v"} {
		s.signal(place, syscall.SIGKILL)
		must[uint64](t)(echo.Call(s.ctx, s.counter(clerk(place)), 1))
	}
	_, err := add.Call(s.ctx, s.counter("mortal"), 1)
	wantError(t, err, actor.ErrNotFound)
}

// A worker that ends for good takes its actors with it.
func TestWorkersThatRetire(t *testing.T) {
	testkit.NeedWorkers(t)
	s := start(t, of(
		a("near"), w(a("far")).With(supervisor.RestartWhen(supervisor.Temporary)),
		supervisor.Worker("v", a("b")).With(supervisor.RestartWhen(supervisor.Transient)),
	))
	if err := supervisor.SpawnIn(s.ctx, s.System, "w", a("more")); err != nil {
		t.Fatal(err)
	}
	far, more := s.counter("far"), s.counter("more")
	must[int64](t)(add.Call(s.ctx, more, 1))
	_, err := die.Call(s.ctx, far, order{What: "exit", N: 1})
	wantError(t, err, actor.ErrWorkerDied)
	_, err = die.Call(s.ctx, s.counter("b"), order{What: "exit"})
	wantError(t, err, actor.ErrWorkerDied)
	for _, ref := range []actor.Ref[*counter]{far, more, s.counter("b")} {
		if !eventually(func() bool { _, err = add.Call(s.ctx, ref, 1); return err != nil }) {
			t.Fatal("it is still there")
		}
		if !errors.Is(err, actor.ErrStopped) && !errors.Is(err, actor.ErrNotFound) {
			t.Errorf("%v: %v", ref, err)
		}
	}
	wantError(t, supervisor.SpawnIn(s.ctx, s.System, "w", a("late")), actor.ErrNotFound, `"w"`)
	for _, name := range []string{"far", "more", "b", "w", "v", "late"} {
		if err := supervisor.Spawn(s.ctx, s.System, a(name)); err != nil {
			t.Errorf("the name %q: %v", name, err)
		}
	}
}

// An actor may spawn others while it starts.
func TestSpawnDuringStart(t *testing.T) {
	testkit.NeedWorkers(t)
	s := start(t, of(
		supervisor.Actor("parent", argued.With(arg{Fail: "spawn"})),
		w(supervisor.Actor("parent in w", argued.With(arg{Fail: "spawn here"})), a("far")),
		supervisor.Group("g", supervisor.Actor("parent in g", argued.With(arg{Fail: "spawn"}))),
	))
	for child, worker := range map[string]string{"child of parent": "", "child of parent in w": "w", "child of parent in g": ""} {
		if got := must[facts](t)(about.Call(s.ctx, s.counter(child), struct{}{})); got.Worker != worker {
			t.Errorf("%q lives in %q, not %q", child, got.Worker, worker)
		}
	}
	if err := supervisor.Stop(s.ctx, s.System, "parent in g"); err != nil {
		t.Errorf("an actor of a group: %v", err)
	}
	if err := supervisor.Spawn(s.ctx, s.System, a("parent in g")); err != nil {
		t.Errorf("its name: %v", err)
	}
}

// A context that ends before an actor is ready: it is forgotten, wherever it was to live.
func TestSpawnIsBoundedByItsContext(t *testing.T) {
	s := town(t)
	for _, to := range places {
		ctx, cancel := context.WithCancelCause(s.ctx)
		enough := errors.New("that is enough")
		held := s.hold(func() error {
			return supervisor.SpawnIn(ctx, s.System, to, supervisor.Actor("slow", argued.With(arg{Gate: "gate"})))
		})
		cancel(enough)
		wantError(t, <-held, enough, "slow")
		s.open()
		if !eventually(func() bool { return supervisor.SpawnIn(s.ctx, s.System, to, a("slow")) == nil }) {
			t.Errorf("in %q the name is not free", to)
		}
		must[int64](t)(add.Call(s.ctx, s.counter("slow"), 1))
		if err := supervisor.Stop(s.ctx, s.System, "slow"); err != nil {
			t.Error(err)
		}
		ended, cancelled := context.WithCancel(context.Background())
		cancelled()
		wantError(t, supervisor.SpawnIn(ended, s.System, to, a("never")), context.Canceled)
		if supervisor.Stop(s.ctx, s.System, "never") == nil {
			t.Error("it was spawned")
		}
	}
}

// A context that ends before an actor has stopped: it stops all the same.
func TestStopIsBoundedByItsContext(t *testing.T) {
	s := town(t)
	for _, place := range places {
		ctx, cancel := context.WithCancelCause(s.ctx)
		enough := errors.New("that is enough")
		if err := supervisor.SpawnIn(s.ctx, s.System, place, a("busy")); err != nil {
			t.Fatal(err)
		}
		held := s.hold(func() error { _, err := wait.Call(s.ctx, s.counter("busy"), "gate"); return err })
		stopped := make(chan error, 1)
		go func() { stopped <- supervisor.Stop(ctx, s.System, "busy") }()
		cancel(enough)
		wantError(t, <-stopped, enough, "busy")
		s.open()
		if err := <-held; err != nil {
			t.Error(err)
		}
		if err := supervisor.Stop(s.ctx, s.System, "busy"); err != nil && !errors.Is(err, actor.ErrNotFound) {
			t.Error(err)
		}
		if !eventually(func() bool { return supervisor.SpawnIn(s.ctx, s.System, place, a("busy")) == nil }) {
			t.Errorf("in %q the name is not free", place)
		}
		if err := supervisor.Stop(s.ctx, s.System, "busy"); err != nil {
			t.Error(err)
		}
	}
}

// Orders that reach a worker while it is being restarted wait for its next life.
func TestSpawnDuringRestart(t *testing.T) {
	s := town(t)
	for i := range 10 {
		name := fmt.Sprint("reborn ", i)
		s.signal("w", syscall.SIGKILL)
		err := supervisor.SpawnIn(s.ctx, s.System, "w", supervisor.Actor(name, argued.With(arg{Start: 7})))
		if errors.Is(err, actor.ErrWorkerDied) { // it was faster than the signal
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := must[int64](t)(arguedUp.Call(s.ctx, s.argued(name), 1)); n != 8 {
			t.Errorf("it has %d", n)
		}
		s.signal("w", syscall.SIGKILL)
		if err := supervisor.Stop(s.ctx, s.System, name); err != nil {
			t.Errorf("stop during a restart: %v", err)
		}
		s.signal("w", syscall.SIGKILL)
		must[uint64](t)(echo.Call(s.ctx, s.counter("clerk of w"), 1))
		_, err = arguedUp.Call(s.ctx, s.argued(name), 1)
		wantError(t, err, actor.ErrNotFound)
	}
}

// Actors of a few names are spawned, called, stopped and lost with their worker, by many at once. Each success is one, and in
// the end the names are free.
func TestSpawnStorm(t *testing.T) {
	s := town(t)
	const parties, names = 6, 4
	rounds := 60 / min(slower, 3)
	var all sync.WaitGroup
	var spawned, stopped atomic.Int32
	killed := 0
	over, kill := make(chan struct{}), make(chan struct{})
	for p := range parties {
		all.Go(func() {
			for i := range rounds {
				name, place := fmt.Sprint("n", (p+i)%names), places[(p*i)%len(places)]
				restart := supervisor.Restart((p + i) % 3)
				if supervisor.SpawnIn(s.ctx, s.System, place, a(name, supervisor.RestartWhen(restart))) == nil {
					spawned.Add(1)
				}
				switch i % 3 {
				case 0:
					_, _ = add.Call(s.ctx, s.counter(name), 1)
				case 1:
					_ = die.TrySend(s.counter(name), order{What: "panic"})
				}
				if supervisor.Stop(s.ctx, s.System, name) == nil {
					stopped.Add(1)
				}
				if p == 0 && i%4 == 3 {
					kill <- struct{}{}
				}
			}
		})
	}
	go func() {
		all.Wait()
		close(over)
	}()
	for done := false; !done; {
		select {
		case <-over:
			done = true
		case <-kill:
			for _, p := range s.Processes() {
				if p.Name == "w" && p.Live && p.PID > 1 {
					killed++
					signal(t, p.PID, syscall.SIGKILL)
				}
			}
		}
	}
	t.Logf("%d spawned, %d stopped, %d killed", spawned.Load(), stopped.Load(), killed)
	if spawned.Load() == 0 || stopped.Load() == 0 {
		t.Error("nothing was spawned, or nothing stopped")
	}
	for n := range names {
		name := fmt.Sprint("n", n)
		testkit.Eventually(t, patience, "the name is free", func() bool {
			err := supervisor.Stop(s.ctx, s.System, name)
			return errors.Is(err, actor.ErrNotFound) && supervisor.Spawn(s.ctx, s.System, a(name)) == nil
		})
		must[int64](t)(add.Call(s.ctx, s.counter(name), 1))
	}
	for _, place := range places {
		must[uint64](t)(echo.Call(s.ctx, s.counter(clerk(place)), 1))
	}
}

// A group that is restarted has its actors again, with what was queued for them, but for those that ended for good.
func TestGroupRestart(t *testing.T) {
	s := start(t, supervisor.Spec{Limits: eager, Children: []supervisor.Child{
		supervisor.Actor("gate", gates),
		supervisor.Group("g", a("steady"), a("brittle"), a("mortal", supervisor.RestartWhen(supervisor.Temporary))).With(
			supervisor.WithLimits(supervisor.Limits{Restarts: 1, Backoff: -1}),
		),
	}})
	must[int64](t)(add.Call(s.ctx, s.counter("steady"), 5))
	must[struct{}](t)(leave.Call(s.ctx, s.counter("mortal"), struct{}{}))
	testkit.Eventually(t, patience, "the mortal has ended", func() bool { // after it has answered
		_, err := add.Call(s.ctx, s.counter("mortal"), 1)
		return errors.Is(err, actor.ErrNotFound)
	})
	for range 2 {
		_, err := die.Call(s.ctx, s.counter("brittle"), order{What: "panic"})
		wantError(t, err, actor.ErrCrashed)
	}
	s.log.want(1, "WARN child crashed", "supervisor=test child=g", "2 restarts", `"brittle"`)
	if n := must[int64](t)(add.Call(s.ctx, s.counter("steady"), 1)); n != 1 && n != 6 {
		t.Errorf("it has %d", n)
	}
	s.log.want(2, "child is ready", "supervisor=test child=g")
	if g := s.counter("steady").Generation(); g != 2 {
		t.Errorf("generation %d of one that was restarted with its group", g)
	}
	_, err := add.Call(s.ctx, s.counter("mortal"), 1)
	wantError(t, err, actor.ErrNotFound)
	if err := supervisor.Spawn(s.ctx, s.System, a("mortal")); err != nil {
		t.Errorf("its name: %v", err)
	}
	if err := supervisor.Stop(s.ctx, s.System, "steady"); err != nil {
		t.Errorf("an actor of a group: %v", err)
	}
}

// Who waits for a name is told when it is there, and who gave up leaves nothing.
func TestWaitFor(t *testing.T) {
	s := town(t)
	for _, place := range places {
		if err := s.manage(place, order{What: "await", Name: "neighbour"}); err != nil {
			t.Errorf("a name that is there, from %q: %v", place, err)
		}
	}
	waiting := make(chan error, len(places))
	for _, place := range places {
		go func() { waiting <- s.manage(place, order{What: "await", Name: "awaited"}) }()
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
	defer cancel()
	wantError(t, supervisor.WaitFor(ctx, s.System, "awaited"), context.DeadlineExceeded)
	if !eventually(func() bool { return s.box("$system").Handled >= 6 }) {
		t.Error("nobody waits")
	}
	if err := supervisor.SpawnIn(s.ctx, s.System, "v", a("awaited")); err != nil {
		t.Fatal(err)
	}
	for range places {
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	}
}
