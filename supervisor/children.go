package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/mailbox"
)

// localActor is an actor of this process as a child.
type localActor struct {
	sys      *actor.System
	spec     Child
	box      *mailbox.Mailbox
	onRetire func(name string, box *mailbox.Mailbox)
}

func (a *localActor) start(ctx context.Context) (run, error) {
	life, err := a.sys.Start(ctx, a.spec.name, a.box, a.spec.recipe)
	if err != nil {
		return run{}, err
	}
	ended := make(chan exit, 1)
	go func() {
		<-life.Done()
		ended <- exitOf(life.End())
	}()
	return run{ended, func(bool) { life.Stop(false, a.spec.shutdown, stopGrace) }}, nil
}

// exitOf says what an end means for the restart.
func exitOf(end actor.End) exit {
	switch end.Reason {
	case actor.EndNormal:
		return exit{exitNormal, end.Err}
	case actor.EndShutdown, actor.EndFenced:
		return exit{exitShutdown, end.Err}
	}
	if end.Stack != "" {
		return exit{exitCrash, fmt.Errorf("%w\n%s", end.Err, end.Stack)}
	}
	return exit{exitCrash, end.Err}
}

func (a *localActor) retire() { a.onRetire(a.spec.name, a.box) }

// group is a nested supervisor as a child. Its children keep their mailboxes from one of its lives to the next; those that
// ended for good in one life are not in the next.
type group struct {
	name   string
	limits Limits
	logger *slog.Logger

	mu      sync.Mutex
	members []*member
	loop    *loop
}

func (g *group) start(ctx context.Context) (run, error) {
	g.mu.Lock()
	if old := g.loop; old != nil {
		g.members = slices.DeleteFunc(g.members, func(m *member) bool { return old.member(m.spec.name) != m })
	}
	l := newLoop(g.name, g.limits, false, g.members, g.logger)
	g.loop = l
	g.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = l.end(context.Cause(ctx), false) })
	err := l.begin()
	if !stop() {
		_ = l.end(nil, false)
		err = context.Cause(ctx)
	}
	if err != nil {
		return run{}, err
	}
	ended := make(chan exit, 1)
	go func() {
		<-l.done
		if l.err != nil {
			ended <- exit{exitCrash, l.err}
			return
		}
		ended <- exit{exitShutdown, nil}
	}()
	return run{ended, func(final bool) { _ = l.end(nil, final) }}, nil
}

// has returns the child of that name, unless it ended for good. The caller holds mu.
func (g *group) has(name string) *member {
	for _, m := range g.members {
		if m.spec.name == name && (g.loop == nil || g.loop.member(name) == m) {
			return m
		}
	}
	return nil
}

// holder finds who has the child of that name: this group, or one in it; nil when nobody has.
func (g *group) holder(name string) remover {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.has(name) != nil {
		return g
	}
	for _, m := range g.members {
		if inner, ok := m.run.(*group); ok {
			if h := inner.holder(name); h != nil {
				return h
			}
		}
	}
	return nil
}

// remove stops a child for good and returns when it has ended. Between two lives of the group it has ended, and the next life
// begins without it.
func (g *group) remove(name string) error {
	for {
		g.mu.Lock()
		m, l := g.has(name), g.loop
		idle := l == nil || l.isOver()
		if m != nil && idle {
			g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
		}
		g.mu.Unlock()
		switch {
		case m == nil:
			return fmt.Errorf("supervisor %q has no child %q: %w", g.name, name, actor.ErrNotFound)
		case idle:
			m.run.retire()
			return nil
		}
		if err := l.remove(name); err == nil || !l.isOver() {
			return err
		}
	}
}

// retire closes what is left, also when the group was never started.
func (g *group) retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		if g.has(m.spec.name) == m {
			m.run.retire()
		}
	}
	g.members = nil
}
