package testkit

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// roleEnv names the role that a process started by Command plays.
	roleEnv = "SHMACTOR_TEST_ROLE"
	// binaryEnv is the process id of the test binary; everything that it starts, at any depth, inherits it.
	binaryEnv = "SHMACTOR_TEST_BINARY"
)

const (
	exitLeak    = 1 // the tests passed, but something was left, or a role never used
	exitMisuse  = 2 // no such role, tests started by tests, a scale that is no number
	exitOrphan  = 3 // the test binary is gone, so its roles end
	leakWait    = 5 * time.Second
	runtimeRoom = "run" // the runtime directory inside the home of a run
)

// known holds the roles of this test binary, each with whether a test used it. It is nil until Run is called.
var known map[string]*atomic.Bool

// home is the directory that stands in for the temporary directory during Run, "" outside of it.
var home string

// Run is the whole of a TestMain: it calls os.Exit and does not return.
//
// In a process that [Command] started it runs the function of that role and exits with status 0 when it returns; the
// role finds its arguments in os.Args[1:]. The process ends by itself when the test binary is gone, however that ended.
//
// Otherwise it runs the tests, with a temporary and a runtime directory (TMPDIR, XDG_RUNTIME_DIR) of their own, so that
// they meet no other program's files. If they pass, it fails the run with status 1 and says why if anything is left of
// it: a child process (also one that was not waited for), a process further down, a file descriptor, a goroutine, a
// shared mapping, a file. It also fails if a role was never used, provided that all tests were run (no -run, -skip, -short).
// Fuzzing (-fuzz) is not checked.
//
// If the package's processes are also started otherwise (by a supervisor that executes its own binary again), their entry
// comes before Run in TestMain. A test binary that finds itself started by a test and has no role refuses to run the
// tests once more.
func Run(m *testing.M, roles map[string]func()) {
	known = make(map[string]*atomic.Bool)
	for name := range roles {
		known[name] = new(atomic.Bool)
	}
	if name, ok := os.LookupEnv(roleEnv); ok {
		play(name, roles)
	}
	if fuzzing(os.Args[1:]) {
		os.Exit(m.Run()) // the engine kills its workers when it likes, so there is no end at which to look
	}
	if pid, ok := os.LookupEnv(binaryEnv); ok {
		fmt.Fprintf(os.Stderr, "testkit: started by the tests of process %s, but without a role\n", pid)
		os.Exit(exitMisuse)
	}
	if _, err := parseScale(os.Getenv(scaleEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitMisuse)
	}
	os.Exit(suite(m.Run, wholeSuite, os.Stderr))
}

// play runs one role and exits.
func play(name string, roles map[string]func()) {
	role := roles[name]
	if role == nil {
		fmt.Fprintf(os.Stderr, "testkit: no role %q\n", name)
		os.Exit(exitMisuse)
	}
	if pid, err := strconv.Atoi(os.Getenv(binaryEnv)); err == nil {
		watchProcess(pid, func() {
			fmt.Fprintf(os.Stderr, "testkit: role %q ends, its test binary is gone\n", name)
			os.Exit(exitOrphan)
		})
	}
	role()
	os.Exit(0)
}

// suite runs the tests by run and returns the exit status. The function whole tells afterwards whether all tests were run.
func suite(run func() int, whole func() bool, w io.Writer) int {
	remove, err := settle()
	if err != nil {
		fmt.Fprintf(w, "testkit: %v\n", err)
		return exitLeak
	}
	defer remove()

	before := take()
	code := run()
	if code != 0 {
		return code // what a failed test left says nothing new
	}
	complaints := before.leaks(Scale(leakWait))
	if whole() {
		complaints = append(complaints, unused()...)
	}
	for _, c := range complaints {
		fmt.Fprintf(w, "testkit: after the tests: %s\n", c)
	}
	if len(complaints) > 0 {
		return exitLeak
	}
	return 0
}

// settle makes the home of a run and points the environment there. The caller removes it in the end.
func settle() (remove func(), err error) {
	dir, err := os.MkdirTemp("", "shmactor-test-")
	if err != nil {
		return nil, err
	}
	room := filepath.Join(dir, runtimeRoom)
	if err := os.Mkdir(room, 0o700); err != nil {
		return nil, err
	}
	home = dir
	env := map[string]string{
		"TMPDIR":          dir,
		"XDG_RUNTIME_DIR": room,
		binaryEnv:         strconv.Itoa(os.Getpid()),
	}
	if os.Getenv("GORACE") == "" {
		env["GORACE"] = "atexit_sleep_ms=0" // a process under the race detector takes a second to end otherwise
	}
	for name, value := range env {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return func() { os.RemoveAll(dir) }, nil
}

// unused names the roles that no test used. They are only expected to be used where the project's processes can run.
func unused() (complaints []string) {
	if !fullChecks {
		return nil
	}
	for name, used := range known {
		if !used.Load() {
			complaints = append(complaints, fmt.Sprintf("role %q was never used", name))
		}
	}
	slices.Sort(complaints)
	return complaints
}

// wholeSuite reports whether the flags asked for all tests.
func wholeSuite() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	if f := flag.Lookup("test.count"); f != nil && f.Value.String() == "0" {
		return false
	}
	return !testing.Short()
}

// fuzzing reports whether the arguments ask for fuzzing, or the fuzzing engine started this process.
func fuzzing(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		arg = strings.TrimLeft(arg, "-")
		return strings.HasPrefix(arg, "test.fuzz=") || strings.HasPrefix(arg, "test.fuzzworker")
	})
}
