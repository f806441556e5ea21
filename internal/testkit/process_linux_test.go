package testkit

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemRoles are the roles for which this system has what they need.
var systemRoles = map[string]func(){
	// It starts a process of its own and leaves it behind.
	"parent": func() {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), roleEnv+"=wait")
		cmd.Stdin = os.Stdin
		if err := cmd.Start(); err != nil {
			panic(err)
		}
	},
}

func init() {
	suites["descriptor"] = func() int {
		if _, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
			panic(err)
		}
		return 0
	}
	suites["child"] = func() int {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		return 0
	}
}

func TestSuiteSeesUnusedRole(t *testing.T) {
	code, said := runSuite(t, "clean", "whole")
	if code != exitLeak || !strings.Contains(said, `role "echo" was never used`) || strings.Count(said, "never used") != len(known) {
		t.Errorf("status %d, %s", code, said)
	}
}

func TestSuiteFailsOnDescriptor(t *testing.T) {
	code, said := runSuite(t, "descriptor", "part")
	if code != exitLeak || !strings.Contains(said, "/dev/null") {
		t.Errorf("status %d, %s", code, said)
	}
}

func TestSuiteFailsOnChild(t *testing.T) {
	code, said := runSuite(t, "child", "part")
	if code != exitLeak || !strings.Contains(said, "child in state") || !strings.Contains(said, "sleep 60") {
		t.Errorf("status %d, %s", code, said)
	}
}

func TestNoLeaksSeesDescriptor(t *testing.T) {
	r := &recorder{TB: t}
	var fd int
	r.run(func() {
		noLeaks(r, soon)
		var err error
		if fd, err = syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
			t.Error(err)
		}
	})
	r.wantSaid("left behind: file descriptor " + strconv.Itoa(fd) + ": /dev/null")
	if err := syscall.Close(fd); err != nil {
		t.Error(err)
	}
}

func TestNoLeaksSeesMapping(t *testing.T) {
	r := &recorder{TB: t}
	path := t.TempDir() + "/mapped"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	var mem []byte
	r.run(func() {
		noLeaks(r, soon)
		var err error
		if mem, err = syscall.Mmap(int(f.Fd()), 0, 8192, syscall.PROT_READ, syscall.MAP_SHARED); err != nil {
			t.Error(err)
		}
	})
	r.wantSaid("left behind: shared mapping", path, "8192 bytes")
	if err := syscall.Munmap(mem); err != nil {
		t.Error(err)
	}
}

func TestNoLeaksSeesZombie(t *testing.T) {
	r := &recorder{TB: t}
	cmd := Command(t, "echo")
	r.run(func() {
		noLeaks(r, soon)
		if err := cmd.Start(); err != nil {
			t.Error(err)
		}
		pid := strconv.Itoa(cmd.Process.Pid)
		Eventually(t, time.Minute, "the child to end", func() bool {
			return strings.Contains(processes()[pid], "not waited for")
		})
	})
	said := strings.Join(r.said, "\n")
	if !strings.Contains(said, "child that ended and was not waited for") {
		t.Errorf("said %q", said)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestNoLeaksSeesGrandchild(t *testing.T) {
	NoLeaks(t)
	r := &recorder{TB: t}
	in, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.run(func() {
		noLeaks(r, soon)
		cmd := Command(r, "parent")
		cmd.Stdin = in
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
		in.Close()
	})
	r.wantSaid("left behind: process", "descendant in state")
	hold.Close() // it ends with its input
}

func TestWatchProcess(t *testing.T) {
	NoLeaks(t)
	cmd := startWaiting(t, t)
	gone := make(chan struct{})
	watchProcess(cmd.Process.Pid, func() { close(gone) })
	select {
	case <-gone:
		t.Error("gone while it runs")
	default:
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	wait(t, gone) // it has not been waited for, but it has ended
	_ = cmd.Wait()

	gone = make(chan struct{})
	watchProcess(cmd.Process.Pid, func() { close(gone) })
	wait(t, gone)
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-Deadline(t, time.Minute).Done():
		t.Fatal("not told that the process is gone")
	}
}
