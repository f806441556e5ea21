package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/supervisor"
)

// withGate is a system with a gate, and a worker "w" with the actor "far".
func withGate(t testing.TB, opts ...supervisor.ChildOption) *system {
	t.Helper()
	testkit.NeedWorkers(t)
	return start(t, supervisor.Spec{Limits: eager, Children: []supervisor.Child{
		supervisor.Actor("gate", gates),
		supervisor.Actor("near", counters),
		supervisor.Worker("w", supervisor.Actor("far", counters), supervisor.Actor("far too", counters)).With(opts...),
	}})
}

// hold has an actor come up to the gate and returns the outcome of the call. The test lets it pass.
func (s *system) hold(call func() error) <-chan error {
	s.t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case <-gateNamed("gate").arrived:
	case err := <-done:
		s.t.Fatalf("it did not come to the gate: %v", err)
	case <-s.ctx.Done():
		s.t.Fatal(context.Cause(s.ctx))
	}
	return done
}

func (s *system) open() { gateNamed("gate").open <- struct{}{} }

// However a worker dies: who waits for it is told at once, and why; what is queued is handled by its next life, in order.
func TestWorkerDeaths(t *testing.T) {
	for _, c := range []struct {
		how    string
		code   int64
		told   string // in the caller's error
		logged string // in the event
	}{
		{"kill", 0, "signal: killed", "signal: killed"},
		{"exit", 0, "exit status 0", ""},
		{"exit", 3, "exit status 3", "exit status 3"},
		{"goroutine", 0, "exit status 2", "panic: out of sight"},
		{"maps", 0, "exit status 2", "fatal error: concurrent map writes"},
		{"stack", 0, "exit status 2", "fatal error: stack overflow"},
	} {
		t.Run(c.how, func(t *testing.T) {
			s := withGate(t)
			far := s.counter("far")
			before := s.pid("w")
			what := order{What: c.how, Name: "gate", N: c.code}
			if c.how == "kill" {
				what.What = "wait"
			}
			dying := s.hold(func() error { _, err := die.Call(s.ctx, far, what); return err })
			const queued = 50
			for i := range int64(queued) {
				if err := note.Send(s.ctx, far, i); err != nil {
					t.Fatal(err)
				}
			}
			later := make(chan error, 1)
			go func() { _, err := add.Call(s.ctx, far, 1); later <- err }()
			if c.how == "kill" {
				s.signal("w", syscall.SIGKILL)
			} else {
				s.open()
			}
			wantError(t, <-dying, actor.ErrWorkerDied, `"far"`, `worker "w"`, strconv.Itoa(before), c.told)
			if err := <-later; err != nil {
				t.Errorf("a call that was queued: %v", err)
			}
			got := must[[]int64](t)(notes.Call(s.ctx, far, struct{}{}))
			if len(got) != queued || !slices.IsSorted(got) {
				t.Errorf("the next life got %v", got)
			}
			if after := s.pid("w"); after == before || !gone(before) {
				t.Errorf("process %d was followed by %d", before, after)
			}
			if c.logged != "" {
				s.log.want(1, "WARN child crashed", "child=w", c.logged)
			} else {
				s.log.want(1, "INFO child ended", "child=w")
			}
			if far.Generation() != 2 {
				t.Errorf("generation %d, want 2", far.Generation())
			}
			if c.how == "kill" { // it was at the gate, which has not been told
				s.open()
			}
		})
	}
}

// What a handler does to its own goroutine ends the actor, not its worker.
func TestWorkerActorCrashes(t *testing.T) {
	for what, told := range map[string]string{"panic": "out of luck", "goexit": "runtime.Goexit"} {
		t.Run(what, func(t *testing.T) {
			s := withGate(t)
			before := s.pid("w")
			for _, name := range []string{"near", "far"} {
				ref := s.counter(name)
				must[int64](t)(add.Call(s.ctx, ref, 1))
				_, err := die.Call(s.ctx, ref, order{What: what})
				wantError(t, err, actor.ErrCrashed, name, told)
				if total := must[int64](t)(add.Call(s.ctx, ref, 2)); total != 2 {
					t.Errorf("%s: the next life begins with %d", name, total-2)
				}
				if g := ref.Generation(); g != 2 {
					t.Errorf("%s: generation %d", name, g)
				}
			}
			if total := must[int64](t)(add.Call(s.ctx, s.counter("far too"), 5)); total != 5 {
				t.Errorf("its neighbour has %d", total)
			}
			if s.pid("w") != before {
				t.Error("the worker was restarted")
			}
			s.log.want(1, "child crashed", "child=near", told)
		})
	}
}

