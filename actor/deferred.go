package actor

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
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
	shape any // as in handling
	reply any
}

// Defer takes the duty to answer over from the handler that got ctx: what the handler returns afterwards is ignored. R is the type
// that the method returns.
func Defer[R any](ctx context.Context) (Deferred[R], error) {
	h := handlingOf(ctx)
	if h == nil || h.shape == nil {
		return Deferred[R]{}, errors.New("actor: Defer needs the context of a handler")
	}
	if !h.call {
		return Deferred[R]{}, errors.New("actor: a one-way message has no reply to defer")
	}
	if _, ok := h.shape.(answerer[R]); !ok {
		return Deferred[R]{}, errReplyType[R]()
	}
	if !h.state.CompareAndSwap(handlingOpen, handlingDeferred) {
		return Deferred[R]{}, fmt.Errorf("actor: the handler has returned, or deferred before: %w", mailbox.ErrReplied)
	}
	t, err := h.life.postpone(h)
	if err != nil {
		return Deferred[R]{}, err
	}
	return Deferred[R]{uint64(t.Generation)<<32 | h.life.sys.tag()<<tokenFrameBits | uint64(t.Frame)}, nil
}

// tokenFrameBits are the bits of a token that name the frame; above them is the tag of its system.
const tokenFrameBits = 24

// tag tells tokens of different systems apart, most of the time. It has eight bits and is never 0.
func (s *System) tag() uint64 { return s.info.Instance%255 + 1 }

func errReplyType[R any]() error {
	return fmt.Errorf("actor: the method does not return %v: %w", reflect.TypeFor[R](), ErrIncompatible)
}

// answerer is an exchange of any request with reply R.
type answerer[R any] interface{ answer(r R, err error) }

// Reply answers the call with r, or with err if that is not nil. The error says that nobody waits for it any more, or that r
// cannot be sent, which the caller is told too.
func (d Deferred[R]) Reply(s *System, r R, err error) error {
	t, ok := d.in(s)
	if !ok {
		return fmt.Errorf("actor: the zero Deferred, or one of another system, is no call: %w", mailbox.ErrReplied)
	}
	m, claimErr := s.hub.Claim(t)
	kept := s.forget(t)
	if claimErr != nil {
		return fmt.Errorf("actor: the deferred call is over: %w", claimErr)
	}
	answered := false
	defer func() {
		if !answered { // a method of r or err has ended this goroutine
			_ = m.Fail(shm.Crashed, errGoexit.Error())
		}
	}()
	err = answerDeferred(&m, kept, r, err)
	answered = true
	return err
}

// Waits reports whether somebody still waits for the answer.
func (d Deferred[R]) Waits(s *System) bool {
	t, ok := d.in(s)
	return ok && s.hub.Due(t)
}

// in is the token of the call, if it is one of that system.
func (d Deferred[R]) in(s *System) (t mailbox.Token, ok bool) {
	t = mailbox.Token{Frame: uint32(d.Token & (1<<tokenFrameBits - 1)), Generation: uint32(d.Token >> 32)}
	return t, s != nil && d.Token>>tokenFrameBits&0xff == s.tag()
}

// answerDeferred answers a call that this process claimed; kept is nil when another process deferred it.
func answerDeferred[R any](m *mailbox.Message, kept *deferredCall, r R, err error) error {
	if kept != nil {
		if _, ok := kept.shape.(answerer[R]); !ok {
			err := errReplyType[R]()
			return errors.Join(err, writeFault(m, err).send(m))
		}
		if kept.reply != nil {
			kept.reply.(answerer[R]).answer(r, err)
			return m.Answer(0, 0, statusLocal)
		}
	}
	if err != nil {
		return writeFault(m, err).send(m)
	}
	c, err := codecOf[R]()
	if err != nil {
		return errors.Join(err, writeFault(m, err).send(m))
	}
	w, err := writeValue(m, c, &r)
	return errors.Join(err, w.send(m))
}

// forget takes what this process keeps of a deferred call, nil if that is nothing.
func (s *System) forget(t mailbox.Token) *deferredCall {
	v, ok := s.pending.LoadAndDelete(t)
	if !ok {
		return nil
	}
	c := v.(*deferredCall)
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	delete(c.life.deferred, t)
	return c
}
