package actor

import (
	"context"
	"sync/atomic"

	"github.com/shmactor/shmactor/mailbox"
)

// handling is a handler's context: that of the actor's life, with the deadline of the message.
type handling struct {
	context.Context
	life    *Life
	message *mailbox.Message
	reply   any          // where an answer by reference goes
	state   atomic.Int32 // open -> deferred by Defer, or open -> over when the handler has returned
}

const (
	handlingOpen int32 = iota
	handlingDeferred
	handlingOver
)

// returned says that the handler has returned, and reports whether the runtime answers for it.
func (h *handling) returned() bool { return h.state.CompareAndSwap(handlingOpen, handlingOver) }

type handlingKey struct{}

// Value finds the handling in a context that was made from it.
func (h *handling) Value(key any) any {
	if _, ok := key.(handlingKey); ok {
		return h
	}
	return h.Context.Value(key)
}

func handlingOf(ctx context.Context) *handling {
	h, _ := ctx.Value(handlingKey{}).(*handling)
	return h
}

// Self is an actor as its own handlers see it.
type Self struct{ life *Life }

// SelfOf returns the actor whose handler got ctx, or made it from its context; ok is false outside of handlers.
func SelfOf(ctx context.Context) (self Self, ok bool) {
	h := handlingOf(ctx)
	if h == nil {
		return Self{}, false
	}
	return Self{h.life}, true
}

// System is the actor's system, as the process it lives in sees it.
func (s Self) System() *System { return s.life.sys }

// Name is the actor's name.
func (s Self) Name() string { return s.life.name }

// Generation counts the lives of the actor, from 1.
func (s Self) Generation() uint32 { return s.life.generation }

// Stop ends the actor normally after the present message.
func (s Self) Stop() { s.life.leave.Store(true) }

// Self returns the address of the actor whose handler got ctx, if it is of this kind.
func (k Kind[T]) Self(ctx context.Context) (ref Ref[T], ok bool) {
	h := handlingOf(ctx)
	if h == nil || h.life.class != k.class {
		return Ref[T]{}, false
	}
	return k.Ref(h.life.sys, h.life.name), true
}
