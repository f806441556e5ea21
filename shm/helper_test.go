package shm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.Run(m, roles)
}

// roles are the processes that the test binary plays.
var roles = map[string]func(){
	"file-owner": fileOwner,
	"owner":      publishedOwner,
	"stranger":   stranger,
	"allocator":  allocator,
	"idle":       idle,
}

// limit is when a test gives up on something that should happen at once.
const limit = 20 * time.Second

// small is a segment of 16 spans that is quick to make and to check.
func small() Options {
	return Options{Heap: true, Processes: 8, Mailboxes: 8, MessageBytes: 16 * spanSize, MaxMessage: 8 * spanSize}
}

// needShared skips a test on a system without shared segments.
func needShared(t testing.TB) {
	t.Helper()
	if !sys.Supported {
		t.Skip("no shared segments on this system")
	}
}

// create makes a segment that is checked and closed after the test.
func create(t testing.TB, o Options) *Segment {
	t.Helper()
	s, err := Create(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			wantClean(t, s)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// wantClean fails the test unless the segment passes its check and holds no frames.
func wantClean(t testing.TB, s *Segment) {
	t.Helper()
	census, err := s.Check()
	if err != nil {
		t.Error(err)
	}
	for st, n := range census.States {
		if n != 0 {
			t.Errorf("%d frames are left %v", n, State(st))
		}
	}
}

// enter grants an entry of the process table and enters it: one more process, played by this one.
func enter(t testing.TB, s *Segment, name string) ProcessID {
	t.Helper()
	id, err := s.Grant(name)
	if err == nil {
		err = s.Enter(id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// pool returns a pool whose cache is given back after the test.
func pool(t testing.TB, s *Segment, id ProcessID) *Pool {
	t.Helper()
	p := s.NewPool(id)
	t.Cleanup(p.Flush)
	return p
}

// get takes a frame for n bytes.
func get(t testing.TB, p *Pool, n int) Frame {
	t.Helper()
	f, err := p.Get(n)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// must fails the test if an operation did.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// role starts the test binary in a role and returns the first line that it prints, and its standard input, whose end ends it.
func role(t *testing.T, cmd *exec.Cmd) (line string, stdin io.WriteCloser) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = t.Output()
	must(t, cmd.Start())
	line, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %q, %v", cmd.Args, line, err)
	}
	return strings.TrimSpace(line), stdin
}

// kill ends a role as a crash would.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

// waitStdin blocks a role until its test wants it to end.
func waitStdin() { _, _ = io.Copy(io.Discard, os.Stdin) }

// die ends a role whose work failed.
func die(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}
