package shm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
)

// A file backing outlives the processes. Its owner holds a lock on "PATH.lock", a file of its own: closing another
// descriptor of the segment, or a child that inherits one, must not drop or keep the lock.

// createFile makes a file of size bytes at path, every page reserved. A segment that a dead owner left there is set aside
// under a name of its own, never read and never deleted; one of a living owner is ErrInUse. The lock lives as long as the
// second file.
func createFile(path string, size int64) (f, lock *os.File, err error) {
	lock, err = os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := sys.Lock(lock); err != nil {
		closeFile(lock)
		if errors.Is(err, os.ErrExist) {
			return nil, nil, fmt.Errorf("shm: the file %s belongs to a running program: %w", path, ErrInUse)
		}
		return nil, nil, err
	}
	if err := os.Rename(path, fmt.Sprintf("%s.%d.old", path, time.Now().UnixNano())); err != nil && !errors.Is(err, os.ErrNotExist) {
		closeFile(lock)
		return nil, nil, err
	}
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		closeFile(lock)
		return nil, nil, err
	}
	if err := sys.Reserve(f, size); err != nil {
		closeFile(f)
		closeFile(lock)
		return nil, nil, errors.Join(noSpace(err, size, filepath.Dir(path)), os.Remove(path))
	}
	return f, lock, nil
}
