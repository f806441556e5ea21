package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmactor/shmactor/actor"
)

// exit is how a child ended.
type exit struct {
	kind exitKind
	err  error
}

// child is something that a supervisor runs. Its methods are called from goroutines of the supervisor, start again only
// after the end of the run before it.
type child interface {
	// start begins a life and returns when it is ready, or as soon as ctx has ended; then nothing of it is left.
	start(ctx context.Context) (run, error)
	// retire is called when no further life follows.
	retire()
}

// run is one life of a child.
type run struct {
	ended <-chan exit // its end, once
	// stop orders the life to end, sees to it that it does, and then returns. final says that no further life follows. It
	// may be called when the life has ended by itself, but not after that was reported.
	stop func(final bool)
}

// member is a child with its spec.
type member struct {
	spec   Child
	run    child
	serial int          // tells it from an earlier member of that name
	starts []chan error // who waits for its first start
	ends   []chan error // who waits for its end
}

// loop runs a supervisor: one goroutine owns its plan, and everything reaches it as an event.
type loop struct {
	name   string
	logger *slog.Logger
	wake   chan struct{} // there are events
	begun  chan struct{} // closed when all children of the spec are ready
	done   chan struct{}
	err    error            // why it ended, after done
	lives  map[string]*life // of the loop's goroutine alone

	stopping atomic.Bool // what is retired from now on is so because the supervisor ends

	mu      sync.Mutex
	events  []event
	members map[string]*member
	serials int
	over    bool
}

// newLoop makes a supervisor of members, which does nothing until begin. final says that it is not started again when it
// has ended.
func newLoop(name string, limits Limits, final bool, members []*member, logger *slog.Logger) *loop {
	l := &loop{
		name: name, logger: logger, wake: make(chan struct{}, 1), begun: make(chan struct{}), done: make(chan struct{}),
		lives: map[string]*life{}, members: map[string]*member{},
	}
	p := plan{limits: limits.withDefaults(), final: final}
	for _, m := range members {
		l.enter(m)
		p.kids = append(p.kids, m.kid())
	}
	go l.loop(p)
	return l
}

func (l *loop) enter(m *member) {
	l.serials++
	m.serial = l.serials
	l.members[m.spec.name] = m
}

func (m *member) kid() kid { return kid{id: m.spec.name, serial: m.serial, restart: m.spec.restart} }

// begin starts the children, and returns when all are ready, or one did not start and the others were stopped.
func (l *loop) begin() error {
	l.send(event{kind: evBegin})
	select {
	case <-l.begun:
		return nil
	case <-l.done:
	}
	if l.err == nil {
		return fmt.Errorf("it was stopped before all its children were ready: %w", actor.ErrStopped)
	}
	return l.err
}

// end stops the children, and returns when they have. why is what the supervisor is said to have ended of, nil when that was
// asked for; final says that it is not started again.
func (l *loop) end(why error, final bool) error {
	l.send(event{kind: evStop, err: why, final: final})
	<-l.done
	return l.err
}

// send never waits: who sends may have what the loop's goroutine waits for.
func (l *loop) send(ev event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.post(ev)
}

// post is send for those who hold mu.
func (l *loop) post(ev event) {
	if l.over {
		return
	}
	l.events = append(l.events, ev)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// next waits for an event.
func (l *loop) next() event {
	for {
		l.mu.Lock()
		if len(l.events) > 0 {
			ev := l.events[0]
			l.events = l.events[1:]
			l.mu.Unlock()
			return ev
		}
		l.events = nil
		l.mu.Unlock()
		<-l.wake
	}
}

func (l *loop) loop(p plan) {
	for p.phase != phaseEnded {
		ev := l.next()
		ev.jitter = 2*rand.Float64() - 1
		l.report(ev)
		next, actions := decide(p, ev, time.Now())
		p = next
		l.stopping.Store(p.phase >= phaseStopping)
		for _, a := range actions {
			l.perform(a)
		}
		l.answer(ev)
	}
}

// perform carries out an action. What takes time runs on a goroutine of its own and comes back as an event.
func (l *loop) perform(a action) {
	switch a.kind {
	case actStart:
		f := new(life)
		l.lives[a.id] = f
		go f.live(l, l.member(a.id))
	case actStop:
		l.lives[a.id].stop(a.final)
	case actTimer:
		l.logger.Info("child waits before its restart", "supervisor", l.name, "child", a.id, "delay", a.delay)
		time.AfterFunc(a.delay, func() { l.send(event{kind: evTimer, id: a.id, life: a.life}) })
	case actForget:
		l.forget(a.id, a.err)
	case actRefuse:
		l.refuse(a.id, a.err)
	case actReady:
		close(l.begun)
	case actEnd:
		l.finish(a.err)
	}
}

// life is one life of a child, from the order to start it to the report of its end.
type life struct {
	mu      sync.Mutex
	cancel  context.CancelCauseFunc // of the start
	gone    error                   // the start is not wanted any more
	run     run
	over    bool
	stopped chan struct{} // closed when the stop that was ordered has returned
}

var errStopOrdered = errors.New("its supervisor was told to stop it")

func (f *life) live(l *loop, m *member) {
	id := m.spec.name
	err := f.start(m)
	if err != nil {
		l.send(event{kind: evExited, id: id, exit: exitFailed, err: err})
		return
	}
	l.send(event{kind: evStarted, id: id})
	e := <-f.run.ended
	f.mu.Lock()
	f.over = true
	stopped := f.stopped
	f.mu.Unlock()
	if stopped != nil { // a stop that is late must not hit the next life
		<-stopped
	}
	l.send(event{kind: evExited, id: id, exit: e.kind, err: e.err})
}

func (f *life) start(m *member) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	if ready := m.spec.ready; ready > 0 {
		timed, stop := context.WithTimeoutCause(ctx, ready, fmt.Errorf("not ready within %v: %w", ready, context.DeadlineExceeded))
		defer stop()
		ctx = timed
	}
	f.mu.Lock()
	f.cancel = cancel
	if f.gone != nil {
		cancel(f.gone)
	}
	f.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r, err := m.run.start(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run, f.over = r, err != nil
	return err
}

// stop orders a life to end, or to give its start up. It does not wait.
func (f *life) stop(final bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.over || f.stopped != nil:
	case f.run.stop != nil:
		f.stopped = make(chan struct{})
		go func() {
			defer close(f.stopped)
			f.run.stop(final)
		}()
	default:
		f.gone = errStopOrdered
		if f.cancel != nil {
			f.cancel(f.gone)
		}
	}
}

