package main

import (
	"context"
	"log/slog"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/supervisor"
)

const (
	systemName      = "accumulator" // what other programs attach to
	accumulatorName = "accumulator"
	keeperName      = "keeper"
	workerName      = "worker"
)

// placement is where the actors run, and which.
type placement struct {
	workers bool // the accumulator runs in a worker process
	keep    bool // it has a keeper
}

// start starts the system.
func (p placement) start(ctx context.Context, name string, logger *slog.Logger) (*actor.System, error) {
	spec := supervisor.Spec{Name: name, Logger: logger}
	keeperOf := ""
	if p.keep { // first: the accumulator asks it when it starts
		keeperOf = keeperName
		spec.Children = append(spec.Children, supervisor.Actor(keeperName, keeper))
	}
	child := supervisor.Actor(accumulatorName, accumulator.With(keeperOf))
	if p.workers {
		child = supervisor.Worker(workerName, child)
	}
	spec.Children = append(spec.Children, child)
	return supervisor.Start(ctx, spec)
}

// theAccumulator is its address in a system of this process, or of another program.
func theAccumulator(sys *actor.System) actor.Ref[*Accumulator] {
	return accumulator.Ref(sys, accumulatorName)
}

// workerPID is the process where the accumulator runs, 0 when it runs in the program's own.
func workerPID(sys *actor.System) int {
	for _, p := range sys.Processes() {
		if p.Name == workerName && p.Live {
			return p.PID
		}
	}
	return 0
}
