package sys

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// StartTime returns when a process started, in clock ticks since boot (field 22 of /proc/PID/stat). With the pid it names
// one process for good, since a pid can be used again but not at the same tick.
func StartTime(pid int) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	const startTimeField = 22 - 3 // the first field of rest is the third of the file
	if !ok || len(fields) <= startTimeField {
		return 0, fmt.Errorf("/proc/%d/stat is not what proc(5) describes", pid)
	}
	return strconv.ParseUint(string(fields[startTimeField]), 10, 64)
}

// BootID names this boot of the machine.
func BootID() string { return bootID() }

var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})

// OwnStartTime is the StartTime of this process.
func OwnStartTime() (uint64, error) { return ownStartTime() }

var ownStartTime = sync.OnceValues(func() (uint64, error) { return StartTime(os.Getpid()) })

// ProcessHandle is a pidfd: it names one process for good, and becomes readable when that process has exited.
type ProcessHandle struct{ file *os.File }

// OpenProcess opens a handle to the process with that pid and start time (as StartTime tells it; 0 accepts any). The error
// wraps os.ErrNotExist when that process has exited.
func OpenProcess(pid int, start uint64) (*ProcessHandle, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err == unix.ESRCH {
		return nil, fmt.Errorf("process %d: %w", pid, os.ErrNotExist)
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	h := &ProcessHandle{os.NewFile(uintptr(fd), "pidfd:"+strconv.Itoa(pid))}
	// The pid may have been used again before the handle was opened; after, it cannot.
	if now, err := StartTime(pid); start != 0 && (err != nil || now != start) {
		_ = h.Close()
		return nil, fmt.Errorf("process %d (started at tick %d): %w", pid, start, os.ErrNotExist)
	}
	return h, nil
}

// HoldsForWriting reports whether a process of this user has the file of f open for writing. It is false when that cannot be
// told.
func HoldsForWriting(pid int, f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	dir := "/proc/" + strconv.Itoa(pid)
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if theirs, err := os.Stat(dir + "/fd/" + fd.Name()); err != nil || !os.SameFile(mine, theirs) {
			continue
		}
		info, _ := os.ReadFile(dir + "/fdinfo/" + fd.Name())
		_, flags, _ := strings.Cut(string(info), "flags:")
		flags, _, _ = strings.Cut(strings.TrimSpace(flags), "\n")
		if n, err := strconv.ParseUint(flags, 8, 64); err == nil && n&unix.O_ACCMODE != unix.O_RDONLY {
			return true
		}
	}
	return false
}

// Wait returns nil when the process has exited, and an error when the handle was closed first. It holds no thread.
func (h *ProcessHandle) Wait() error {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err == nil && n == 1
	})
}

// Kill sends SIGKILL to exactly that process.
func (h *ProcessHandle) Kill() error {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }); err != nil {
		return err
	}
	return sent
}

// Close ends a Wait.
func (h *ProcessHandle) Close() error { return h.file.Close() }

// MemoryLimit returns the memory.max of this process's cgroup, or of that of its parents which leaves the least, in bytes, and what is
// in use under it; ok is false where there is no limit or no cgroup v2.
func MemoryLimit() (limit, used int64, ok bool) {
	return memoryLimit("/proc/self/cgroup", "/sys/fs/cgroup")
}

// memoryLimit is MemoryLimit of a process whose cgroup that file names, under the root of all cgroups.
func memoryLimit(file, root string) (limit, used int64, ok bool) {
	self, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, false
	}
	_, path, found := strings.Cut("\n"+string(self), "\n0::")
	if !found {
		return 0, 0, false
	}
	path, _, _ = strings.Cut(path, "\n")
	for dir := root + strings.TrimSuffix(path, "/"); len(dir) >= len(root); dir = dir[:strings.LastIndexByte(dir, '/')] {
		l, err := readNumber(dir + "/memory.max")
		if err != nil {
			continue
		}
		if u, err := readNumber(dir + "/memory.current"); err == nil && (!ok || l-u < limit-used) {
			limit, used, ok = l, u, true
		}
	}
	return limit, used, ok
}

func readNumber(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}
