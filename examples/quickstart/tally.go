package main

import (
	"context"
	"os"
	"slices"

	"github.com/shmactor/shmactor/actor"
)

// Tally adds up numbers. Its methods run one at a time, so it needs no lock; what it remembers dies with its process.
type Tally struct {
	total int
	added []int
}

// Report is what a tally says of itself.
type Report struct {
	PID        int    // of the process that it lives in
	Generation uint32 // which of its lives this is, from 1
	Total      int
	Added      []int // what makes up the total, in order
}

// Kinds and methods are package-level variables: a worker is this program, executed again, and so it knows them too.
var (
	tally = actor.NewKind("tally", func() *Tally { return new(Tally) })
	add   = actor.NewMethod(tally, "add", (*Tally).Add)
	look  = actor.NewMethod(tally, "look", (*Tally).Look)
	hold  = actor.NewMethod(tally, "hold", (*Tally).Hold)
)

// Add adds n.
func (t *Tally) Add(ctx context.Context, n int) (Report, error) {
	t.total += n
	t.added = append(t.added, n)
	return t.Look(ctx, struct{}{})
}

// Look changes nothing.
func (t *Tally) Look(ctx context.Context, _ struct{}) (Report, error) {
	self, _ := actor.SelfOf(ctx)
	return Report{
		PID: os.Getpid(), Generation: self.Generation(), Total: t.total,
		Added: slices.Clone(t.added), // to a caller in this process it goes by reference
	}, nil
}

// Hold stands for work that takes long: it rings the bell when it has begun, and has no end of its own.
func (t *Tally) Hold(ctx context.Context, _ struct{}) (struct{}, error) {
	self, _ := actor.SelfOf(ctx)
	_, err := ring.Call(ctx, bell.Ref(self.System(), "bell"), self.Name())
	if err == nil {
		<-ctx.Done() // the caller's deadline came with the call
		err = ctx.Err()
	}
	return struct{}{}, err
}
