package supervisor_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// driven is a run of a system with a worker, whose main counts up and then does what comes next of a list.
func driven(t *testing.T, spec supervisor.Spec, next ...func(ctx context.Context, s *actor.System) error) (calls int, log *events, err error) {
	t.Helper()
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	newGates()
	log = &events{t: t}
	spec.Name, spec.Logger, spec.WorkerOutput = "test", log.logger(), t.Output()
	spec.Children = []supervisor.Child{supervisor.Actor("near", counters), supervisor.Worker("w", supervisor.Actor("far", counters))}
	var systems []*actor.System
	err = supervisor.Run(testkit.Deadline(t, 3*patience), spec, func(ctx context.Context, s *actor.System) error {
		systems = append(systems, s)
		for _, name := range []string{"near", "far"} {
			if n := must[int64](t)(add.Call(ctx, counters.Ref(s, name), 3)); n != 3 {
				t.Errorf("%s of system %d counts to %d", name, len(systems), n)
			}
		}
		return next[len(systems)-1](ctx, s)
	})
	for n, s := range systems {
		if s.Err() == nil {
			t.Errorf("system %d runs on", n+1)
		}
	}
	return len(systems), log, err
}

// worn has the worker scribble over the segment, and waits until main is told.
func worn(ctx context.Context, s *actor.System) error {
	_, _ = die.Call(ctx, counters.Ref(s, "far"), order{What: "run wild", N: 1})
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestRun(t *testing.T) {
	ours := errors.New("ours")
	gaveUp := func(ctx context.Context, s *actor.System) error {
		for s.Err() == nil {
			_, _ = die.Call(ctx, counters.Ref(s, "far"), order{What: "exit", N: 9})
		}
		<-ctx.Done()
		return nil
	}
	type main = func(ctx context.Context, s *actor.System) error
	for _, tt := range []struct {
		name   string
		limits supervisor.Limits
		next   []main
		calls  int
		is     []error
		says   string
	}{
		{name: "main is done", next: []main{func(context.Context, *actor.System) error { return nil }}, calls: 1},
		{name: "main closes", next: []main{func(_ context.Context, s *actor.System) error { return s.Close() }}, calls: 1},
		{name: "main fails", next: []main{func(context.Context, *actor.System) error { return ours }}, calls: 1, is: []error{ours}},
		{
			name: "the system gives up", limits: supervisor.Limits{Restarts: 1, Backoff: -1}, next: []main{gaveUp}, calls: 1,
			is: []error{actor.ErrSystemEnded}, says: "exit status 9",
		},
		{
			name: "fresh segments", limits: eager, calls: 3,
			next: []main{worn, worn, func(context.Context, *actor.System) error { return ours }}, is: []error{ours},
		},
		{
			name: "too many of them", limits: supervisor.Limits{Restarts: 1, Backoff: -1}, next: []main{worn, worn}, calls: 2,
			is: []error{actor.ErrCorrupt}, says: "2 fresh segments in 1m0s, more than 1 are too many",
		},
		{
			name: "done on a corrupt segment", calls: 1, is: []error{actor.ErrCorrupt},
			next: []main{func(ctx context.Context, s *actor.System) error { _ = worn(ctx, s); return nil }},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls, log, err := driven(t, supervisor.Spec{Limits: tt.limits}, tt.next...)
			if calls != tt.calls {
				t.Errorf("main was called %d times, want %d", calls, tt.calls)
			}
			if err != nil && tt.is == nil {
				t.Error(err)
			}
			for _, want := range tt.is {
				wantError(t, err, want, tt.says)
			}
			if n := len(log.find("WARN a fresh segment", "corrupt segment")); n != calls-1 {
				t.Errorf("it was said %d times that there is a fresh segment, after %d calls", n, calls)
			}
		})
	}
}

// main is told why its context ended.
func TestRunTellsMain(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ours := errors.New("ours")
	_, _, err := driven(t, supervisor.Spec{}, func(inside context.Context, s *actor.System) error {
		err := worn(inside, s)
		wantError(t, err, actor.ErrCorrupt)
		wantError(t, err, actor.ErrSystemEnded)
		return nil
	})
	wantError(t, err, actor.ErrCorrupt)
	err = supervisor.Run(ctx, supervisor.Spec{Name: "test"}, func(inside context.Context, _ *actor.System) error {
		cancel(ours)
		<-inside.Done()
		return context.Cause(inside)
	})
	wantError(t, err, ours)
}

// A file that was scribbled over while nobody ran is set aside as well.
func TestRunOnADamagedFile(t *testing.T) {
	testkit.NeedWorkers(t)
	path := filepath.Join(t.TempDir(), "segment")
	spec := supervisor.Spec{Segment: shm.Options{File: path}, Limits: eager}
	calls, _, err := driven(t, spec, worn, func(context.Context, *actor.System) error { return nil })
	if err != nil || calls != 2 {
		t.Fatalf("main was called %d times: %v", calls, err)
	}
	killedWhenQueued(t, "durable", path)
	damage(t, path)
	spec = durable(path)
	spec.Limits = eager
	err = supervisor.Run(testkit.Deadline(t, patience), spec, func(ctx context.Context, s *actor.System) error {
		if n := must[int64](t)(add.Call(ctx, counters.Ref(s, "far"), 3)); n != 3 {
			t.Errorf("it counts to %d", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if old := must[[]string](t)(filepath.Glob(path + "*.old")); len(old) != 2 {
		t.Errorf("kept: %q", old)
	}
}

// A system does not outlive a main that panics.
func TestRunPanics(t *testing.T) {
	testkit.NoLeaks(t)
	var system *actor.System
	func() {
		defer func() {
			if p := recover(); p != "ours" {
				t.Errorf("recovered: %v", p)
			}
		}()
		_ = supervisor.Run(testkit.Deadline(t, patience), supervisor.Spec{Name: "test"}, func(_ context.Context, s *actor.System) error {
			system = s
			panic("ours")
		})
	}()
	wantError(t, system.Err(), actor.ErrSystemEnded)
}