// A worker that does not become ready: Start says why, with what it said, and nothing is left.
func TestWorkerDoesNotStart(t *testing.T) {
	testkit.NeedWorkers(t)
	short := 300 * time.Millisecond
	for _, c := range []struct {
		name  string
		actor supervisor.Child
		opts  []supervisor.ChildOption
		is    error
		parts []string
	}{
		{name: "Init returns an error", actor: supervisor.Actor("a", argued.With(arg{Fail: "error"})), is: errRefused, parts: []string{"no such luck"}},
		{name: "Init panics", actor: supervisor.Actor("a", argued.With(arg{Fail: "panic"})), parts: []string{"at the start"}},
		{
			name: "Init exits", actor: supervisor.Actor("a", argued.With(arg{Fail: "exit"})), is: actor.ErrWorkerDied,
			parts: []string{"exit status 7", "these are my last words"},
		},
		{
			name: "a goroutine of Init panics", actor: supervisor.Actor("a", argued.With(arg{Fail: "goroutine"})), is: actor.ErrWorkerDied,
			parts: []string{"exit status 2", "panic: beside the start"},
		},
		{
			name: "Init hangs", actor: supervisor.Actor("a", argued.With(arg{Fail: "hang"})).With(supervisor.ReadyTimeout(short)),
			is: context.DeadlineExceeded, parts: []string{`"a"`},
		},
		{
			name: "Init hangs in a worker with a shorter limit", actor: supervisor.Actor("a", argued.With(arg{Fail: "hang"})),
			opts: []supervisor.ChildOption{supervisor.ReadyTimeout(short)}, is: context.DeadlineExceeded, parts: []string{short.String()},
		},
		{
			name: "its main is another", actor: supervisor.Actor("a", counters), opts: []supervisor.ChildOption{supervisor.Env(noMainEnv + "=1")},
			is: actor.ErrWorkerDied, parts: []string{"without a role"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := tryStart(t, supervisor.Spec{Children: []supervisor.Child{
				supervisor.Worker("first", supervisor.Actor("b", counters)),
				supervisor.Worker("second", c.actor).With(c.opts...),
				supervisor.Worker("third", supervisor.Actor("c", counters)),
			}})
			if s != nil {
				t.Fatal("it started")
			}
			wantError(t, err, c.is, append([]string{`"test" did not start`, `child "second" did not start`, `worker "second"`}, c.parts...)...)
			if left := runtimeEntries(t); len(left) > 0 {
				t.Errorf("in the runtime directory: %q", left)
			}
		})
	}
}

// Actors of this process that do not start.
func TestActorDoesNotStart(t *testing.T) {
	for _, c := range []struct {
		fail  string
		is    error
		parts []string
	}{
		{"error", errRefused, []string{"no such luck"}},
		{"panic", nil, []string{"at the start"}},
	} {
		_, err := tryStart(t, supervisor.Spec{Children: []supervisor.Child{
			supervisor.Actor("fine", counters), supervisor.Actor("bad", argued.With(arg{Fail: c.fail})),
		}})
		wantError(t, err, c.is, append(c.parts, `child "bad" did not start`)...)
	}
}

