//go:build !linux

package floor

import (
	"errors"
	"fmt"
)

// Shm needs Linux.
type Shm struct{ Peer }

// NewShm returns an error wrapping errors.ErrUnsupported.
func NewShm(int) (*Shm, error) {
	return nil, fmt.Errorf("floor: shared memory with another process: %w", errors.ErrUnsupported)
}

func serveShm(uintptr, int) error { _, err := NewShm(0); return err }
