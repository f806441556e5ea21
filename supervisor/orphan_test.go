package supervisor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/supervisor"
)

// When a program is killed, its workers are gone soon, also those that are suspended, and the next program of that name
// starts as if nothing had been.
func TestNoOrphans(t *testing.T) {
	testkit.NeedWorkers(t)
	for _, how := range []string{"killed", "killed, with a suspended worker", "suspended, then killed", "killed at work"} {
		t.Run(how, func(t *testing.T) {
			testkit.NoLeaks(t)
			owner, pids := own(t, "test")
			entries := runtimeEntries(t)
			if len(entries) != 2 {
				t.Fatalf("in the runtime directory: %q", entries)
			}
			switch how {
			case "killed, with a suspended worker":
				suspend(t, pids["w"])
			case "suspended, then killed":
				suspend(t, owner.Process.Pid)
			case "killed at work":
				g := attached(t, "test")
				g.must(request{Do: "flood", N: 2})
				sys := must[*actor.System](t)(supervisor.Attach(testkit.Deadline(t, patience), "test"))
				testkit.Eventually(t, patience, "it is at work", func() bool { return boxOf(sys, "clerk of w").In > 100 })
				defer g.kill()
				defer func() { _ = sys.Close() }()
			}
			owner.kill()
			for _, worker := range []string{"w", "v"} {
				testkit.Eventually(t, patience, "worker "+worker+" is gone", func() bool { return gone(pids[worker]) })
			}
			// What the dead one left is removed by the next one, which has the name at once.
			s := must[*system](t)(startBeside(t, of(a("near"), w(a("far")))))
			must[int64](t)(add.Call(s.ctx, s.counter("far"), 1))
			now := runtimeEntries(t)
			if len(now) != 2 || slices.Contains(entries, now[0]) || slices.Contains(entries, now[1]) {
				t.Errorf("in the runtime directory: %q, before: %q", now, entries)
			}
			sys := must[*actor.System](t)(supervisor.Attach(s.ctx, "test"))
			if err := sys.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A program that dies while it starts, at any stage of that, leaves no worker.
func TestNoOrphansOfAStart(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t) // which looks for what was started further down
	children := func(pid int) int {
		n := 0
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			n += len(strings.Fields(string(text)))
		}
		return n
	}
	for i := range 24 / min(slower, 3) {
		before := runtimeEntries(t)
		owner := startRole(t, "owner")
		owner.tell(request{Do: "start", Name: fmt.Sprint("test ", i)})
		started := make(chan error, 1)
		go func() {
			var a answer
			started <- owner.out.Decode(&a)
		}()
		stage := func() bool { return true }
		switch i % 4 {
		case 1: // there is a socket, or an entry, or both
			stage = func() bool {
				return slices.ContainsFunc(runtimeEntries(t), func(e string) bool { return !slices.Contains(before, e) })
			}
		case 2:
			stage = func() bool { return children(owner.Process.Pid) > 0 }
		case 3:
			stage = func() bool { return children(owner.Process.Pid) > 1 }
		}
		if !eventually(stage) {
			t.Errorf("stage %d is not reached", i%4)
		}
		if err := owner.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-started
		_ = owner.Wait() // it was killed
	}
	sweepRuntimeDir(t)
}

// A program whose main does not call Main is told so: by its own Start, and by that of the worker that it would be.
func TestMainIsNotCalled(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	cmd := testkit.Command(t, "no-main")
	cmd.Env = append(cmd.Env, noMainEnv+"=1")
	cmd.Stdin = strings.NewReader(`{"Name":"test","Worker":"w"}{"Name":"test"}`)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "must call supervisor.Main") || !strings.Contains(lines[1], `"Error":""`) {
		t.Errorf("with a worker, and without: %q", lines)
	}
	cmd = testkit.Command(t, "no-main")
	cmd.Env = append(cmd.Env, noMainEnv+"=1", `SHMACTOR_WORKER={"Name":"w"}`)
	cmd.Stdin = strings.NewReader(`{"Name":"test","Worker":"w"}{"Name":"test"}`)
	if out, err = cmd.Output(); err != nil {
		t.Fatal(err)
	}
	lines = strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines {
		if !strings.Contains(line, "this process was started as a worker, and did not call supervisor.Main") {
			t.Errorf("as a worker: %q", line)
		}
	}
}

// A worker's orders may be damaged, or not fit what it inherits.
func TestWorkerWithBadOrders(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	for orders, want := range map[string]string{
		"rubbish":        "SHMACTOR_WORKER is not readable",
		`{"Process": 1}`: "shmactor: ",
	} {
		cmd := testkit.Command(t, "no-main")
		cmd.Env = append(cmd.Env, "SHMACTOR_WORKER="+orders)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != 71 && code != 70 || !strings.Contains(string(out), want) && code != 70 {
			t.Errorf("%s: %v, %s", orders, err, out)
		}
	}
}

// Two systems in one process know nothing of each other.
func TestTwoSystems(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	one := must[*system](t)(startBeside(t, supervisor.Spec{Name: "one", Limits: eager, Children: []supervisor.Child{a("near"), w(a("far"))}}))
	two := must[*system](t)(startBeside(t, supervisor.Spec{Name: "two", Limits: eager, Children: []supervisor.Child{a("near"), w(a("far"))}}))
	for n, s := range []*system{one, two} {
		for _, name := range []string{"near", "far"} {
			must[int64](t)(add.Call(s.ctx, s.counter(name), int64(10*(n+1))))
		}
	}
	_, err := die.Call(one.ctx, one.counter("far"), order{What: "exit", N: 1})
	wantError(t, err, actor.ErrWorkerDied)
	for name, want := range map[string]int64{"near": 21, "far": 21} {
		if got := must[int64](t)(add.Call(two.ctx, two.counter(name), 1)); got != want {
			t.Errorf("the other system's %q has %d, want %d", name, got, want)
		}
	}
	if err := supervisor.Spawn(one.ctx, one.System, a("extra")); err != nil {
		t.Error(err)
	}
	wantError(t, supervisor.Stop(two.ctx, two.System, "extra"), actor.ErrNotFound)
	at := must[*actor.System](t)(supervisor.Attach(one.ctx, "two"))
	if n := must[int64](t)(add.Call(one.ctx, counters.Ref(at, "near"), 1)); n != 22 {
		t.Errorf("it attached to another: %d", n)
	}
	if err := at.Close(); err != nil {
		t.Error(err)
	}
	one.check()
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if got := must[int64](t)(add.Call(two.ctx, two.counter("far"), 1)); got != 22 {
		t.Errorf("after the end of the other: %d", got)
	}
	if two.Err() != nil {
		t.Error(two.Err())
	}
	_, err = add.Call(context.Background(), one.counter("near"), 1)
	wantError(t, err, actor.ErrSystemEnded)
}
