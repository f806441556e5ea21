package shm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
)

func init() { roles["limited-files"] = limitedFiles }

// limitedFiles plays a process whose files may be no larger than 1 MiB.
func limitedFiles() {
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		die(err)
	}
	path := filepath.Join(os.Args[1], "segment")
	_, err := Create(Options{File: path, MessageBytes: 4 << 20, MaxMessage: 1 << 20})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "MessageBytes") {
		die(fmt.Errorf("a segment larger than a file may be: %w", err))
	}
	s, err := Create(fileOptions(path))
	if err != nil {
		die(fmt.Errorf("one that fits: %w", err))
	}
	s.End()
	if err := s.Close(); err != nil {
		die(err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 0 {
		die(fmt.Errorf("left behind: %q", left))
	}
}

// A limit on the size of files is an error, and no signal ends the process.
func TestFileSizeLimit(t *testing.T) {
	testkit.NoLeaks(t)
	if out, err := testkit.Command(t, "limited-files", t.TempDir()).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
