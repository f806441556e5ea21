package testkit

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// NoLeaks fails the test if, after everything else has been cleaned up, something is there that was not there at this
// call: a file descriptor, a child process or one further down, a goroutine, a shared mapping, a file in the temporary
// directory or in /dev/shm. What is about to end gets some time for it.
//
// Call it first in a test: clean-ups run in reverse order. The test cannot be parallel, since what others hold at the same
// time would count too; t.Parallel panics after this call, and this call after t.Parallel.
func NoLeaks(t testing.TB) {
	t.Helper()
	t.Setenv("SHMACTOR_TEST_LEAKS", "1") // the testing package keeps such tests from being parallel
	noLeaks(t, Scale(leakWait))
}

func noLeaks(t testing.TB, limit time.Duration) {
	before := take()
	t.Cleanup(func() {
		t.Helper()
		for _, leak := range before.leaks(limit) {
			t.Errorf("left behind: %s", leak)
		}
	})
}

// snapshot is what a process holds at one moment.
type snapshot struct {
	files      map[string]string // number and target of a descriptor: its description
	processes  map[string]string // process id: its description
	goroutines map[string]string // goroutine id: its stack
	mappings   map[string]int64  // file behind shared mappings: mapped bytes
	leftovers  map[string]bool   // paths
}

// take looks around. A file of the poller is opened before, so that the poller's own descriptors are always among the
// ones that were there.
func take() snapshot {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	return look()
}

func look() snapshot {
	return snapshot{
		files:      openFiles(),
		processes:  processes(),
		goroutines: goroutines(),
		mappings:   sharedMappings(),
		leftovers:  leftovers(),
	}
}

// leaks describes what is there and was not before, after waiting for it to go, at most for limit.
func (before snapshot) leaks(limit time.Duration) []string {
	var found []string
	poll(limit, func() bool {
		found = before.diff(look())
		return len(found) == 0
	})
	return found
}

// diff describes what now has and before has not.
func (before snapshot) diff(now snapshot) []string {
	var found []string
	found = append(found, added("file descriptor", before.files, now.files)...)
	found = append(found, added("process", before.processes, now.processes)...)
	found = append(found, added("goroutine", before.goroutines, now.goroutines)...)
	for name, size := range now.mappings {
		if more := size - before.mappings[name]; more > 0 {
			found = append(found, fmt.Sprintf("shared mapping of %s, %d bytes", name, more))
		}
	}
	for path := range now.leftovers {
		if !before.leftovers[path] {
			found = append(found, "file "+path)
		}
	}
	slices.Sort(found)
	return found
}

func added(kind string, before, now map[string]string) (found []string) {
	for key, text := range now {
		if _, ok := before[key]; !ok {
			found = append(found, kind+" "+text)
		}
	}
	return found
}

// goroutines returns the stacks of all goroutines but the calling one and those that the runtime, the signal package and
// the testing package keep for themselves.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := strings.Split(strings.TrimSpace(string(buf)), "\n\n")
	all := make(map[string]string, len(stacks))
	for _, stack := range stacks[1:] { // the first is the calling one
		head, rest, _ := strings.Cut(stack, "\n")
		fields := strings.Fields(head) // goroutine 7 [select, 2 minutes]:
		if len(fields) < 2 || ownStack(rest) {
			continue
		}
		all[fields[1]] = strings.TrimPrefix(stack, "goroutine ")
	}
	return all
}

// ownStack reports whether a stack is that of a goroutine which no test can end.
func ownStack(frames string) bool {
	top, _, _ := strings.Cut(frames, "\n")
	_, creator, _ := strings.Cut(frames, "\ncreated by ")
	return strings.HasPrefix(creator, "runtime.") ||
		strings.HasPrefix(creator, "testing.") ||
		strings.HasPrefix(top, "os/signal.signal_recv") ||
		strings.HasPrefix(creator, "os/signal.Notify.")
}

// leftovers returns what programs of this project may have left in the file system. During Run that is everything in the
// temporary directory, which is private; otherwise only what bears the project's name.
func leftovers() map[string]bool {
	found := make(map[string]bool)
	named := func(dir string) {
		paths, _ := filepath.Glob(filepath.Join(dir, "shmactor*"))
		for _, path := range paths {
			found[path] = true
		}
	}
	named("/dev/shm")
	if home == "" {
		named(os.TempDir())
		return found
	}
	entries, _ := os.ReadDir(home)
	for _, e := range entries {
		if e.Name() != runtimeRoom {
			found[filepath.Join(home, e.Name())] = true
		}
	}
	// Directories may stay in the runtime directory, entries of programs that have ended may not.
	_ = filepath.WalkDir(filepath.Join(home, runtimeRoom), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found[path] = true
		}
		return nil
	})
	return found
}
