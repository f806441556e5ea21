package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// exit is how a child ended.
type exit struct {
	kind exitKind
	err  error
}

// child is something that a supervisor runs. Its methods are called from goroutines of their own, start and stop never at
// the same time for one life.
type child interface {
	// start begins a life and returns when it is ready. Its end is then sent on the channel, once.
	start(ctx context.Context) (<-chan exit, error)
	// stop orders the life to end, and sees to it that it does.
	stop()
	// retire is called when no further life follows.
	retire()
}

// member is a child with its spec.
type member struct {
	spec Child
	run  child
}

// loop runs a supervisor: one goroutine owns its plan, and everything reaches it as an event.
type loop struct {
	name    string
	logger  *slog.Logger
	events  chan event
	begun   chan error // the outcome of the start, once
	done    chan struct{}
	err     error // why it ended, after done
	mu      sync.Mutex
	members map[string]*member
	waiting map[string]chan error // who added a child waits for its start, and who removed one for its end
}

// newLoop makes a supervisor of members, which does nothing until begin.
func newLoop(name string, limits Limits, members []*member, logger *slog.Logger) *loop {
	l := &loop{
		name: name, logger: logger, events: make(chan event, 16), begun: make(chan error, 1), done: make(chan struct{}),
		members: map[string]*member{}, waiting: map[string]chan error{},
	}
	p := plan{limits: limits.withDefaults()}
	for _, m := range members {
		l.members[m.spec.name] = m
		p.kids = append(p.kids, kid{id: m.spec.name, restart: m.spec.restart})
	}
	go l.run(p)
	return l
}

// begin starts the children, and returns when all are ready, or one did not start and the others were stopped.
func (l *loop) begin() error {
	l.send(event{kind: evBegin})
	select {
	case err := <-l.begun:
		return err
	case <-l.done:
		return l.err
	}
}

// end stops the children, and returns when they have.
func (l *loop) end() error {
	l.send(event{kind: evStop})
	<-l.done
	return l.err
}

func (l *loop) send(ev event) bool {
	select {
	case l.events <- ev:
		return true
	case <-l.done:
		return false
	}
}

func (l *loop) run(p plan) {
	for p.phase != phaseEnded {
		ev := <-l.events
		ev.jitter = 2*rand.Float64() - 1
		l.report(ev)
		next, actions := decide(p, ev, time.Now())
		p = next
		l.answer(ev, p)
		for _, a := range actions {
			l.perform(a)
		}
	}
}

// perform carries out an action. What takes time runs on a goroutine of its own and comes back as an event.
func (l *loop) perform(a action) {
	m := l.member(a.id)
	switch a.kind {
	case actStart:
		go l.live(m)
	case actStop:
		go m.run.stop()
	case actTimer:
		l.logger.Info("child waits before its restart", "supervisor", l.name, "child", a.id, "delay", a.delay)
		time.AfterFunc(a.delay, func() { l.send(event{kind: evTimer, id: a.id}) })
	case actForget:
		m.run.retire()
		l.mu.Lock()
		delete(l.members, a.id)
		l.mu.Unlock()
		l.tell(a.id, nil)
	case actReady:
		l.begun <- nil
	case actEnd:
		l.finish(a.err)
	}
}

// live runs one life of a child from start to end.
func (l *loop) live(m *member) {
	id := m.spec.name
	ctx, cancel := context.WithTimeoutCause(context.Background(), m.spec.ready,
		fmt.Errorf("not ready within %v: %w", m.spec.ready, context.DeadlineExceeded))
	ended, err := m.run.start(ctx)
	cancel()
	if err != nil {
		l.send(event{kind: evExited, id: id, exit: exitFailed, err: err})
		return
	}
	l.send(event{kind: evStarted, id: id})
	e := <-ended
	l.send(event{kind: evExited, id: id, exit: e.kind, err: e.err})
}

func (l *loop) finish(err error) {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = map[string]chan error{}
	l.mu.Unlock()
	for _, ch := range waiting {
		ch <- errors.Join(errors.New("the supervisor has ended"), err)
	}
	l.err = err
	close(l.done)
}

// retire says to all children of a supervisor that has ended that no further life follows.
func (l *loop) retire() {
	l.mu.Lock()
	left := l.members
	l.members = map[string]*member{}
	l.mu.Unlock()
	for _, m := range left {
		m.run.retire()
	}
}

func (l *loop) member(id string) *member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.members[id]
}

// answer tells who added a child how its start went.
func (l *loop) answer(ev event, p plan) {
	switch {
	case ev.kind == evStarted:
		l.tell(ev.id, nil)
	case ev.kind == evExited && ev.exit == exitFailed:
		l.tell(ev.id, ev.err)
	case (ev.kind == evAdd || ev.kind == evRemove) && p.phase != phaseRunning:
		l.tell(ev.id+ev.kid.id, fmt.Errorf("supervisor %q is not running", l.name))
	}
}

func (l *loop) tell(id string, err error) {
	l.mu.Lock()
	ch := l.waiting[id]
	delete(l.waiting, id)
	l.mu.Unlock()
	if ch != nil {
		ch <- err
	}
}

// add starts a child at run time and returns when it is ready, or did not start; then it is forgotten.
func (l *loop) add(m *member) error {
	id := m.spec.name
	return l.ask(id, event{kind: evAdd, kid: kid{id: id, restart: m.spec.restart}}, func() { l.members[id] = m })
}

// remove stops a child for good and returns when it has ended.
func (l *loop) remove(id string) error {
	return l.ask(id, event{kind: evRemove, id: id}, func() {})
}

func (l *loop) ask(id string, ev event, prepare func()) error {
	ch := make(chan error, 1)
	l.mu.Lock()
	if l.waiting[id] != nil {
		l.mu.Unlock()
		return fmt.Errorf("child %q is being started or stopped by somebody else", id)
	}
	l.waiting[id] = ch
	prepare()
	l.mu.Unlock()
	l.send(ev)
	select {
	case err := <-ch:
		return err
	case <-l.done:
		return errors.Join(errors.New("the supervisor has ended"), l.err)
	}
}

func (l *loop) has(id string) bool { return l.member(id) != nil }

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
	case ev.kind == evExited:
		l.logger.Info("child ended", append(on, "error", ev.err)...)
	}
}
