package testkit

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// pipeWait is how long the output of a role that has ended may be held open by what it started itself.
const pipeWait = 5 * time.Second

// emulatorEnv names the program that runs this test binary, where that is of another architecture than the machine.
const emulatorEnv = "SHMACTOR_TEST_EMULATOR"

// Emulated reports whether the test binary is run by an emulator, so that the machine cannot execute it by itself.
func Emulated() bool { return os.Getenv(emulatorEnv) != "" }

// NeedWorkers skips the test where a library cannot start the test binary as a worker process.
func NeedWorkers(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("worker processes need Linux")
	}
	if Emulated() {
		t.Skip("a worker process needs a machine that executes this binary by itself")
	}
}

// Command returns a command, not yet started, that runs the test binary in the named role of [Run]. The environment is
// the test's own plus the role. Output goes nowhere unless the test says where, for example to t.Output().
//
// At the end of the test the process is killed and waited for if the test has not waited for it; a test that waits in a
// goroutine of its own ends that goroutine before it returns.
func Command(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	if known == nil {
		t.Fatal("testkit: Command needs testkit.Run in TestMain")
	}
	used := known[role]
	if used == nil {
		t.Fatalf("testkit: no role %q was given to testkit.Run", role)
	}
	used.Store(true)
	binary, err := os.Executable()
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	if Emulated() { // the kernel does not know what to do with it
		binary, args = os.Getenv(emulatorEnv), append([]string{binary}, args...)
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.WaitDelay = Scale(pipeWait)
	t.Cleanup(func() { reap(cmd) })
	return cmd
}

// reap ends the process of cmd if it was started and not waited for.
func reap(cmd *exec.Cmd) {
	if cmd.Process == nil {
		return
	}
	if err := cmd.Process.Kill(); errors.Is(err, os.ErrProcessDone) {
		return
	}
	_ = cmd.Wait() // it was killed, so an error is what it gives
}
