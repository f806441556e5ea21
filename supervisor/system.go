package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// root is a system in the process that started it.
type root struct {
	spec    Spec
	logger  *slog.Logger
	seg     *shm.Segment
	hub     *mailbox.Hub
	sys     *actor.System
	spawner *spawner
	letters *letterBox
	admin   *actor.Life
	door    *door // where other programs attach; nil where there is none
	program *shm.Program
	tree    *loop

	mu      sync.Mutex
	boxes   map[string]*mailbox.Mailbox
	workers map[string]*worker
	awaited map[string][]actor.Deferred[struct{}]

	closing sync.Once
	closed  error
}

// roots finds the root of a System in the process that started it.
var roots sync.Map // *actor.System -> *root

// Start starts a system, and returns when all its children are ready. ctx bounds the start, not the system: that runs until its
// Close, or until a supervisor gives up, which Done and Err of the System tell. When a child does not start, what was
// started is stopped and the error says which and why; so is every error in the spec, before anything is started.
func Start(ctx context.Context, spec Spec) (*actor.System, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	r := &root{
		spec: spec, logger: spec.Logger, boxes: map[string]*mailbox.Mailbox{}, workers: map[string]*worker{},
		awaited: map[string][]actor.Deferred[struct{}]{},
	}
	if r.spec.WorkerOutput == nil {
		r.spec.WorkerOutput = os.Stderr
	}
	r.spec.WorkerOutput = &lockedWriter{to: r.spec.WorkerOutput}
	if r.logger == nil {
		r.logger = quiet()
	}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.close(err))
	}
	stop := context.AfterFunc(ctx, func() { _ = r.tree.end() })
	err := r.tree.begin()
	if !stop() {
		err = errors.Join(fmt.Errorf("supervisor: system %q: %w", spec.Name, context.Cause(ctx)), err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("supervisor: system %q did not start: %w", spec.Name, err), r.close(err))
	}
	go r.watch()
	return r.sys, nil
}

// open makes everything that the children need.
func (r *root) open() error {
	o := r.spec.Segment
	o.Name = r.spec.Name
	o.Heap = o.Heap || !sys.Supported
	seg, err := shm.Create(o)
	if err != nil {
		return err
	}
	r.seg = seg
	r.hub = mailbox.Join(seg, 0)
	r.sys = actor.NewSystem(actor.SystemOptions{Hub: r.hub, AlwaysEncode: r.spec.AlwaysEncode, Close: func() error { return r.close(nil) }})
	roots.Store(r.sys, r)
	r.spawner = newSpawner()
	if r.letters, err = openLetters(r); err != nil {
		return err
	}
	if err := r.startAdmin(); err != nil {
		return err
	}
	members, err := r.members(r.spec.Children)
	if err != nil {
		return err
	}
	r.tree = newLoop(r.spec.Name, r.spec.Limits, members, r.logger)
	if !seg.Shared() {
		return nil
	}
	if r.door, err = openDoor(r); err != nil {
		return err
	}
	p, err := seg.Publish(r.door.name)
	if err != nil {
		return err
	}
	r.program = &p
	return nil
}

