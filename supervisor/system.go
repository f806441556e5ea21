package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/shmactor/shmactor/actor"
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
	admin   *loop
	door    *door // where other programs attach; nil where there is none
	program *shm.Program
	tree    *loop

	mu      sync.Mutex
	boxes   map[string]*mailbox.Mailbox
	workers map[string]*worker
	groups  map[string]*group
	awaited waiting
	ending  bool
	gone    bool // nobody is answered any more

	mourners sync.WaitGroup

	opened   chan struct{} // closed when open has returned
	distrust sync.Once
	corrupt  atomic.Bool // the segment is not to be relied on
	started  atomic.Bool // all children of the spec were ready

	closing sync.Once
	closed  error
}

// roots finds the root of a System in the process that started it.
var roots sync.Map // *actor.System -> *root

// Start starts a system, and returns when all its children are ready. ctx bounds the start, not the system: that runs until its
// Close, or until a supervisor gives up, which Done and Err of the System tell. When a child does not start, what was
// started is stopped and the error says which and why; so is every error in the spec, before anything is started. A file that was
// taken over stays then, with what is queued in it.
func Start(ctx context.Context, spec Spec) (*actor.System, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("supervisor: system %q did not start: %w", spec.Name, context.Cause(ctx))
	}
	r := &root{
		spec: spec, logger: spec.Logger, boxes: map[string]*mailbox.Mailbox{}, workers: map[string]*worker{},
		groups: map[string]*group{}, awaited: waiting{calls: map[string][]actor.Deferred[struct{}]{}},
		opened: make(chan struct{}),
	}
	if r.spec.WorkerOutput == nil {
		r.spec.WorkerOutput = os.Stderr
	}
	r.spec.WorkerOutput = &lockedWriter{to: r.spec.WorkerOutput}
	if r.logger == nil {
		r.logger = quiet()
	}
	err := r.open()
	close(r.opened)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("supervisor: system %q did not start: %w", spec.Name, err), r.close(err))
	}
	go r.answerDoubts()
	stop := context.AfterFunc(ctx, func() { _ = r.tree.end(context.Cause(ctx), true) })
	err = r.tree.begin()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if r.corrupt.Load() && err != nil {
		err = r.hub.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("supervisor: system %q did not start: %w", spec.Name, err), r.close(err))
	}
	r.started.Store(true)
	go r.watch()
	return r.sys, nil
}

// open makes everything that the children need.
func (r *root) open() error {
	seg, err := shm.Create(r.spec.segment())
	if err != nil {
		return err
	}
	r.seg = seg
	r.hub = mailbox.Join(seg, seg.Self())
	r.sys = actor.NewSystem(actor.SystemOptions{Hub: r.hub, AlwaysEncode: r.spec.AlwaysEncode, Close: func() error { return r.close(nil) }})
	roots.Store(r.sys, r)
	r.spawner = newSpawner()
	if r.letters, err = openLetters(r); err == nil {
		err = r.hub.Recover() // of an owner that died; nothing in a new segment
	}
	if seg.Recovered() { // also when it was of no use: damage looks like a table that is full, too
		if found := r.hub.Audit(); found != nil {
			r.corrupt.Store(true)
			return fmt.Errorf("what was left in %s is not used: %w", seg.File().Name(), found)
		}
	}
	if err != nil {
		return err
	}
	members, err := r.members(r.spec.Children)
	if err != nil {
		return err
	}
	r.tree = newLoop(r.spec.Name, r.spec.Limits, true, members, r.logger)
	if err := r.startAdmin(); err != nil {
		return err
	}
	r.hub.CloseUnclaimed()
	if !seg.Shared() {
		return nil
	}
	p, err := seg.Publish(doorName(seg))
	if err != nil {
		return err
	}
	r.program = &p
	r.door, err = openDoor(r)
	return err
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
		return r.groupMember(c)
	}
	box, err := r.openBox(c.name, c.recipe)
	if err != nil {
		return nil, err
	}
	return &member{spec: c, run: &localActor{sys: r.sys, spec: c, box: box, onRetire: r.closeBox}}, nil
}

func (r *root) groupMember(c Child) (*member, error) {
	inner, err := r.members(c.children)
	if err != nil {
		return nil, err
	}
	g := &group{name: r.spec.Name + "/" + c.name, limits: c.limits, logger: r.logger, members: inner}
	r.mu.Lock()
	r.groups[c.name] = g
	r.mu.Unlock()
	return &member{spec: c, run: g}, nil
}

