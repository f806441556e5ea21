package supervisor

import (
	"context"
	"fmt"
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

	mu   sync.Mutex
	life *actor.Life
}

func (a *localActor) start(ctx context.Context) (<-chan exit, error) {
	life, err := a.sys.Start(ctx, a.spec.name, a.box, a.spec.recipe)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.life = life
	a.mu.Unlock()
	ended := make(chan exit, 1)
	go func() {
		<-life.Done()
		ended <- exitOf(life.End())
	}()
	return ended, nil
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

func (a *localActor) stop() {
	a.mu.Lock()
	life := a.life
	a.mu.Unlock()
	life.Stop(false, a.spec.shutdown, stopGrace)
}

func (a *localActor) retire() { a.onRetire(a.spec.name, a.box) }

// group is a nested supervisor as a child. Its children keep their mailboxes from one of its lives to the next.
type group struct {
	make func() *loop // a fresh supervisor of the same children

	mu   sync.Mutex
	loop *loop
}

func (g *group) start(context.Context) (<-chan exit, error) {
	l := g.make()
	g.mu.Lock()
	g.loop = l
	g.mu.Unlock()
	if err := l.begin(); err != nil {
		return nil, err
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
	return ended, nil
}

func (g *group) present() *loop {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.loop
}

func (g *group) stop() { _ = g.present().end() }

func (g *group) retire() {
	if l := g.present(); l != nil {
		l.retire()
	}
}
