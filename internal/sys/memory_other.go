//go:build !linux

package sys

import (
	"errors"
	"fmt"
	"os"
)

// Supported reports whether this platform has shared segments, workers and attachment.
const Supported = false

func unsupported(what string) error {
	return fmt.Errorf("%s needs Linux: %w", what, errors.ErrUnsupported)
}

// MemoryFile returns an error wrapping errors.ErrUnsupported.
func MemoryFile(string, int64) (*os.File, error) { return nil, unsupported("a memory file") }

// Reserve returns an error wrapping errors.ErrUnsupported.
func Reserve(*os.File, int64) error { return unsupported("fallocate") }

// Seal returns an error wrapping errors.ErrUnsupported.
func Seal(*os.File) error { return unsupported("sealing") }

// Sealed returns false.
func Sealed(*os.File) bool { return false }

// Map returns an error wrapping errors.ErrUnsupported.
func Map(*os.File, int64, bool) ([]byte, error) { return nil, unsupported("a shared mapping") }

// Retire returns an error wrapping errors.ErrUnsupported.
func Retire([]byte) error { return unsupported("a shared mapping") }

// Lock returns an error wrapping errors.ErrUnsupported.
func Lock(*os.File) error { return unsupported("an open-file-description lock") }

// IsMemoryFile returns false.
func IsMemoryFile(*os.File) bool { return false }