func (r *root) workerMember(c Child) (*member, error) {
	agent, err := r.openBox(workerMailbox(c.name), agentKind.With(nil))
	if err != nil {
		return nil, err
	}
	w := &worker{root: r, spec: c, agent: agent}
	for _, a := range c.children {
		box, err := r.openBox(a.name, a.recipe)
		if err != nil {
			return nil, err
		}
		w.actors = append(w.actors, placed{a, box})
	}
	r.mu.Lock()
	r.workers[c.name] = w
	r.mu.Unlock()
	return &member{spec: c, run: w}, nil
}

// leave closes the mailbox of a worker that has ended for good.
func (r *root) leave(w *worker) {
	r.mu.Lock()
	delete(r.workers, w.spec.name)
	r.mu.Unlock()
	r.closeBox(workerMailbox(w.spec.name), w.agent)
}

// openBox makes the mailbox of a name, and tells who waits for the name.
func (r *root) openBox(name string, recipe actor.Recipe) (*mailbox.Mailbox, error) {
	r.mu.Lock()
	taken := r.workers[name] != nil || r.groups[name] != nil
	r.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("supervisor: a worker or a group has the name %q: %w", name, actor.ErrNameTaken)
	}
	box, err := r.hub.Create(name, recipe.Capacity(), recipe.KindHash())
	if err != nil {
		return nil, fmt.Errorf("supervisor: actor %q: %w", name, err)
	}
	r.letters.remember(box.Index(), name)
	r.mu.Lock()
	r.boxes[name] = box
	waiting := r.awaited.take(name)
	r.mu.Unlock()
	for _, d := range waiting {
		_ = d.Reply(r.sys, struct{}{}, nil) // who gave up needs no answer
	}
	return box, nil
}

// closeBox ends a use of a name for good, once: the next use of the name may have begun. Whoever comes second finds the name
// free.
func (r *root) closeBox(name string, box *mailbox.Mailbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.boxes[name] != box || r.gone {
		return
	}
	delete(r.boxes, name)
	if r.ending || r.tree.stopping.Load() {
		r.mourners.Go(func() { r.mourn(box) })
		return
	}
	box.Close(shm.Stopped)
}

// mourn answers for an actor that ended with its system, until the rest has ended too: who calls it must not wait, since
// others may wait for him. Where the queues are left to the next start, all who wait here are told instead.
func (r *root) mourn(box *mailbox.Mailbox) {
	if r.leaves() {
		r.hub.Close(actor.ErrSystemEnded)
		return
	}
	rx := box.Receiver()
	defer rx.Close()
	for {
		m, bits, err := rx.Receive(context.Background())
		switch {
		case err != nil:
			return
		case bits != 0:
		case m.IsCall():
			_ = m.Fail(shm.SystemEnded, "") // who gave up needs no answer
		default:
			v, _, _ := m.Value()
			m.Bury(shm.SystemEnded, v)
		}
	}
}

// leaves reports whether the system ends as if the program had died: it did not start, and its file was left by an owner that died.
// The next start takes the file over, with the queues in it.
func (r *root) leaves() bool { return r.seg.Recovered() && !r.started.Load() && !r.corrupt.Load() }

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
	r.mu.Lock()
	r.ending = true
	waiting := r.awaited.takeAll()
	r.mu.Unlock()
	for _, d := range waiting {
		_ = d.Reply(r.sys, struct{}{}, actor.ErrSystemEnded) // who gave up needs no answer
	}
	if r.tree != nil {
		if gaveUp := r.tree.end(nil, true); why == nil {
			why = gaveUp
		}
	}
	err := actor.ErrSystemEnded
	if why != nil {
		err = fmt.Errorf("%w: %w", actor.ErrSystemEnded, why)
	}
	if r.spawner != nil {
		r.spawner.stop()
	}
	if r.admin != nil {
		_ = r.admin.end(nil, true)
	}
	var failed []error
	if r.corrupt.Load() {
		failed = append(failed, r.seg.SetAside())
	}
	leaves := r.leaves()
	if !leaves {
		r.seg.End()
	}
	if r.door != nil {
		failed = append(failed, r.door.close())
	}
	if r.letters != nil {
		r.letters.close(leaves)
	}
	r.hub.Close(err)
	r.mu.Lock()
	r.gone = true
	r.mu.Unlock()
	r.mourners.Wait()
	if r.program != nil {
		failed = append(failed, unlessGone(r.program.Withdraw()))
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
