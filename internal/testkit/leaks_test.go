package testkit

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// soon is how long the tests of this file wait for what does not go away.
const soon = 20 * time.Millisecond

func TestNoLeaksIsQuiet(t *testing.T) {
	NoLeaks(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, os.Interrupt) // the goroutine that this starts stays for good
	signal.Stop(sig)
	stop := make(chan struct{})
	for range 3 {
		go func() { <-stop }()
	}
	t.Cleanup(func() { close(stop) }) // they may end a little later
}

func TestNoLeaksForbidsParallel(t *testing.T) {
	NoLeaks(t)
	defer func() {
		if recover() == nil {
			t.Error("a test may be parallel after NoLeaks")
		}
	}()
	t.Parallel()
}

func TestNoLeaksSeesGoroutine(t *testing.T) {
	r := &recorder{TB: t}
	stop := make(chan struct{})
	defer close(stop)
	r.run(func() {
		noLeaks(r, soon)
		go func() { <-stop }()
	})
	r.wantSaid("left behind: goroutine", "chan receive", "TestNoLeaksSeesGoroutine")
}

func TestNoLeaksSeesFile(t *testing.T) {
	r := &recorder{TB: t}
	var dir string
	r.run(func() {
		noLeaks(r, soon)
		var err error
		if dir, err = os.MkdirTemp("", "shmactor-"); err != nil {
			t.Error(err)
		}
	})
	r.wantSaid("left behind: file", dir)
	if err := os.Remove(dir); err != nil {
		t.Error(err)
	}
}

func TestNoLeaksSeesRuntimeEntry(t *testing.T) {
	r := &recorder{TB: t}
	dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "program")
	defer os.RemoveAll(dir)
	entry := filepath.Join(dir, "entry")
	r.run(func() {
		noLeaks(r, soon)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(entry, nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	r.wantSaid("left behind: file " + entry)
}

func TestDiffIgnoresWhatWentAway(t *testing.T) {
	before := snapshot{
		files:      map[string]string{"3 x": "3: x"},
		processes:  map[string]string{"10": "10: child"},
		goroutines: map[string]string{"5": "5 [running]"},
		mappings:   map[string]int64{"a": 4096, "b": 8192},
		leftovers:  map[string]bool{"p": true},
	}
	if got := before.diff(snapshot{mappings: map[string]int64{"b": 4096}}); len(got) > 0 {
		t.Errorf("less than before is a leak: %q", got)
	}
	got := snapshot{}.diff(before)
	want := []string{
		"file descriptor 3: x", "file p", "goroutine 5 [running]", "process 10: child",
		"shared mapping of a, 4096 bytes", "shared mapping of b, 8192 bytes",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("diff:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOwnStack(t *testing.T) {
	for frames, want := range map[string]bool{
		"os/signal.signal_recv()\n\tsigqueue.go:152\ncreated by os/signal.Notify.func1.1 in goroutine 7\n\tx.go:1": true,
		"main.f()\n\tx.go:1\ncreated by testing.(*T).Run in goroutine 1\n\ttesting.go:1":                           true,
		"main.f()\n\tx.go:1\ncreated by runtime.init.0 in goroutine 1\n\tproc.go:1":                                true,
		"runtime.gopark()\n\tproc.go:1\ncreated by os/signal.NotifyContext in goroutine 7\n\tx.go:1":               false,
		"main.f()\n\tx.go:1\ncreated by example.com/testing.Run in goroutine 1\n\tx.go:1":                          false,
		"main.f()\n\tx.go:1": false,
	} {
		if got := ownStack(frames); got != want {
			t.Errorf("ownStack(%q) = %v", frames, got)
		}
	}
}
