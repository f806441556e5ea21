package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// patience bounds every wait for something that has to happen.
const patience = 20 * time.Second

// eager is a supervisor's limit for tests that restart often: no wait, no end of it.
var eager = supervisor.Limits{Restarts: -1, Backoff: -1}

// system is a system under test.
type system struct {
	*actor.System
	t    testing.TB
	ctx  context.Context
	log  *events
	kept bool // it is not closed in order in the end
}

// start starts a system. In the end of the test it comes to rest, every invariant has to hold, and then it is closed and
// nothing of it is left.
func start(t testing.TB, spec supervisor.Spec) *system {
	t.Helper()
	s, err := tryStart(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tryStart is start of a system that may not start.
func tryStart(t testing.TB, spec supervisor.Spec) (*system, error) {
	t.Helper()
	testkit.NoLeaks(t)
	newGates()
	return startBeside(t, spec)
}

// startBeside is tryStart of one more system.
func startBeside(t testing.TB, spec supervisor.Spec) (*system, error) {
	t.Helper()
	s := &system{t: t, ctx: testkit.Deadline(t, 3*patience), log: &events{t: t}}
	if spec.Name == "" {
		spec.Name = "test"
	}
	if spec.Logger == nil {
		spec.Logger = s.log.logger()
	}
	if spec.WorkerOutput == nil {
		spec.WorkerOutput = t.Output()
	}
	var err error
	if s.System, err = supervisor.Start(s.ctx, spec); err != nil {
		if s.System != nil {
			t.Error("a system that did not start, and yet is there")
		}
		return nil, err
	}
	t.Cleanup(s.finish)
	return s, nil
}

func (s *system) finish() {
	s.t.Helper()
	if s.Err() == nil && !s.kept {
		s.check()
	}
	if err := s.Close(); err != nil {
		s.t.Errorf("close: %v", err)
	}
	<-s.Done()
	if !errors.Is(s.Err(), actor.ErrSystemEnded) {
		s.t.Errorf("after the end: %v", s.Err())
	}
}

// check waits until the segment is quiet and sound, and this process holds no frame besides those that it keeps.
func (s *system) check() {
	s.t.Helper()
	hub := s.Hub()
	var last error
	if !eventually(func() bool {
		var census shm.Census
		if census, last = mailbox.Check(hub.Segment()); last != nil {
			return false
		}
		if held, kept := census.Held[hub.Self()], hub.Kept(); held != kept {
			last = fmt.Errorf("this process holds %d frames and keeps %d", held, kept)
		}
		return last == nil
	}) {
		s.t.Errorf("the segment does not come to rest: %v", last)
	}
}

// eventually is testkit.Eventually that tells.
func eventually(cond func() bool) bool {
	end := time.Now().Add(testkit.Scale(patience))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		<-timer.C
		late := time.Now().After(end)
		if cond() {
			return true
		}
		if late {
			return false
		}
		timer.Reset(pause)
	}
}

// must fails the test on an error.
func must[R any](t testing.TB) func(r R, err error) R {
	return func(r R, err error) R {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// wantError fails the test unless err is want, if that is not nil, and its text has all the parts.
func wantError(t testing.TB, err, want error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %v %q", want, parts)
		return
	}
	if want != nil && !errors.Is(err, want) {
		t.Errorf("%v: is not %v", err, want)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q, want %q in it", err, part)
		}
	}
}

// pid is the process of a worker, or of whoever has that name in the process table.
func (s *system) pid(name string) int {
	s.t.Helper()
	for _, p := range s.Processes() {
		if p.Name == name && p.Live {
			return p.PID
		}
	}
	s.t.Fatalf("no live process %q in %v", name, s.Processes())
	return 0
}

func (s *system) signal(worker string, sig syscall.Signal) {
	s.t.Helper()
	signal(s.t, s.pid(worker), sig)
}

// signal sends a signal to one process that this test binary started, directly or further down, and to nobody else. It does
// nothing when that has ended.
func signal(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if pid <= 1 || pid == os.Getpid() {
		t.Fatalf("%d is no process to signal", pid)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if gone(pid) || errors.Is(err, syscall.ESRCH) || err == nil && len(env) == 0 { // or it is on its way out
		return
	}
	if mark := fmt.Sprintf("SHMACTOR_TEST_BINARY=%d\x00", os.Getpid()); err != nil || !strings.Contains(string(env), mark) {
		t.Fatalf("process %d is not of this test: %v", pid, err)
	}
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// suspend stops a process, and returns when none of its threads runs any more.
func suspend(t testing.TB, pid int) {
	t.Helper()
	signal(t, pid, syscall.SIGSTOP)
	if !eventually(func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if _, rest, _ := strings.Cut(string(stat), ") "); err == nil && !strings.HasPrefix(rest, "T") {
				return false
			}
		}
		return err == nil
	}) {
		t.Fatalf("process %d is not stopped", pid)
	}
}

// gone reports whether a process has exited. Nobody may have waited for it.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// runtimeEntries lists what programs have in the runtime directory.
func runtimeEntries(t testing.TB) []string {
	t.Helper()
	dir, err := shm.RuntimeDir()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// events is a log that a test looks at.
type events struct {
	t testing.TB

	mu    sync.Mutex
	lines []string
}

func (e *events) logger() *slog.Logger { return slog.New(e) }

// Enabled takes everything.
func (*events) Enabled(context.Context, slog.Level) bool { return true }

// Handle keeps a record as "LEVEL message key=value ...".
func (e *events) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	fmt.Fprintf(&line, "%v %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&line, " %s=%v", a.Key, a.Value)
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, line.String())
	return nil
}

// WithAttrs is not used.
func (e *events) WithAttrs([]slog.Attr) slog.Handler { return e }

// WithGroup is not used.
func (e *events) WithGroup(string) slog.Handler { return e }

// find returns the lines that have all the parts.
func (e *events) find(parts ...string) (found []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
next:
	for _, line := range e.lines {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// want waits until there are n lines that have all the parts.
func (e *events) want(n int, parts ...string) {
	e.t.Helper()
	if !eventually(func() bool { return len(e.find(parts...)) >= n }) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.t.Errorf("no %d events with %q in:\n%s", n, parts, strings.Join(e.lines, "\n"))
	}
}

// counter is the address of a counter of that name.
func (s *system) counter(name string) actor.Ref[*counter] { return counters.Ref(s.System, name) }

// box is what there is to see of a mailbox.
func (s *system) box(name string) mailbox.Info { return boxOf(s.System, name) }

func boxOf(s *actor.System, name string) (info mailbox.Info) {
	for _, m := range mailbox.Inspect(s.Hub().Segment()).Mailboxes {
		if m.Name == name {
			info = m
		}
	}
	return info
}

// stopped is closed when a child of that name has ended.
func (s *system) stopped(name string) <-chan struct{} {
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		s.log.want(1, "child ended", "child="+name+" ")
	}()
	return ch
}
