package shm

import "errors"

// Errors that a caller can test with errors.Is.
var (
	// ErrNoSpace is returned when the segment has no room left for what an operation needs: a frame, a mailbox, a ring or
	// a process; or when the machine has no memory for the segment itself.
	ErrNoSpace = errors.New("no space")
	// ErrTooLarge is returned when a message is larger than the segment's maximum.
	ErrTooLarge = errors.New("message too large")
	// ErrCorrupt is returned when a word read from the segment has a value that no correct program writes.
	ErrCorrupt = errors.New("corrupt segment")
	// ErrIncompatible is returned when a segment was made by another version or another layout of this library.
	ErrIncompatible = errors.New("incompatible segment")
	// ErrNameTaken is returned when a name is registered that is registered already.
	ErrNameTaken = errors.New("name taken")
	// ErrNotFound is returned when nothing has the name that was looked up.
	ErrNotFound = errors.New("not found")
	// ErrBadName is returned when a name is empty, too long, or holds a control character.
	ErrBadName = errors.New("bad name")
	// ErrInUse is returned when a file backing is held by a living owner.
	ErrInUse = errors.New("segment in use")
	// ErrReadOnly is returned when an operation would write to a segment that was attached read-only.
	ErrReadOnly = errors.New("segment is attached read-only")
)
