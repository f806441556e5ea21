package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// A worker's side: Main finds out that this process is one, joins the segment, and runs the agent, an actor by which the
// program starts and stops the worker's actors.

// workerEnv holds the orders of a worker process, as JSON.
const workerEnv = "SHMACTOR_WORKER"

// Descriptors that a worker inherits.
const (
	segmentFD = 3
	deathFD   = 4 // its other end is closed when the program dies
)

// Exit codes of a worker that ends by itself.
const (
	exitOK       = 0
	exitOrphan   = 70 // the program died
	exitJoin     = 71 // it could not join the segment
	exitEscalate = 72 // its supervisor gave up
)

// orders are what a worker is told by its environment.
type orders struct {
	Name         string
	Process      shm.ProcessID // what it was granted
	Letters      uint32        // mailbox index of the dead letters
	Agent        uint32        // mailbox index of its agent
	AlwaysEncode bool
}

var mainCalled atomic.Bool

// Main makes a worker process serve: then it never returns. In every other process it returns at once. Call it at the top
// of main, and in tests at the top of TestMain, before anything else.
func Main() {
	mainCalled.Store(true)
	actor.SealKinds()
	text, ok := os.LookupEnv(workerEnv)
	if !ok {
		return
	}
	_ = os.Unsetenv(workerEnv) // what the worker itself starts is no worker
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		quit(exitJoin, fmt.Errorf("the environment variable %s is not readable: %w", workerEnv, err))
	}
	if err := serve(o); err != nil {
		quit(exitJoin, err)
	}
	os.Exit(exitOK)
}

func quit(code int, err error) {
	fmt.Fprintf(os.Stderr, "shmactor: %v\n", err)
	os.Exit(code)
}

// serve is the life of a worker process.
func serve(o orders) error {
	// What the worker itself starts is not to keep the segment, nor to hold up its own end.
	syscall.CloseOnExec(segmentFD)
	syscall.CloseOnExec(deathFD)
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(deathFD, "death pipe"))
		os.Exit(exitOrphan)
	}()
	seg, err := shm.AttachFile(os.NewFile(segmentFD, "segment"))
	if err != nil {
		return err
	}
	if err := seg.Enter(o.Process); err != nil {
		return err
	}
	hub := mailbox.Join(seg, o.Process.Index())
	letters, err := hub.At(o.Letters)
	if err != nil {
		return err
	}
	hub.SetLetters(letters)
	box, err := hub.At(o.Agent)
	if err != nil {
		return err
	}
	a := &agent{
		name: o.Name, begun: make(chan struct{}), stopped: make(chan struct{}),
		sys: actor.NewSystem(actor.SystemOptions{Hub: hub, Worker: o.Name, AlwaysEncode: o.AlwaysEncode}),
	}
	life, err := a.sys.Start(context.Background(), workerMailbox(o.Name), box, agentKind.With(a))
	if err != nil {
		return err
	}
	<-life.Done()
	select {
	case <-a.stopped:
	default:
		return fmt.Errorf("the agent of worker %q ended: %v: %w", o.Name, life.End().Reason, orUnknown(life.End().Err))
	}
	hub.Close(actor.ErrSystemEnded)
	return nil
}

func workerMailbox(worker string) string { return systemPrefix + "worker/" + worker }

// agent starts and stops the actors of a worker. Its mailbox outlives the process, like any other: orders that say for which
// life they are, are refused by a later one.
type agent struct {
	name    string
	sys     *actor.System
	loop    *loop         // after begun
	begun   chan struct{} // closed when the actors of the begin order are being started
	stopped chan struct{}
}

// wireChild is the spec of an actor on its way to a worker.
type wireChild struct {
	Name        string
	Kind        string
	Arg         []byte
	Restart     int
	Shutdown    time.Duration
	Ready       time.Duration
	Mailbox     uint32
	Incarnation uint32
}

type beginOrder struct {
	Process  uint32
	Children []wireChild
	Limits   Limits
}

type endOrder struct {
	Name        string
	Mailbox     uint32
	Incarnation uint32
}

type stopOrder struct {
	Process uint32
	Final   bool
}

// spawned says which life of a worker started an actor.
type spawned struct{ Process uint32 }

var (
	agentKind  = actor.NewKindWith(systemPrefix+"agent", func(a *agent) (*agent, error) { return a, nil }, actor.ForControl())
	agentBegin = actor.NewMethod(agentKind.Kind, "begin", (*agent).begin)
	agentSpawn = actor.NewMethod(agentKind.Kind, "spawn", (*agent).spawn)
	agentEnd   = actor.NewMethod(agentKind.Kind, "end", (*agent).end)
	agentStop  = actor.NewMethod(agentKind.Kind, "stop", (*agent).stop)
)

