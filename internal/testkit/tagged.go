package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// taggedTime bounds the tests of another build.
const taggedTime = time.Hour

// taggedEnv, set to "off", says that the build with another tag was tested already: it is the same whatever this build has.
const taggedEnv = "SHMACTOR_TEST_TAGGED"

// NeedTagged skips the test if tests of another build are switched off.
func NeedTagged(t testing.TB) {
	t.Helper()
	if os.Getenv(taggedEnv) == "off" {
		t.Skip("tests of the build with crash points are switched off")
	}
	if Emulated() {
		t.Skip("the other build would be one for this machine")
	}
}

// RunTagged builds the tests of the package in the working directory with a build tag, runs those that match the pattern,
// with the arguments, and returns their output; it fails the test if they fail. The binary is built without the race detector
// also when this one has it: it is for tests of processes that share mapped memory, which the detector does not see, and a
// process with the detector takes ten times as long to start.
func RunTagged(t testing.TB, tag, run string, args ...string) []byte {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tagged.test")
	build := exec.Command("go", "test", "-c", "-tags", tag, "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build.Args, err, out)
	}
	args = append([]string{"-test.run", run, "-test.timeout", Scale(taggedTime).String()}, args...)
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.Command(binary, args...)
	// It is no role of this binary, but one more suite.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, binaryEnv+"=") })
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return out
}