// members makes the children of a spec, with their mailboxes: what is sent to one before it is ready waits for it.
func (r *root) members(children []Child) ([]*member, error) {
	var list []*member
	for _, c := range children {
		m, err := r.member(c)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func (r *root) member(c Child) (*member, error) {
	switch c.kind {
	case workerChild:
		return r.workerMember(c)
	case supervisorChild:
		inner, err := r.members(c.children)
		if err != nil {
			return nil, err
		}
		name := r.spec.Name + "/" + c.name
		return &member{c, &group{make: func() *loop { return newLoop(name, c.limits, inner, r.logger) }}}, nil
	}
	box, err := r.openBox(c.name, c.recipe)
	if err != nil {
		return nil, err
	}
	return &member{c, &localActor{sys: r.sys, spec: c, box: box, onRetire: func(name string, _ *mailbox.Mailbox) { r.closeBox(name) }}}, nil
}

func (r *root) workerMember(c Child) (*member, error) {
	agent, err := r.openBox(workerMailbox(c.name), agentKind.With(nil))
	if err != nil {
		return nil, err
	}
	for _, a := range c.children {
		if _, err := r.openBox(a.name, a.recipe); err != nil {
			return nil, err
		}
	}
	w := &worker{root: r, spec: c, agent: agent, actors: c.children}
	r.mu.Lock()
	r.workers[c.name] = w
	r.mu.Unlock()
	return &member{c, w}, nil
}

// openBox makes the mailbox of a name, and tells who waits for the name.
func (r *root) openBox(name string, recipe actor.Recipe) (*mailbox.Mailbox, error) {
	box, err := r.hub.Create(name, recipe.Capacity(), recipe.KindHash())
	if err != nil {
		return nil, fmt.Errorf("supervisor: actor %q: %w", name, err)
	}
	r.mu.Lock()
	r.boxes[name] = box
	waiting := r.awaited[name]
	delete(r.awaited, name)
	r.mu.Unlock()
	r.letters.remember(box.Index(), name)
	for _, d := range waiting {
		_ = d.Reply(r.sys, struct{}{}, nil) // who gave up needs no answer
	}
	return box, nil
}

// closeBox ends a name for good.
func (r *root) closeBox(name string) {
	r.mu.Lock()
	box := r.boxes[name]
	delete(r.boxes, name)
	r.mu.Unlock()
	if box != nil {
		box.Close(shm.Stopped)
	}
}

// wire is a child's spec for a worker.
func (r *root) wire(c Child) (wireChild, error) {
	arg, err := c.recipe.Arg()
	if err != nil {
		return wireChild{}, err
	}
	r.mu.Lock()
	box := r.boxes[c.name]
	r.mu.Unlock()
	if box == nil {
		return wireChild{}, fmt.Errorf("supervisor: actor %q has no mailbox: %w", c.name, actor.ErrNotFound)
	}
	return wireChild{
		Name: c.name, Kind: c.recipe.Kind(), Arg: arg, Restart: int(c.restart), Shutdown: c.shutdown, Ready: c.ready,
		Mailbox: box.Index(),
	}, nil
}

// watch ends the system when its supervisor gives up.
func (r *root) watch() {
	select {
	case <-r.tree.done:
		if r.tree.err != nil {
			r.logger.Error("the system gives up", "system", r.spec.Name, "error", r.tree.err)
		}
		_ = r.close(r.tree.err)
	case <-r.hub.Done():
	}
}

// close ends the system: children, then who waits, then what outsiders see, then the segment. why is nil when it was asked for.
func (r *root) close(why error) error {
	r.closing.Do(func() { r.closed = r.closeOnce(why) })
	return r.closed
}

func (r *root) closeOnce(why error) error {
	if r.seg == nil {
		return nil
	}
	if r.tree != nil {
		_ = r.tree.end()
		r.tree.retire()
	}
	if r.spawner != nil {
		r.spawner.stop()
	}
	if r.admin != nil {
		r.admin.Stop(false, DefaultShutdown, stopGrace)
	}
	r.seg.End()
	err := actor.ErrSystemEnded
	if why != nil {
		err = fmt.Errorf("%w: %w", actor.ErrSystemEnded, why)
	}
	var failed []error
	if r.door != nil {
		failed = append(failed, r.door.close())
	}
	if r.letters != nil {
		r.letters.close()
	}
	r.hub.Close(err)
	if r.program != nil {
		failed = append(failed, r.program.Withdraw())
	}
	roots.Delete(r.sys)
	return errors.Join(append(failed, r.seg.Close())...)
}

// quiet is the default logger: warnings and errors.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// lockedWriter lets the outputs of several workers share a writer, line by line.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

// Write writes one piece whole.
func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}
