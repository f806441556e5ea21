package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
)

// plain is an actor for tests of what is inside.
type plain struct{}

var (
	plains   = actor.NewKind("plain", func() plain { return plain{} })
	plainGet = actor.NewMethod(plains, "get", func(plain, context.Context, int) (int, error) { return 1, nil })
)

// withWorker is a system with the worker "w".
func withWorker(t *testing.T) (ctx context.Context, s *actor.System, w *worker) {
	t.Helper()
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	ctx = testkit.Deadline(t, 30*time.Second)
	s, err := Start(ctx, Spec{
		Name: "test", Limits: Limits{Restarts: -1, Backoff: -1}, Logger: slog.New(slog.DiscardHandler), WorkerOutput: t.Output(),
		Children: []Child{Worker("w", Actor("far", plains))},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r, _ := rootOf(s)
	return ctx, s, r.workers["w"]
}

// The mailbox of a worker's agent outlives the worker: orders to an earlier life must not hit a later one.
func TestAgentRefusesOrdersForAnotherLife(t *testing.T) {
	ctx, s, w := withWorker(t)
	before := w.process
	now := uint32(before.id)
	if _, err := agentStop.Call(ctx, w.ref(), stopOrder{Process: now + 1, Final: true}); !errors.Is(err, actor.ErrWorkerDied) {
		t.Errorf("a stop for another life: %v", err)
	}
	for _, p := range []uint32{now, now + 1} { // it has begun
		if _, err := agentBegin.Call(ctx, w.ref(), beginOrder{Process: p}); !errors.Is(err, actor.ErrWorkerDied) {
			t.Errorf("a start for another life: %v", err)
		}
	}
	far, _ := w.find("far")
	wire, err := far.wire()
	if err != nil {
		t.Fatal(err)
	}
	wire.Name, wire.Incarnation = "ghost", wire.Incarnation+1
	if _, err := agentSpawn.Call(ctx, w.ref(), wire); !errors.Is(err, actor.ErrStopped) {
		t.Errorf("an actor whose mailbox is another's by now: %v", err)
	}
	wire.Mailbox = 1 << 30
	if _, err := agentSpawn.Call(ctx, w.ref(), wire); err == nil {
		t.Error("an actor without a mailbox was started")
	}
	for _, o := range []endOrder{{"nobody", 1, 1}, {"far", far.box.Index(), far.box.Incarnation() + 1}, {"far", far.box.Index() + 1, far.box.Incarnation()}} {
		if _, err := agentEnd.Call(ctx, w.ref(), o); !errors.Is(err, actor.ErrNotFound) {
			t.Errorf("the end of %+v: %v", o, err)
		}
	}
	if n, err := plainGet.Call(ctx, plains.Ref(s, "far"), 0); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if w.process != before {
		t.Error("the worker was restarted")
	}
}

// What an actor of an earlier life of its worker says of its end does not end the one of the later life.
func TestRetiredInAnEarlierLife(t *testing.T) {
	ctx, s, w := withWorker(t)
	far, _ := w.find("far")
	gone := retiredActor{Name: "far", Mailbox: far.box.Index(), Incarnation: far.box.Incarnation(), Process: uint32(w.process.id) - 1}
	for _, g := range []retiredActor{gone, {Name: "far", Mailbox: gone.Mailbox + 1}, {Name: "nobody"}} {
		if _, err := adminRetired.Call(ctx, adminKind.Ref(s, adminName), g); err != nil {
			t.Error(err)
		}
	}
	if n, err := plainGet.Call(ctx, plains.Ref(s, "far"), 0); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, ok := w.find("far"); !ok {
		t.Error("it is forgotten")
	}
}

// A Ctrl-C in the terminal reaches the program alone: it decides over its workers.
func TestWorkerHasItsOwnProcessGroup(t *testing.T) {
	_, _, w := withWorker(t)
	pid := w.process.cmd.Process.Pid
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("worker %d is in group %d, %v", pid, group, err)
	}
}
