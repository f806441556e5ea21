package testkit

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	roles := map[string]func(){
		"echo": func() { fmt.Println(strings.Join(os.Args[1:], " ")) },
		"wait": func() {
			fmt.Println("waiting")
			_, _ = io.Copy(io.Discard, os.Stdin)
		},
		"suite": playSuite,
	}
	maps.Copy(roles, systemRoles)
	Run(m, roles)
}

// suites are what the role "suite" runs in place of tests, each in a process of its own.
var suites = map[string]func() int{
	"clean":   func() int { return 0 },
	"failing": func() int { leakFile(); return 7 },
	"goroutine": func() int {
		go func() { select {} }()
		return 0
	},
	"file": func() int { leakFile(); return 0 },
	"all-roles": func() int {
		for _, used := range known {
			used.Store(true)
		}
		return 0
	},
}

func leakFile() {
	if _, err := os.MkdirTemp("", "left-"); err != nil {
		panic(err)
	}
}

// playSuite is the process of a whole run: its first argument names the suite, its second says whether all tests were run.
func playSuite() {
	unscaled := scale()
	scale = func() float64 { return unscaled / 100 } // what leaks here never goes away
	whole := func() bool { return os.Args[2] == "whole" }
	code := suite(suites[os.Args[1]], whole, os.Stderr)
	fmt.Println(os.Getenv("TMPDIR"))
	os.Exit(code)
}

// runSuite runs one of the suites and returns its exit status and what it complained of. It fails if the suite left its home.
func runSuite(t *testing.T, name, extent string) (code int, complaints string) {
	t.Helper()
	cmd := Command(t, "suite", name, extent)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	home := strings.TrimSpace(stdout.String())
	if _, err := os.Stat(home); home == "" || err == nil {
		t.Errorf("the suite's home %q is left, or was never made", home)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}

func TestSuiteCleanRun(t *testing.T) {
	NoLeaks(t)
	if code, said := runSuite(t, "clean", "part"); code != 0 || said != "" {
		t.Errorf("status %d, %s", code, said)
	}
	if code, said := runSuite(t, "all-roles", "whole"); code != 0 || said != "" {
		t.Errorf("status %d, %s", code, said)
	}
}

func TestSuiteKeepsStatusOfFailedTests(t *testing.T) {
	if code, said := runSuite(t, "failing", "whole"); code != 7 || said != "" {
		t.Errorf("status %d, %s", code, said)
	}
}

func TestSuiteFailsOnLeak(t *testing.T) {
	for name, want := range map[string]string{
		"goroutine": "goroutine ",
		"file":      "file ",
	} {
		code, said := runSuite(t, name, "part")
		if code != exitLeak || !strings.HasPrefix(said, "testkit: after the tests: "+want) || strings.Count(said, "after the tests") != 1 {
			t.Errorf("%s: status %d, %s", name, code, said)
		}
	}
}

func TestEnvironmentOfARun(t *testing.T) {
	if dir := os.TempDir(); dir != home || !strings.Contains(dir, "shmactor-test-") {
		t.Errorf("temporary directory %q, want the run's own %q", dir, home)
	}
	info, err := os.Stat(os.Getenv("XDG_RUNTIME_DIR"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("runtime directory: %v, %v", info, err)
	}
}

func TestTestsDoNotStartTheTests(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(Deadline(t, time.Minute), binary).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "without a role") {
		t.Errorf("%v, %s", err, out)
	}
	cmd := exec.CommandContext(Deadline(t, time.Minute), binary)
	cmd.Env = append(os.Environ(), roleEnv+"=nobody")
	out, err = cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), `no role "nobody"`) {
		t.Errorf("%v, %s", err, out)
	}
}

func TestCommand(t *testing.T) {
	NoLeaks(t)
	out, err := Command(t, "echo", "one", "two").Output()
	if err != nil || string(out) != "one two\n" {
		t.Errorf("%q, %v", out, err)
	}
	if !known["echo"].Load() {
		t.Error("the role does not count as used")
	}
}

func TestCommandUnknownRole(t *testing.T) {
	r := &recorder{TB: t}
	r.run(func() { Command(r, "nobody") })
	r.wantSaid(`no role "nobody"`)
}

// startWaiting starts a process that waits for the end of its input, and returns when it runs.
func startWaiting(t *testing.T, tb testing.TB) *exec.Cmd {
	t.Helper()
	cmd := Command(tb, "wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "waiting\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

func TestCommandIsKilledWithTheTest(t *testing.T) {
	NoLeaks(t)
	r := &recorder{TB: t}
	cmd := startWaiting(t, r)
	r.clean()
	if cmd.ProcessState == nil || cmd.ProcessState.Success() {
		t.Errorf("after the test: %v", cmd.ProcessState)
	}
	r.wantSaid()
}

func TestCommandNotStarted(t *testing.T) {
	r := &recorder{TB: t}
	Command(r, "wait")
	r.clean()
	r.wantSaid()
}

func TestFuzzing(t *testing.T) {
	for args, want := range map[string]bool{
		"-test.v -test.run=^$ -test.fuzz=FuzzX": true,
		"-test.fuzzworker -test.fuzzcachedir=x": true,
		"-test.v -test.fuzzcachedir=x":          false,
		"":                                      false,
	} {
		if got := fuzzing(strings.Fields(args)); got != want {
			t.Errorf("fuzzing(%q) = %v", args, got)
		}
	}
}
