package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// allowed are the CPUs of each thread of a process.
func allowed(t *testing.T, pid int) map[int][]int {
	t.Helper()
	all := map[int][]int{}
	for _, tid := range threads(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", pid, tid))
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(text), "Cpus_allowed_list:")
		list, _, _ := strings.Cut(after, "\n")
		all[tid] = parseCPUs(strings.TrimSpace(list))
	}
	if len(all) == 0 {
		t.Fatalf("process %d has no threads", pid)
	}
	return all
}

// TestPlace pins this process and a worker, and asks the kernel where their threads may run.
func TestPlace(t *testing.T) {
	r := startRig(t, worker)
	s := r.subject(small, worker)
	p := newPlacer()
	if r.pids[worker] == 0 || len(p.cpus) == 0 {
		t.Fatalf("worker %d, CPUs %v", r.pids[worker], p.cpus)
	}
	t.Cleanup(func() {
		if err := p.place(placedByDefault, r.pids[worker]); err != nil {
			t.Error(err)
		}
		if got := allowedCPUs(); !slices.Equal(got, p.cpus) {
			t.Errorf("this process may use CPUs %v in the end, %v in the beginning", got, p.cpus)
		}
	})
	for _, c := range []struct {
		where    string
		own, its []int
	}{
		{placedSame, p.cpus[:1], p.cpus[:1]},
		{placedCross, p.cpus[:1], []int{p.other}},
		{placedByDefault, p.cpus, p.cpus},
	} {
		if p.possible(c.where) != nil {
			t.Logf("%s: not on this machine", c.where)
			continue
		}
		if err := p.place(c.where, r.pids[worker]); err != nil {
			t.Fatal(err)
		}
		if err := s.calls(100); err != nil {
			t.Error(err)
		}
		for pid, want := range map[int][]int{os.Getpid(): c.own, r.pids[worker]: c.its} {
			for tid, cpus := range allowed(t, pid) {
				if !slices.Equal(cpus, want) {
					t.Errorf("%s: thread %d of process %d may use CPUs %v, want %v", c.where, tid, pid, cpus, want)
				}
			}
		}
	}
}

// TestOneCPU runs the program as on a machine with one CPU.
func TestOneCPU(t *testing.T) {
	all := allowedCPUs()
	t.Cleanup(func() {
		if err := pinProcess(os.Getpid(), all); err != nil {
			t.Error(err)
		}
	})
	if err := pinProcess(os.Getpid(), all[:1]); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]int{"-context worker -placement cross": exitFailed, "-context worker -placement same,cross": 0} {
		var stdout, stderr strings.Builder
		if status := execute(strings.Fields("-rounds 1 -n 5 -scenario small "+args), &stdout, &stderr); status != want {
			t.Errorf("%s: exit status %d, want %d:\n%s", args, status, want, &stderr)
		}
		if said := stdout.String() + stderr.String(); !strings.Contains(said, "small worker cross: impossible: this process may use one CPU only") {
			t.Errorf("%s: it does not say why there is no such row:\n%s", args, said)
		}
	}
}

func TestPinErrors(t *testing.T) {
	if err := pinThread(os.Getpid(), nil); err == nil {
		t.Error("a thread was pinned to no CPU")
	}
	if err := pinProcess(-1, []int{0}); err == nil {
		t.Error("a process that is not there was pinned")
	}
}

func TestCPUTime(t *testing.T) {
	r := startRig(t, worker)
	before, known := cpuTime(r.pids[worker])
	if !known || before <= 0 {
		t.Fatalf("got %v, %v", before, known)
	}
	if err := r.subject(large, worker).calls(20); err != nil {
		t.Fatal(err)
	}
	if after, known := cpuTime(r.pids[worker]); !known || after <= before {
		t.Errorf("%v before calls, %v after them", before, after)
	}
	if _, known := cpuTime(-1); known {
		t.Error("the processor time of a process that is not there is known")
	}
}
