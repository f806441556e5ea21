package mailbox

import (
	"errors"
	"fmt"

	"github.com/shmactor/shmactor/shm"
)

// Errors that a caller can test with errors.Is. Those of package shm come through unchanged.
var (
	// ErrMailboxFull is returned by TrySend when the mailbox has no room now.
	ErrMailboxFull = errors.New("mailbox full")
	// ErrStopped is returned when the mailbox was closed: its actor was stopped for good. The message was not handled.
	ErrStopped = errors.New("stopped")
	// ErrCrashed is returned when the handler of a call panicked, or its goroutine ended; also when that, or the death of its
	// process, has used up its attempts.
	ErrCrashed = errors.New("crashed")
	// ErrWorkerDied is returned when the process that was handling a call died.
	ErrWorkerDied = errors.New("worker died")
	// ErrSystemEnded is returned when the system was closed, or its owner died.
	ErrSystemEnded = errors.New("system ended")
	// ErrIncompatible is returned when the receiver cannot read what was sent: another method, other types, another build.
	ErrIncompatible = errors.New("incompatible")
	// ErrCycle is for callers that found with WaitFor that their call would wait for itself.
	ErrCycle = errors.New("call cycle")
	// ErrReplied is returned when a message is answered that was answered before, or whose caller has gone.
	ErrReplied = errors.New("already answered or given up")
	// ErrValueLost is returned when a message was a Go value in the memory of a process that has died.
	ErrValueLost = errors.New("value died with its process")
)

// Failure is the end of a call without a reply. It wraps the sentinel of its reason.
type Failure struct {
	Reason shm.Reason
	Text   string // what the other side said about it
}

// Error is the sentinel's text and what the other side said.
func (f *Failure) Error() string {
	base := f.Unwrap()
	if f.Text == "" {
		return base.Error()
	}
	return fmt.Sprintf("%v: %s", base, f.Text)
}

// Unwrap returns the sentinel.
func (f *Failure) Unwrap() error {
	switch f.Reason {
	case shm.Crashed, shm.Exhausted:
		return ErrCrashed
	case shm.WorkerDied:
		return ErrWorkerDied
	case shm.Stopped:
		return ErrStopped
	case shm.Expired:
		return errExpired
	case shm.Unknown:
		return shm.ErrNotFound
	case shm.ValueLost:
		return ErrValueLost
	case shm.Undecodable, shm.NoMethod:
		return ErrIncompatible
	case shm.SystemEnded:
		return ErrSystemEnded
	case shm.Undeliverable:
		return ErrMailboxFull
	default:
		return shm.ErrCorrupt
	}
}
