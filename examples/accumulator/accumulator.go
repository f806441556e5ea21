package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/shmactor/shmactor/actor"
)

// Accumulator keeps a total for each client. The totals are in its memory: when it is restarted, after a bug or with its
// process, a fresh one begins, with none. Unless it has a keeper: then it gets them back.
type Accumulator struct {
	keeper string // name of the actor that keeps the totals, empty when nobody does
	totals map[string]float64
}

// Amount is a number and whose it is: what Accumulate takes, and what a keeper keeps.
type Amount struct {
	Client string
	X      float64
}

// The argument of the kind is the name of the keeper. It stands in the spec, so each life gets it, in whatever process.
var (
	accumulator = actor.NewKindWith("accumulator", func(keeper string) (*Accumulator, error) {
		return &Accumulator{keeper: keeper, totals: map[string]float64{}}, nil
	})
	accumulate  = actor.NewMethod(accumulator.Kind, "accumulate", (*Accumulator).Accumulate)
	clearClient = actor.NewMethod(accumulator.Kind, "clear", (*Accumulator).Clear)
	stumble     = actor.NewMethod(accumulator.Kind, "stumble", (*Accumulator).Stumble)
)

// The errors have names, so that errors.Is finds them also when they come from another process.
var (
	ErrUnknownClient = actor.RegisterError("accumulator/unknown-client", errors.New("unknown client"))
	ErrTooLarge      = actor.RegisterError("accumulator/too-large", errors.New("the total is too large"))
)

// Init runs before the first message of each life; what is sent meanwhile waits in the mailbox.
func (a *Accumulator) Init(ctx context.Context) (err error) {
	if a.keeper == "" {
		return nil
	}
	a.totals, err = recall.Call(ctx, a.keeperRef(ctx), struct{}{})
	return err
}

// Accumulate adds to the total of a client and returns it.
func (a *Accumulator) Accumulate(ctx context.Context, by Amount) (float64, error) {
	total := a.totals[by.Client] + by.X
	if math.IsInf(total, 0) || math.IsNaN(total) {
		return 0, fmt.Errorf("client %q: %w", by.Client, ErrTooLarge)
	}
	if a.keeper != "" {
		// First the keeper: what a caller was told is never lost. A caller that got ErrWorkerDied does not know.
		if _, err := keep.Call(ctx, a.keeperRef(ctx), Amount{by.Client, total}); err != nil {
			return 0, err
		}
	}
	a.totals[by.Client] = total
	return total, nil
}

// Clear forgets a client.
func (a *Accumulator) Clear(ctx context.Context, client string) (struct{}, error) {
	if _, ok := a.totals[client]; !ok {
		return struct{}{}, fmt.Errorf("client %q: %w", client, ErrUnknownClient)
	}
	if a.keeper != "" {
		if _, err := forget.Call(ctx, a.keeperRef(ctx), client); err != nil {
			return struct{}{}, err
		}
	}
	delete(a.totals, client)
	return struct{}{}, nil
}

// Stumble stands for a bug: a panic ends this life of the actor, and of nothing else.
func (a *Accumulator) Stumble(context.Context, struct{}) (struct{}, error) {
	panic("a bug")
}

// keeperRef is the keeper's address. It is the same wherever the two actors live.
func (a *Accumulator) keeperRef(ctx context.Context) actor.Ref[*Keeper] {
	self, _ := actor.SelfOf(ctx)
	return keeper.Ref(self.System(), a.keeper)
}
