package shm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
)

// Program is a running program with a segment, as tools find it: through its entry in the per-user runtime directory, or
// by looking through /proc.
type Program struct {
	Name    string    `json:"name"`
	PID     int       `json:"pid"`
	Start   uint64    `json:"start"` // ticks since boot: tells a pid that was used again
	FD      int       `json:"fd"`    // of the segment, in that process
	ABI     int       `json:"abi"`
	Created time.Time `json:"created"`
	Socket  string    `json:"socket,omitempty"` // file name of the socket where programs attach
}

const (
	programSuffix = ".json"
	socketSuffix  = ".sock"
)

// RuntimeDir is the directory of entries: $XDG_RUNTIME_DIR/shmactor, else /run/user/UID/shmactor, else shmactor-UID under
// the temporary directory. It is made with mode 0700 if it is missing.
func RuntimeDir() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run/user/" + strconv.Itoa(os.Getuid())
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		dir = filepath.Join(dir, "shmactor")
	} else {
		dir = filepath.Join(os.TempDir(), "shmactor-"+strconv.Itoa(os.Getuid()))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err == nil && (!info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ownedByUs(info)) {
		err = fmt.Errorf("shm: the runtime directory %s is not a directory of this user alone", dir)
	}
	return dir, err
}

// Publish writes the entry of this segment, and removes those of dead programs. The entry goes with Withdraw, or is removed
// by the next program that starts.
func (s *Segment) Publish(socket string) (Program, error) {
	if s.file == nil || !s.owner {
		return Program{}, fmt.Errorf("shm: only the owner of a shared segment publishes it: %w", errors.ErrUnsupported)
	}
	dir, err := RuntimeDir()
	if err != nil {
		return Program{}, err
	}
	info := s.Info()
	p := Program{
		Name: info.Name, PID: info.OwnerPID, Start: info.OwnerStart, FD: int(s.file.Fd()), ABI: info.ABI,
		Created: info.Created, Socket: socket,
	}
	text, err := json.Marshal(p)
	if err != nil {
		return Program{}, err
	}
	removeDead(dir)
	tmp := filepath.Join(dir, "."+p.entry())
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return Program{}, err
	}
	return p, os.Rename(tmp, filepath.Join(dir, p.entry()))
}

// Withdraw removes the program's entry.
func (p Program) Withdraw() error {
	dir, err := RuntimeDir()
	if err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, p.entry()))
}

func (p Program) entry() string { return fmt.Sprintf("%d-%d%s", p.PID, p.FD, programSuffix) }

// Alive reports whether the process is there, and is the one that made the entry.
func (p Program) Alive() bool {
	start, err := sys.StartTime(p.PID)
	return err == nil && start == p.Start
}

// Open attaches to the program's segment for reading, without its help. It fails with an error wrapping os.ErrPermission
// for another user's program, and ErrIncompatible for another version's.
func (p Program) Open() (*Segment, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/fd/%d", p.PID, p.FD))
	if err != nil {
		return nil, fmt.Errorf("shm: segment of %s (pid %d): %w", p.Name, p.PID, err)
	}
	s, err := AttachReadOnly(f)
	if err != nil {
		closeFile(f)
		return nil, err
	}
	return s, nil
}

// removeDead removes the sockets and entries of programs that are gone, and what they had begun to write. An entry goes last: without
// it nobody would know of the socket, and who removes them may be killed in between.
func removeDead(dir string) {
	begun, _ := filepath.Glob(filepath.Join(dir, ".[0-9]*"+programSuffix))
	for _, name := range begun {
		pid, _, _ := strings.Cut(filepath.Base(name)[1:], "-")
		if n, err := strconv.Atoi(pid); err == nil {
			if _, err := sys.StartTime(n); errors.Is(err, os.ErrNotExist) {
				_ = os.Remove(name)
			}
		}
	}
	for _, p := range readEntries(dir) {
		if p.Alive() {
			continue
		}
		if p.Socket == filepath.Base(p.Socket) && strings.HasSuffix(p.Socket, socketSuffix) {
			if err := os.Remove(filepath.Join(dir, p.Socket)); err != nil && !errors.Is(err, os.ErrNotExist) {
				continue
			}
		}
		_ = os.Remove(filepath.Join(dir, p.entry()))
	}
}

func readEntries(dir string) (found []Program) {
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*"+programSuffix))
	if err != nil {
		return nil
	}
	for _, name := range names {
		var p Program
		if text, err := os.ReadFile(name); err == nil && json.Unmarshal(text, &p) == nil && p.entry() == filepath.Base(name) {
			found = append(found, p)
		}
	}
	return found
}

// Published lists the running programs of this user that have an entry, oldest first.
func Published() ([]Program, error) {
	dir, err := RuntimeDir()
	if err != nil {
		return nil, err
	}
	var found []Program
	for _, p := range readEntries(dir) {
		if p.Alive() {
			found = append(found, p)
		}
	}
	oldestFirst(found)
	return found, nil
}

// Programs lists the running programs of this user that have a segment, also those without an entry, oldest first.
func Programs() ([]Program, error) {
	found, err := Published()
	type segment struct {
		pid     int
		created int64
	}
	known := map[segment]bool{} // a program may hold one segment under several numbers
	for _, p := range found {
		known[segment{p.PID, p.Created.UnixNano()}] = true
	}
	for _, p := range scanProcesses() {
		if id := (segment{p.PID, p.Created.UnixNano()}); !known[id] {
			found, known[id] = append(found, p), true
		}
	}
	oldestFirst(found)
	if len(found) > 0 {
		err = nil
	}
	return found, err
}

func oldestFirst(list []Program) {
	sort.Slice(list, func(i, j int) bool { return list[i].Created.Before(list[j].Created) })
}

const memoryFilePrefix = "/memfd:shmactor:"

// scanProcesses finds the owners of segments by the memory files that they hold open.
func scanProcesses() (found []Program) {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, memoryFilePrefix) {
			continue
		}
		parts := strings.Split(link, "/") // "", proc, PID, fd, N
		pid, _ := strconv.Atoi(parts[2])
		fd, _ := strconv.Atoi(parts[4])
		s, err := Program{PID: pid, FD: fd}.Open()
		if err != nil {
			continue
		}
		info := s.Info()
		closeSegment(s)
		if info.OwnerPID == pid { // a worker holds the same file
			found = append(found, Program{
				Name: info.Name, PID: pid, Start: info.OwnerStart, FD: fd, ABI: info.ABI, Created: info.Created,
			})
		}
	}
	return found
}

func closeSegment(s *Segment) { _ = s.Close() }
