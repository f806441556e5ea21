//go:build !linux

package sys

import "os"

// StartTime returns an error wrapping errors.ErrUnsupported.
func StartTime(int) (uint64, error) { return 0, unsupported("a process's start time") }

// BootID returns the empty string.
func BootID() string { return "" }

// ProcessHandle needs Linux.
type ProcessHandle struct{}

// OpenProcess returns an error wrapping errors.ErrUnsupported.
func OpenProcess(int, uint64) (*ProcessHandle, error) { return nil, unsupported("a process handle") }

// Wait returns an error wrapping errors.ErrUnsupported.
func (*ProcessHandle) Wait() error { return unsupported("a process handle") }

// Kill returns an error wrapping errors.ErrUnsupported.
func (*ProcessHandle) Kill() error { return unsupported("a process handle") }

// Close does nothing.
func (*ProcessHandle) Close() error { return nil }

// MemoryLimit reports that no limit is known.
func MemoryLimit() (limit, used int64, ok bool) { return 0, 0, false }

// HoldsForWriting returns false.
func HoldsForWriting(int, *os.File) bool { return false }

// OwnStartTime returns an error wrapping errors.ErrUnsupported.
func OwnStartTime() (uint64, error) { return 0, unsupported("the start time of a process") }