// A restart that fails goes on being tried.
func TestWorkerRestartFails(t *testing.T) {
	testkit.NeedWorkers(t)
	dir := t.TempDir()
	s := start(t, supervisor.Spec{Limits: eager, Children: []supervisor.Child{
		supervisor.Worker("w", supervisor.Actor("moody", moody.With(dir))),
	}})
	ref := moody.Ref(s.System, "moody")
	if err := os.WriteFile(filepath.Join(dir, "fail"), []byte("3"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.signal("w", syscall.SIGKILL)
	n := must[int](t)(moodyStarts.Call(s.ctx, ref, struct{}{}))
	if n != 5 {
		t.Errorf("%d starts, want 5", n)
	}
	if lines := s.log.find("WARN child did not start", "child=w", "in a bad mood"); len(lines) != 3 {
		t.Errorf("%d failed starts: %q", len(lines), lines)
	}
}

// A crash loop of a worker ends the system, with the reason.
func TestWorkerCrashLoop(t *testing.T) {
	testkit.NeedWorkers(t)
	short := supervisor.ShutdownTimeout(50 * time.Millisecond)
	s := start(t, supervisor.Spec{
		Limits: supervisor.Limits{Restarts: 3, Backoff: -1},
		Children: []supervisor.Child{
			supervisor.Actor("gate", gates).With(short), a("near", short),
			supervisor.Worker("w", supervisor.Actor("far", counters)),
		},
	})
	s.kept = true
	waiting := s.hold(func() error { _, err := wait.Call(s.ctx, s.counter("near"), "gate"); return err })
	queued := make(chan error, 1)
	go func() { _, err := add.Call(s.ctx, s.counter("near"), 1); queued <- err }()
	for life := range 4 {
		_, err := die.Call(s.ctx, s.counter("far"), order{What: "exit", N: 9})
		wantError(t, err, actor.ErrWorkerDied, "exit status 9")
		if life < 3 {
			must[uint64](t)(echo.Call(s.ctx, s.counter("far"), 1))
		}
	}
	_, err := add.Call(s.ctx, s.counter("far"), 1)
	wantError(t, err, actor.ErrSystemEnded)
	<-waiting
	wantError(t, <-queued, actor.ErrSystemEnded)
	<-s.Done()
	wantError(t, s.Err(), actor.ErrSystemEnded, "4 restarts", `child "w"`, "exit status 9")
	if !errors.Is(s.Err(), actor.ErrWorkerDied) {
		t.Errorf("the reason is not there to be tested: %v", s.Err())
	}
	s.log.want(1, "ERROR the system gives up", "4 restarts")
	_, err = add.Call(s.ctx, s.counter("near"), 1)
	wantError(t, err, actor.ErrSystemEnded, "4 restarts")
	wantError(t, supervisor.Spawn(s.ctx, s.System, supervisor.Actor("late", counters)), actor.ErrSystemEnded)
	wantError(t, supervisor.Stop(s.ctx, s.System, "near"), actor.ErrSystemEnded)
}

// A crash loop inside a worker ends the worker, and its supervisor decides.
func TestWorkerGivesUp(t *testing.T) {
	s := withGate(t, supervisor.WithLimits(supervisor.Limits{Restarts: 2, Backoff: -1}))
	before := s.pid("w")
	for range 3 {
		_, err := die.Call(s.ctx, s.counter("far"), order{What: "panic"})
		wantError(t, err, actor.ErrCrashed)
	}
	must[uint64](t)(echo.Call(s.ctx, s.counter("far"), 1))
	s.log.want(1, "child crashed", "child=w", "exit status 72", `worker "w" gives up: 3 restarts`, `"far"`, "out of luck")
	if s.pid("w") == before {
		t.Error("the worker lives on")
	}
}

// What a worker starts itself holds neither its restart up nor the segment, nor what reads its stderr when the system ends.
func TestWorkerGrandchild(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	files := open()
	s := must[*system](t)(startBeside(t, supervisor.Spec{Limits: eager, Children: []supervisor.Child{
		supervisor.Worker("w", supervisor.Actor("far", counters)),
	}}))
	far := s.counter("far")
	pid := must[int](t)(launch.Call(s.ctx, far, struct{}{}))
	t.Cleanup(func() { signal(t, pid, syscall.SIGKILL) })
	for fd, kind := range map[int]string{3: "/memfd:", 4: "pipe:"} { // the segment, and the pipe that tells of our death
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if err == nil && strings.HasPrefix(target, kind) {
			t.Errorf("it holds descriptor %d: %s", fd, target)
		}
	}
	for _, how := range []func(){
		func() { s.signal("w", syscall.SIGKILL) },
		func() { _, _ = die.Call(s.ctx, far, order{What: "exit", N: 4}) },
	} {
		how()
		must[uint64](t)(echo.Call(s.ctx, far, 1))
		if gone(pid) {
			t.Fatal("the grandchild is gone: nothing was tested")
		}
	}
	s.check()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, patience, "the end of its stderr is let go", func() bool { return open() <= files })
	if gone(pid) {
		t.Error("the grandchild is gone: nothing was tested")
	}
}

// sink counts what workers write.
type sink struct {
	mu    sync.Mutex
	bytes int
	lines []string
}

// Write counts, and keeps short lines.
func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += len(b)
	if len(b) < 100 {
		s.lines = append(s.lines, string(b))
	}
	return len(b), nil
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

func TestWorkerWritesMuchToStderr(t *testing.T) {
	testkit.NeedWorkers(t)
	const much = 20 << 20
	var out sink
	s := start(t, supervisor.Spec{Limits: eager, WorkerOutput: &out, Children: []supervisor.Child{
		supervisor.Worker("w", supervisor.Actor("far", counters)),
	}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	must[struct{}](t)(write.Call(s.ctx, s.counter("far"), much))
	testkit.Eventually(t, patience, "all of it has arrived", func() bool { return out.count() >= much })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the program holds %d bytes more than before", grown)
	}
	_, err := die.Call(s.ctx, s.counter("far"), order{What: "exit", N: 5})
	wantError(t, err, actor.ErrWorkerDied)
	must[uint64](t)(echo.Call(s.ctx, s.counter("far"), 1))
}

// Each worker's lines bear its name, and no two of them are mixed.
func TestWorkerOutput(t *testing.T) {
	testkit.NeedWorkers(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	text := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(r)
		text <- string(b)
	}()
	s := start(t, supervisor.Spec{WorkerOutput: w, Limits: eager, Children: []supervisor.Child{
		supervisor.Worker("one", supervisor.Actor("a", counters)), supervisor.Worker("two", supervisor.Actor("b", counters)),
	}})
	for _, name := range []string{"a", "b"} {
		_, err := die.Call(s.ctx, s.counter(name), order{What: "goroutine"})
		wantError(t, err, actor.ErrWorkerDied)
		must[uint64](t)(echo.Call(s.ctx, s.counter(name), 1))
	}
	s.check()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	got := <-text
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "[one] ") && !strings.HasPrefix(line, "[two] ") {
			t.Errorf("a line of nobody: %q", line)
		}
	}
	for _, want := range []string{"[one] panic: out of sight", "[two] panic: out of sight"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// The goroutine that starts a system may end, with its thread: the workers are not its own.
func TestWorkerOutlivesTheThreadThatStartedIt(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	type started struct {
		sys *system
		err error
		tid int
	}
	ch := make(chan started)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		s, err := startBeside(t, supervisor.Spec{Limits: eager, Children: []supervisor.Child{
			supervisor.Worker("w", supervisor.Actor("far", counters)),
		}})
		ch <- started{s, err, threadID()}
	}()
	got := <-ch
	s := must[*system](t)(got.sys, got.err)
	before := s.pid("w")
	if got.tid != os.Getpid() { // the first thread of a process is not ended
		testkit.Eventually(t, patience, "the thread has ended", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", got.tid))
			return err != nil
		})
	}
	for i := range uint64(100) {
		must[uint64](t)(echo.Call(s.ctx, s.counter("far"), i))
	}
	if after := s.pid("w"); after != before {
		t.Errorf("process %d was replaced by %d", before, after)
	}
	// A restart comes from the same thread.
	s.signal("w", syscall.SIGKILL)
	must[uint64](t)(echo.Call(s.ctx, s.counter("far"), 1))
}
