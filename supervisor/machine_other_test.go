//go:build !linux

package supervisor_test

import (
	"errors"
	"os"
)

func dumpable() error { return errors.ErrUnsupported }

func mountTmpfs(string, string) (unmount func() error, err error) { return nil, errors.ErrUnsupported }

// threadID is that of the first thread: other threads have no number here.
func threadID() int { return os.Getpid() }
