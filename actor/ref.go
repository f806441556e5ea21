package actor

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shmactor/shmactor/mailbox"
)

// Ref is the address of an actor: a name in a system. It stays valid when the actor is restarted or moved, and needs no
// actor to be there when it is made. It is a value; copies share what they learned. Safe for concurrent use.
type Ref[T any] struct{ target *target }

// target is where a ref points, with the mailbox that was found last.
type target struct {
	sys    *System
	name   string
	class  *class
	cached atomic.Pointer[mailbox.Mailbox]
}

// Ref returns the address of the actor of this kind with that name.
func (k Kind[T]) Ref(sys *System, name string) Ref[T] {
	return Ref[T]{&target{sys: sys, name: name, class: k.class}}
}

// Name is the actor's name.
func (r Ref[T]) Name() string {
	if r.target == nil {
		return ""
	}
	return r.target.name
}

// String is the actor's name.
func (r Ref[T]) String() string {
	if r.target == nil {
		return "no actor"
	}
	return r.target.name
}

// Generation counts the lives of the actor, from 1; 0 when there is no such actor now.
func (r Ref[T]) Generation() uint32 {
	box, err := r.target.box()
	if err != nil {
		return 0
	}
	return box.Life()
}

// box returns the actor's mailbox, looking the name up when the one that was found last is closed.
func (t *target) box() (*mailbox.Mailbox, error) {
	if t == nil || t.sys == nil || t.class == nil {
		return nil, fmt.Errorf("actor: the zero Ref, or one of the zero Kind or of no System, names no actor: %w", ErrNotFound)
	}
	old := t.cached.Load()
	if old != nil && old.Open() {
		return old, nil
	}
	if err := t.sys.Err(); err != nil {
		return nil, fmt.Errorf("actor %q: %w", t.name, err)
	}
	box, err := t.sys.hub.Open(t.name)
	switch {
	case err != nil && old != nil && errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("actor %q was stopped: %w", t.name, ErrStopped)
	case err != nil && errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("actor: no actor has the name %q in system %q: %w", t.name, t.sys.Name(), ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("actor %q: %w", t.name, err)
	case box.Kind() != t.class.hash:
		return nil, fmt.Errorf("actor %q is of kind %q, not %q: %w", t.name, classes.kindName(box.Kind()), t.class.name, ErrIncompatible)
	}
	t.cached.Store(box)
	return box, nil
}
