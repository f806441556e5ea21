package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/shmactor/shmactor/internal/codec"
	"github.com/shmactor/shmactor/shm"
)

// How an error crosses to another process: its text, the names of the registered errors that it is, and the bytes of the first
// registered type that it has.

// RegisterError gives an error a name, so that errors.Is finds it also in another process. Both sides register it, in a
// package-level variable or an init function.
func RegisterError(name string, err error) error {
	faults.mu.Lock()
	defer faults.mu.Unlock()
	faults.sentinels = append(faults.sentinels, sentinel{name, err})
	return err
}

// RegisterErrorType gives an error type a name, so that errors.As finds a value of it also in another process. Of several
// that an error has, the one that was registered first crosses. It returns why the type cannot be encoded, if it cannot.
func RegisterErrorType[E error](name string) error {
	c, err := codec.For[E]()
	if err != nil {
		return fmt.Errorf("actor: error type %q: %w", name, err)
	}
	faults.mu.Lock()
	defer faults.mu.Unlock()
	faults.types = append(faults.types, errorType{
		name: fmt.Sprintf("%s#%x", name, shm.Hash(c.TypeName())), // another build may have another type under the name
		encode: func(err error) (b []byte, ok bool) {
			defer func() { _ = recover() }() // of a method As or Unwrap
			e, ok := errors.AsType[E](err)
			if !ok {
				return nil, false
			}
			b, encErr := appendTo(c, nil, &e)
			return b, encErr == nil
		},
		decode: func(b []byte) (error, error) {
			var e E
			err := c.Decode(b, &e)
			return e, err
		},
	})
	return nil
}

type sentinel struct {
	name string
	err  error
}

type errorType struct {
	name   string
	encode func(error) ([]byte, bool)
	decode func([]byte) (error, error)
}

var faults = struct {
	mu        sync.RWMutex
	sentinels []sentinel
	types     []errorType
}{sentinels: []sentinel{
	{"not-found", ErrNotFound},
	{"mailbox-full", ErrMailboxFull},
	{"crashed", ErrCrashed},
	{"worker-died", ErrWorkerDied},
	{"stopped", ErrStopped},
	{"system-ended", ErrSystemEnded},
	{"too-large", ErrTooLarge},
	{"not-encodable", ErrNotEncodable},
	{"incompatible", ErrIncompatible},
	{"cycle", ErrCycle},
	{"name-taken", ErrNameTaken},
	{"no-space", ErrNoSpace},
	{"corrupt", ErrCorrupt},
	{"deadline-exceeded", context.DeadlineExceeded},
	{"canceled", context.Canceled},
}}

// registered returns what is registered now: the user's methods run without a lock.
func registered() ([]sentinel, []errorType) {
	faults.mu.RLock()
	defer faults.mu.RUnlock()
	return faults.sentinels, faults.types // they are only ever appended to
}

// fault is an error on its way.
type fault struct {
	_     struct{} `cbor:",toarray"`
	Text  string
	Is    []string
	Type  string
	Value []byte
}

var faultCodec = func() *codec.Codec[fault] {
	c, err := codec.For[fault]()
	if err != nil {
		panic(err) // the type above is fixed
	}
	return c
}()

// maxFaultText is the longest text of an error that crosses, in bytes.
const maxFaultText = 16 << 10

// faultOf takes an error apart. Its methods are the user's, and may panic.
func faultOf(err error) (f fault) {
	f.Text = errorText(err)
	sentinels, types := registered()
	for _, s := range sentinels {
		if is(err, s.err) {
			f.Is = append(f.Is, s.name)
		}
	}
	for _, t := range types {
		if b, ok := t.encode(err); ok && len(b) <= maxFaultText {
			f.Type, f.Value = t.name, b
			break
		}
	}
	return f
}

// is is errors.Is, also when a method of err panics.
func is(err, target error) (yes bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, target)
}

// bytes encodes the fault in at most limit bytes. What has to give way: the value first, then the end of the text, then what
// the error is.
func (f fault) bytes(limit int) []byte {
	for {
		b, _ := faultCodec.Append(nil, &f) // strings and bytes: there is nothing to refuse
		over := len(b) - limit
		switch {
		case over <= 0 || f.Type == "" && f.Text == "" && len(f.Is) == 0:
			return b
		case f.Type != "":
			f.Type, f.Value = "", nil
		case f.Text != "":
			f.Text = f.Text[:max(0, len(f.Text)-over)]
		default:
			f.Is = f.Is[:len(f.Is)-1]
		}
	}
}

// errorText is err.Error(), also when that panics.
func errorText(err error) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("an error of type %T whose Error method panics: %v", err, p)
		}
	}()
	text = err.Error()
	return text[:min(len(text), maxFaultText)]
}

// err puts the error together again.
func (f fault) err() error {
	e := &remoteError{text: f.Text}
	sentinels, types := registered()
	for _, name := range f.Is {
		for _, s := range sentinels {
			if s.name == name {
				e.is = append(e.is, s.err)
			}
		}
	}
	for _, t := range types {
		if t.name == f.Type {
			if v, err := t.decode(f.Value); err == nil {
				e.is = append(e.is, v)
			}
		}
	}
	return e
}

// remoteError is an error that a handler in another process returned.
type remoteError struct {
	text string
	is   []error
}

func (e *remoteError) Error() string   { return e.text }
func (e *remoteError) Unwrap() []error { return e.is }
