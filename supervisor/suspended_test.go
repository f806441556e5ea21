package supervisor_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/supervisor"
)

// A worker that is stopped by a signal lives: who calls it ends when its context does, another worker may die beside it, and when it
// goes on it answers those who still wait, and handles what was queued, in order.
func TestSuspendedWorker(t *testing.T) {
	testkit.NeedWorkers(t)
	s := start(t, supervisor.Spec{Limits: eager, Children: []supervisor.Child{
		supervisor.Actor("gate", gates), w(a("far"), a("idle")), supervisor.Worker("v", a("other")),
	}})
	far, other := s.counter("far"), s.counter("other")
	must[int64](t)(add.Call(s.ctx, other, 1))
	inHand := s.hold(func() error { _, err := wait.Call(s.ctx, far, "gate"); return err })
	pid := s.pid("w")
	suspend(t, pid)
	t.Cleanup(func() { signal(t, pid, syscall.SIGCONT) }) // also when the test fails; before the system is closed

	s.open() // its handler's call is answered meanwhile
	for n := range int64(5) {
		if err := note.Send(s.ctx, far, n); err != nil {
			t.Fatal(err)
		}
	}
	ctx, giveUp := context.WithCancelCause(s.ctx)
	why := errors.New("no more patience")
	given := make(chan error, 2)
	for _, name := range []string{"far", "idle"} {
		go func() { _, err := add.Call(ctx, s.counter(name), 100); given <- err }()
		if !eventually(func() bool { return s.box(name).Depth > 0 }) {
			t.Fatalf("no call is queued for %q", name)
		}
	}
	if !eventually(func() bool { return s.box("far").Depth == 6 }) {
		t.Fatalf("%d messages are queued", s.box("far").Depth)
	}
	giveUp(why)
	for range 2 {
		wantError(t, <-given, context.Canceled, why.Error())
	}
	kept := make(chan error, 1)
	go func() { _, err := add.Call(s.ctx, far, 7); kept <- err }()
	if !eventually(func() bool { return s.box("far").Depth == 7 }) {
		t.Fatalf("%d messages are queued", s.box("far").Depth)
	}

	s.signal("v", syscall.SIGKILL) // and its sweep leaves w alone
	s.log.want(1, "worker was swept", "worker=v")
	must[int64](t)(add.Call(s.ctx, other, 1))
	if depth := s.box("far").Depth; depth != 7 {
		t.Errorf("%d messages are queued after the sweep of another, want 7", depth)
	}
	select {
	case err := <-inHand:
		t.Errorf("the call in the hands of a suspended worker ended: %v", err)
	case err := <-kept:
		t.Errorf("the call in its queue ended: %v", err)
	default:
	}

	signal(t, pid, syscall.SIGCONT)
	for _, ch := range []<-chan error{inHand, kept} {
		if err := <-ch; err != nil {
			t.Errorf("a call of a worker that went on: %v", err)
		}
	}
	if got := must[[]int64](t)(notes.Call(s.ctx, far, struct{}{})); len(got) != 5 || got[0] != 0 || got[4] != 4 {
		t.Errorf("it noted %v, want 0 to 4", got)
	}
	if total := must[int64](t)(add.Call(s.ctx, far, 0)); total != 7 {
		t.Errorf("the total is %d, want 7: a call that was given up in the queue is not run", total)
	}
	if now := s.pid("w"); now != pid {
		t.Errorf("process %d runs the worker, want %d still", now, pid)
	}
}

// Messages that a suspended worker does not take fill all memory there is for them: senders are told, or wait, others can be
// called by handlers, can be stopped and started, and when it goes on all that was accepted is handled.
func TestMemoryFullOfQueuedMessages(t *testing.T) {
	testkit.NeedWorkers(t)
	spec := supervisor.Spec{Limits: eager, Children: []supervisor.Child{a("near"), w(a("far"), a("idle")), supervisor.Worker("v", a("other"))}}
	spec.Segment.MessageBytes, spec.Segment.MaxMessage = 4<<20, 1<<20
	s := start(t, spec)
	must[int64](t)(add.Call(s.ctx, s.counter("other"), 1))
	pid := s.pid("w")
	suspend(t, pid)
	t.Cleanup(func() { signal(t, pid, syscall.SIGCONT) })
	ctx, giveUp := context.WithCancel(s.ctx)
	queued := make(chan error, 1000)
	calls := 0
	size := 60_000
	for _, name := range []string{"far", "idle"} {
		for s.box(name).Depth < s.box(name).Capacity {
			before := s.box(name).Depth
			go func() { _, err := reverse.Call(ctx, s.counter(name), make([]byte, size)); queued <- err }()
			calls++
			if !eventually(func() bool { return s.box(name).Depth > before || s.Hub().Segment().Wanted() }) {
				t.Fatal("a call is neither queued nor waits for memory")
			}
			if s.Hub().Segment().Wanted() {
				break
			}
		}
	}
	if !s.Hub().Segment().Wanted() {
		t.Fatal("there is memory for everything")
	}
	var rest []mailbox.Draft // of it, in pieces of all sizes
	for _, n := range []int{60_000, 20_000, 5_000, 1_000, 300, 0} {
		for {
			d, err := s.Hub().Draft(n)
			if err != nil {
				break
			}
			rest = append(rest, d)
		}
	}
	wantError(t, note.TrySend(s.counter("near"), 1), actor.ErrNoSpace, "MessageBytes")
	// Control uses the reserve.
	if err := supervisor.SpawnIn(s.ctx, s.System, "v", a("new")); err != nil {
		t.Errorf("nobody can be started: %v", err)
	}
	if err := supervisor.Stop(s.ctx, s.System, "new"); err != nil {
		t.Errorf("nobody can be stopped: %v", err)
	}
	for i := range rest {
		s.Hub().Discard(&rest[i])
	}
	giveUp()
	for range calls {
		wantError(t, <-queued, context.Canceled)
	}
	signal(t, pid, syscall.SIGCONT)
	if got := must[[]byte](t)(reverse.Call(s.ctx, s.counter("far"), make([]byte, size))); len(got) != size {
		t.Errorf("%d bytes come back when there is memory again", len(got))
	}
}
