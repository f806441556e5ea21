package main

import (
	"context"
	"maps"

	"github.com/shmactor/shmactor/actor"
)

// Keeper keeps the totals of an accumulator. It lives in the program's own process, where no death of a worker reaches it;
// a program that wants to keep them longer would write them to a disk here.
type Keeper struct{ totals map[string]float64 }

var (
	keeper = actor.NewKind("keeper", func() *Keeper { return &Keeper{map[string]float64{}} })
	keep   = actor.NewMethod(keeper, "keep", (*Keeper).Keep)
	forget = actor.NewMethod(keeper, "forget", (*Keeper).Forget)
	recall = actor.NewMethod(keeper, "recall", (*Keeper).Recall)
)

// Keep keeps the total of a client.
func (k *Keeper) Keep(_ context.Context, total Amount) (struct{}, error) {
	k.totals[total.Client] = total.X
	return struct{}{}, nil
}

// Forget drops a client.
func (k *Keeper) Forget(_ context.Context, client string) (struct{}, error) {
	delete(k.totals, client)
	return struct{}{}, nil
}

// Recall returns all totals: a copy, since inside one process a result passes by reference.
func (k *Keeper) Recall(context.Context, struct{}) (map[string]float64, error) {
	return maps.Clone(k.totals), nil
}
