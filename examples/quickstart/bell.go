package main

import (
	"context"

	"github.com/shmactor/shmactor/actor"
)

// Bell lives in the program's own process: actors of all processes ring it, and the story hears it on a Go channel.
type Bell struct{ heard chan<- string }

var (
	bell = actor.NewKindWith("bell", func(heard chan<- string) (*Bell, error) { return &Bell{heard}, nil })
	ring = actor.NewMethod(bell.Kind, "ring", (*Bell).Ring)
)

// Ring says who rings.
func (b *Bell) Ring(ctx context.Context, who string) (struct{}, error) {
	select {
	case b.heard <- who:
		return struct{}{}, nil
	case <-ctx.Done():
		return struct{}{}, ctx.Err()
	}
}
