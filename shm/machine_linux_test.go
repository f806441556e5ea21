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

func init() { roles["cramped-machine"] = crampedMachine }

// crampedMachine plays a process on a machine with a full file system and a tiny /dev/shm, in mounts of its own.
func crampedMachine() {
	dir := os.Args[1]
	mount := func(where, size string) {
		if err := syscall.Mount("shmactor-test", where, "tmpfs", 0, "size="+size); err != nil {
			die(fmt.Errorf("mount on %s: %w", where, err))
		}
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		die(err)
	}
	mount(dir, "1m")
	path := filepath.Join(dir, "segment")
	_, err := Create(Options{File: path, MessageBytes: 4 << 20, MaxMessage: 1 << 20})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), dir) {
		die(fmt.Errorf("a segment larger than its file system: %w", err))
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 0 {
		die(fmt.Errorf("left behind: %q", left))
	}
	s, err := Create(fileOptions(path)) // one that fits
	if err != nil {
		die(err)
	}
	for i := range s.mem { // every page is there: the file system is full, and this does not fault
		s.mem[i] |= 0
	}
	mount("/dev/shm", "4k")
	m, err := Create(Options{Name: "cramped"})
	if err != nil {
		die(fmt.Errorf("a memory file beside a tiny /dev/shm: %w", err))
	}
	for i := 0; i < len(m.mem); i += pageSize {
		m.mem[i] |= 0
	}
	fmt.Println("ok")
}

func TestCrampedMachine(t *testing.T) {
	testkit.NoLeaks(t)
	dir := t.TempDir()
	cmd := testkit.Command(t, "cramped-machine", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if errors.Is(err, syscall.EPERM) || strings.Contains(said.String(), "mount on") && strings.Contains(said.String(), "operation not permitted") {
		t.Skipf("no right to mount file systems here: %v %s", err, &said)
	}
	if err != nil || said.String() != "ok\n" {
		t.Errorf("%v: %s", err, &said)
	}
}
