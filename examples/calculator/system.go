package main

import (
	"context"
	"fmt"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/supervisor"
)

// systemName is what other programs attach to.
const systemName = "calculator"

// actorNames are the calculators. One would do; with two, it can be seen that it does not matter which one is asked.
var actorNames = []string{"calculator/1", "calculator/2"}

// start starts a system of calculators, in this process or each in a worker process of its own.
func start(ctx context.Context, name string, workers bool) (*actor.System, error) {
	spec := supervisor.Spec{Name: name}
	for i, name := range actorNames {
		child := supervisor.Actor(name, calculator)
		if workers {
			child = supervisor.Worker(fmt.Sprintf("worker-%d", i+1), child)
		}
		spec.Children = append(spec.Children, child)
	}
	return supervisor.Start(ctx, spec)
}

// rota has the calculators take turns.
type rota struct {
	refs []actor.Ref[Calculator]
	turn int
}

func newRota(sys *actor.System) *rota {
	r := new(rota)
	for _, name := range actorNames {
		r.refs = append(r.refs, calculator.Ref(sys, name))
	}
	return r
}

func (r *rota) next() actor.Ref[Calculator] {
	ref := r.refs[r.turn%len(r.refs)]
	r.turn++
	return ref
}
