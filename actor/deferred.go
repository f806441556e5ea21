package actor

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmactor/shmactor/internal/codec"
	"github.com/shmactor/shmactor/mailbox"
)

// Deferred is the duty to answer a call later, taken over from its handler by Defer. It may be kept, passed to another
// goroutine, or sent in a message to another actor, in any process; the first that replies answers the call. When the actor that
// deferred it ends before, the caller gets ErrCrashed or ErrStopped.
type Deferred[R any] struct {
	// Token names the call inside its system. It means nothing to programs.
	Token uint64
}

// deferredCall is what the process that deferred a call keeps of it.
type deferredCall struct {
	life  *Life
	reply any // where an answer by reference goes, nil when the caller is in another process
}

// Defer takes the duty to answer over from the handler that got ctx: what the handler returns afterwards is ignored. R is the type
// that the method returns.
func Defer[R any](ctx context.Context) (Deferred[R], error) {
	h := handlingOf(ctx)
	if h == nil || h.message == nil {
		return Deferred[R]{}, errors.New("actor: Defer needs the context of a handler")
	}
	if !h.message.IsCall() {
		return Deferred[R]{}, errors.New("actor: a one-way message has no reply to defer")
	}
	if h.reply != nil {
		if _, ok := h.reply.(answerer[R]); !ok {
			return Deferred[R]{}, fmt.Errorf("actor: the method does not return a %T: %w", *new(R), ErrIncompatible)
		}
	}
	if !h.state.CompareAndSwap(handlingOpen, handlingDeferred) {
		return Deferred[R]{}, fmt.Errorf("actor: the handler has returned, or deferred before: %w", mailbox.ErrReplied)
	}
	l := h.life
	t := h.message.Token()
	l.mu.Lock()
	if l.deferred == nil { // the life has ended: nobody would answer for it
		l.mu.Unlock()
		return Deferred[R]{}, fmt.Errorf("actor: the actor has ended: %w", ErrStopped)
	}
	l.deferred[t] = struct{}{}
	l.sys.pending.Store(t, &deferredCall{l, h.reply})
	l.mu.Unlock()
	if err := h.message.Defer(); err != nil {
		l.sys.pending.Delete(t)
		(&deferredCall{life: l}).forget(t)
		return Deferred[R]{}, fmt.Errorf("actor: the caller has given up: %w", err)
	}
	return Deferred[R]{uint64(t.Generation)<<32 | uint64(t.Frame)}, nil
}

// answerer is an exchange of any request with reply R.
type answerer[R any] interface{ answer(r R, err error) }

// Reply answers the call with r, or with err if that is not nil. The error says that nobody waits for it any more, or that r
// cannot be sent.
func (d Deferred[R]) Reply(s *System, r R, err error) error {
	t := mailbox.Token{Frame: uint32(d.Token), Generation: uint32(d.Token >> 32)}
	c, codecErr := codec.For[R]()
	m, claimErr := s.hub.Claim(t)
	kept, here := s.pending.LoadAndDelete(t)
	if here {
		kept.(*deferredCall).forget(t)
	}
	if claimErr != nil {
		return fmt.Errorf("actor: the deferred call is over: %w", claimErr)
	}
	if here {
		if a, ok := kept.(*deferredCall).reply.(answerer[R]); ok {
			a.answer(r, err)
			return m.Answer(0, 0, statusLocal)
		}
	}
	switch {
	case err != nil:
		return replyFault(&m, err)
	case codecErr != nil:
		return errors.Join(codecErr, replyFault(&m, codecErr))
	}
	return replyValue(&m, c, &r)
}

func (c *deferredCall) forget(t mailbox.Token) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	delete(c.life.deferred, t)
}
