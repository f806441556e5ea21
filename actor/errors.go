package actor

import (
	"github.com/shmactor/shmactor/internal/codec"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// Errors that a caller can test with errors.Is, whichever process the other side is in; besides them only those of the
// context.
var (
	// ErrNotFound is returned when no actor has the name.
	ErrNotFound = shm.ErrNotFound
	// ErrMailboxFull is returned by TrySend when the actor's mailbox has no room.
	ErrMailboxFull = mailbox.ErrMailboxFull
	// ErrCrashed is returned when the handler of a call panicked or its goroutine ended. The text says why.
	ErrCrashed = mailbox.ErrCrashed
	// ErrWorkerDied is returned when the process that was handling a call died. The text says how.
	ErrWorkerDied = mailbox.ErrWorkerDied
	// ErrStopped is returned when the actor was stopped for good.
	ErrStopped = mailbox.ErrStopped
	// ErrSystemEnded is returned when the system was closed, or the process that owns it died.
	ErrSystemEnded = mailbox.ErrSystemEnded
	// ErrTooLarge is returned when a request or a reply is larger than the system's largest message.
	ErrTooLarge = shm.ErrTooLarge
	// ErrNotEncodable is returned when a value cannot be sent to another process.
	ErrNotEncodable = codec.ErrNotEncodable
	// ErrIncompatible is returned when the other side has another kind, other methods or other types under the name.
	ErrIncompatible = mailbox.ErrIncompatible
	// ErrCycle is returned when a call would wait for an actor that, through others, waits for the caller.
	ErrCycle = mailbox.ErrCycle
	// ErrNameTaken is returned when a name is used that an actor, a child or a kind has already.
	ErrNameTaken = shm.ErrNameTaken
	// ErrReplied is returned by Defer and Deferred.Reply when the call was answered before, or its caller has given up.
	ErrReplied = mailbox.ErrReplied
	// ErrNoSpace is returned when the segment has no room for the message, the mailbox or the process.
	ErrNoSpace = shm.ErrNoSpace
	// ErrCorrupt is returned when shared memory holds what no correct program writes.
	ErrCorrupt = shm.ErrCorrupt
)
