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

// openFile takes over what a dead owner left at path, or sets it aside, under a name of its own, never read and never
// deleted, and makes a new file with every page reserved. One of a living owner is ErrInUse. The lock lives as long as the
// second file.
func openFile(path string, g *geometry) (f, lock *os.File, left bool, err error) {
	if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
		return nil, nil, false, noSegment(path, info)
	}
	lock, err = lockFile(path)
	if err != nil {
		return nil, nil, false, err
	}
	if f, left = takeOver(path, g); left {
		return f, lock, true, nil
	}
	if err = setAside(path); err == nil {
		f, err = reserveFile(path, g.size)
	}
	if err != nil {
		_ = os.Remove(lock.Name())
		closeFile(lock)
		return nil, nil, false, err
	}
	return f, lock, false, nil
}

// setAside moves a segment away.
func setAside(path string) error {
	if err := checkOurs(path); err != nil {
		return err
	}
	err := os.Rename(path, asideName(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// asideName is a new name for a file that is kept and never read.
func asideName(path string) string { return fmt.Sprintf("%s.%d.old", path, time.Now().UnixNano()) }

// checkOurs refuses a path where there is something that is no segment: it is somebody else's, and is not touched. The caller
// has the lock, so nobody is making one there now; an owner that died while it made one left nothing, or zeros.
func checkOurs(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer closeFile(f)
	var start [wordSize]byte
	_, err = f.ReadAt(start[:], 0)
	first := nativeWord(start[:])
	if info.Size() == 0 || err == nil && (first == magic || first == 0) {
		return nil
	}
	return noSegment(path, info)
}

func noSegment(path string, info os.FileInfo) error {
	return fmt.Errorf("shm: %s (%v, %d bytes) is not a segment: choose another path, or remove it: %w",
		path, info.Mode(), info.Size(), ErrIncompatible)
}

func reserveFile(path string, size int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := sys.Reserve(f, size); err != nil {
		closeFile(f)
		return nil, errors.Join(noSpace(err, size, filepath.Dir(path)), os.Remove(path))
	}
	return f, nil
}

// lockTries is how many owners in a row may end while a lock is being taken.
const lockTries = 100

// lockFile takes the lock for path. An owner that ends removes its lock file while it has the lock, so a lock counts only if
// its file still has the name afterwards.
func lockFile(path string) (*os.File, error) {
	for range lockTries {
		lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := sys.Lock(lock); err != nil {
			closeFile(lock)
			if errors.Is(err, os.ErrExist) {
				break
			}
			return nil, err
		}
		mine, err := lock.Stat()
		if now, nowErr := os.Stat(lock.Name()); err == nil && nowErr == nil && os.SameFile(mine, now) {
			return lock, nil
		}
		closeFile(lock)
	}
	return nil, fmt.Errorf("shm: the file %s belongs to a running program: %w", path, ErrInUse)
}