func (a *agent) process() uint32 { return uint32(a.sys.Hub().Self()) }

// begin starts the worker's actors; its reply is the worker's readiness.
func (a *agent) begin(ctx context.Context, o beginOrder) (struct{}, error) {
	if o.Process != a.process() || a.loop != nil {
		return struct{}{}, fmt.Errorf("an order for another life of the worker: %w", actor.ErrWorkerDied)
	}
	var members []*member
	for _, w := range o.Children {
		m, err := a.member(w)
		if err != nil {
			return struct{}{}, err
		}
		members = append(members, m)
	}
	a.loop = newLoop("worker "+a.name, o.Limits, false, members, slog.New(slog.DiscardHandler))
	close(a.begun)
	return later(ctx, a.sys, func(context.Context) (struct{}, error) {
		err := a.loop.begin()
		if err == nil {
			go a.watch()
		}
		return struct{}{}, err
	})
}

// watch ends the process when its supervisor gives up: then the program's supervisor decides.
func (a *agent) watch() {
	<-a.loop.done
	if a.loop.err != nil {
		quit(exitEscalate, fmt.Errorf("worker %q gives up: %w", a.name, a.loop.err))
	}
}

func (a *agent) member(w wireChild) (*member, error) {
	recipe, err := actor.RecipeOf(w.Kind, w.Arg)
	if err != nil {
		return nil, fmt.Errorf("actor %q: %w", w.Name, err)
	}
	box, err := a.sys.Hub().At(w.Mailbox)
	if err != nil {
		return nil, err
	}
	if box.Incarnation() != w.Incarnation || !box.Open() {
		return nil, fmt.Errorf("actor %q was stopped before it was started: %w", w.Name, actor.ErrStopped)
	}
	spec := Child{
		name: w.Name, recipe: recipe, restart: Restart(w.Restart), shutdown: w.Shutdown, ready: w.Ready,
	}
	return &member{spec: spec, run: &localActor{sys: a.sys, spec: spec, box: box, onRetire: a.retired}}, nil
}

// retired tells the program that an actor has ended for good, so that it closes the mailbox: only the owner may.
func (a *agent) retired(name string, box *mailbox.Mailbox) {
	to := adminKind.Ref(a.sys, adminName)
	_ = adminRetired.Send(context.Background(), to, retiredActor{
		Name: name, Mailbox: box.Index(), Incarnation: box.Incarnation(), Process: a.process(),
	})
}

// ordered runs an order when the worker's actors are being started: it may have been sent to an earlier life.
func ordered[R any](ctx context.Context, a *agent, work func() (R, error)) (R, error) {
	return later(ctx, a.sys, func(ctx context.Context) (none R, err error) {
		select {
		case <-a.begun:
			return work()
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
	})
}

func (a *agent) spawn(ctx context.Context, w wireChild) (spawned, error) {
	return ordered(ctx, a, func() (spawned, error) {
		m, err := a.member(w)
		if err == nil {
			err = a.loop.add(m)
		}
		return spawned{a.process()}, err
	})
}

func (a *agent) end(ctx context.Context, o endOrder) (struct{}, error) {
	return ordered(ctx, a, func() (struct{}, error) {
		m := a.loop.member(o.Name)
		if m == nil {
			return struct{}{}, fmt.Errorf("worker %q has no actor %q: %w", a.name, o.Name, actor.ErrNotFound)
		}
		if box := m.run.(*localActor).box; box.Index() != o.Mailbox || box.Incarnation() != o.Incarnation {
			return struct{}{}, fmt.Errorf("worker %q has another actor %q now: %w", a.name, o.Name, actor.ErrNotFound)
		}
		return struct{}{}, a.loop.remove(o.Name)
	})
}

// stop stops the worker's actors, and then the process.
func (a *agent) stop(ctx context.Context, o stopOrder) (struct{}, error) {
	if o.Process != a.process() {
		return struct{}{}, fmt.Errorf("an order for another life of the worker: %w", actor.ErrWorkerDied)
	}
	var err error
	if a.loop != nil {
		err = a.loop.end(nil, o.Final)
	}
	if self, ok := actor.SelfOf(ctx); ok {
		self.Stop()
	}
	return struct{}{}, err
}

// Close says that the agent has ended in order: its last reply is sent.
func (a *agent) Close() error {
	close(a.stopped)
	return nil
}