// forget says that a child has ended for good. First the child's place is free, then its name.
// why is why its first start failed.
func (l *loop) forget(id string, why error) {
	l.mu.Lock()
	m := l.members[id]
	delete(l.members, id)
	l.mu.Unlock()
	delete(l.lives, id)
	m.run.retire()
	if why == nil {
		why = fmt.Errorf("it was stopped before it was ready: %w", actor.ErrStopped)
	}
	tell(m.starts, why)
	tell(m.ends, nil)
}

func (l *loop) refuse(id string, err error) {
	l.mu.Lock()
	m := l.members[id]
	delete(l.members, id)
	l.mu.Unlock()
	tell(m.starts, err)
}

func (l *loop) finish(err error) {
	l.mu.Lock()
	l.over = true
	l.err = err
	for _, m := range l.members {
		tell(m.starts, l.ended())
		tell(m.ends, l.ended())
		m.starts, m.ends = nil, nil
	}
	l.mu.Unlock()
	close(l.done)
}

// ended is what who asks something of a supervisor that has ended is told.
func (l *loop) ended() error {
	if l.err != nil {
		return fmt.Errorf("supervisor %q has ended: %w: %w", l.name, actor.ErrStopped, l.err)
	}
	return fmt.Errorf("supervisor %q has ended: %w", l.name, actor.ErrStopped)
}

func tell(waiting []chan error, err error) {
	for _, ch := range waiting {
		ch <- err
	}
}

// answer tells who added a child how its first start went.
func (l *loop) answer(ev event) {
	if ev.kind != evStarted {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.members[ev.id]; m != nil {
		tell(m.starts, nil)
		m.starts = nil
	}
}

func (l *loop) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

func (l *loop) member(id string) *member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.members[id]
}

// remover is a supervisor, or a group through all its lives.
type remover interface{ remove(id string) error }

// holder finds who has the child of that name: this supervisor, or one of its groups; nil when nobody has.
func (l *loop) holder(name string) remover {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.members[name] != nil {
		return l
	}
	for _, m := range l.members {
		if g, ok := m.run.(*group); ok {
			if h := g.holder(name); h != nil {
				return h
			}
		}
	}
	return nil
}

// add starts a child at run time and returns when it is ready, or did not start; then it is forgotten.
func (l *loop) add(m *member) error {
	ch := make(chan error, 1)
	l.mu.Lock()
	switch {
	case l.over:
		l.mu.Unlock()
		return l.ended()
	case l.members[m.spec.name] != nil:
		l.mu.Unlock()
		return fmt.Errorf("supervisor %q has a child %q: %w", l.name, m.spec.name, actor.ErrNameTaken)
	}
	m.starts = append(m.starts, ch)
	l.enter(m)
	l.post(event{kind: evAdd, kid: m.kid()})
	l.mu.Unlock()
	return <-ch
}

// remove stops a child for good and returns when it has ended.
func (l *loop) remove(id string) error {
	m := l.member(id)
	switch {
	case m != nil:
		return l.leave(m)
	case l.isOver():
		return l.ended()
	}
	return l.noChild(id)
}

func (l *loop) noChild(id string) error {
	return fmt.Errorf("supervisor %q has no child %q: %w", l.name, id, actor.ErrNotFound)
}

// leave is remove of exactly that child.
func (l *loop) leave(m *member) error {
	ch := make(chan error, 1)
	id := m.spec.name
	l.mu.Lock()
	switch {
	case l.over:
		l.mu.Unlock()
		return l.ended()
	case l.members[id] != m:
		l.mu.Unlock()
		return l.noChild(id)
	}
	m.ends = append(m.ends, ch)
	l.post(event{kind: evRemove, id: id, serial: m.serial})
	l.mu.Unlock()
	return <-ch
}

// report logs what happens to children.
func (l *loop) report(ev event) {
	on := []any{"supervisor", l.name, "child", ev.id}
	switch {
	case ev.kind == evStarted:
		l.logger.Info("child is ready", on...)
	case ev.kind == evExited && ev.exit == exitCrash:
		l.logger.Warn("child crashed", append(on, "error", ev.err)...)
	case ev.kind == evExited && ev.exit == exitFailed:
		l.logger.Warn("child did not start", append(on, "error", ev.err)...)
	case ev.kind == evExited && ev.exit == exitShutdown && ev.err != nil:
		l.logger.Warn("child did not stop in order", append(on, "error", ev.err)...)
	case ev.kind == evExited:
		l.logger.Info("child ended", append(on, "error", ev.err)...)
	}
}
