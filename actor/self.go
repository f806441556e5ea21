package actor

import (
	"context"
	"sync/atomic"

	"github.com/shmactor/shmactor/mailbox"
)

// handling is a handler's context: that of the actor's life, with the deadline of the message. It outlives the handler in whoever
// still has it, so all that it knows of the message is its own.
type handling struct {
	context.Context
	life    *Life
	message mailbox.Message
	call    bool         // somebody waits for the end of the message
	shape   any          // the answerer that a reply of the method's type fits, of no call; nil outside of handlers
	reply   any          // where an answer by reference goes; nil when it goes as bytes
	state   atomic.Int32 // who ends the message
	lent    bool         // the fence has; guarded by the life's mu
	waits   waits
}

// Who ends the message that is handled.
//
//	open --> deferred        Defer: whoever replies
//	open --> over            the handler has returned: the life's goroutine, when it has written the reply
//	open, over --> settled   somebody is doing it: that goroutine, also when the handler crashed, or the fence
const (
	handlingOpen int32 = iota
	handlingDeferred
	handlingOver
	handlingSettled
)

// returned says that the handler has returned, and reports whether the life's goroutine answers for it.
func (h *handling) returned() bool {
	h.endWaits()
	return h.state.CompareAndSwap(handlingOpen, handlingOver)
}

// settle takes the right to end the message.
func (h *handling) settle() bool {
	for {
		s := h.state.Load()
		if s != handlingOpen && s != handlingOver {
			return false
		}
		if h.state.CompareAndSwap(s, handlingSettled) {
			return true
		}
	}
}

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

// Self is an actor as its own handlers see it. The zero Self is nobody.
type Self struct{ life *Life }

// SelfOf returns the actor whose handler got ctx, or made it from its context; ok is false outside of handlers.
func SelfOf(ctx context.Context) (self Self, ok bool) {
	h := handlingOf(ctx)
	if h == nil {
		return Self{}, false
	}
	return Self{h.life}, true
}

// Attempt is how often the message that is handled with ctx was begun to be handled, this time included: more than 1 only of a kind
// with Redeliver. It is 0 outside of handlers.
func Attempt(ctx context.Context) int {
	h := handlingOf(ctx)
	if h == nil || h.shape == nil {
		return 0
	}
	return max(1, int(h.message.Header.Attempts))
}

// System is the actor's system, as the process it lives in sees it.
func (s Self) System() *System {
	if s.life == nil {
		return nil
	}
	return s.life.sys
}

// Name is the actor's name.
func (s Self) Name() string {
	if s.life == nil {
		return ""
	}
	return s.life.name
}

// Generation counts the lives of the actor, from 1.
func (s Self) Generation() uint32 {
	if s.life == nil {
		return 0
	}
	return s.life.generation
}

// Stop ends the actor normally after the present message, or at once when there is none.
func (s Self) Stop() {
	if s.life == nil {
		return
	}
	s.life.leave.Store(true)
	_ = s.life.order(mailbox.ControlPing) // it may be waiting for a message
}

// Self returns the address of the actor whose handler got ctx, if it is of this kind.
func (k Kind[T]) Self(ctx context.Context) (ref Ref[T], ok bool) {
	h := handlingOf(ctx)
	if h == nil || h.life.class != k.class {
		return Ref[T]{}, false
	}
	return k.Ref(h.life.sys, h.life.name), true
}
