package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/shmactor/shmactor/supervisor"
)

func TestMain(m *testing.M) {
	supervisor.Main()
	status := m.Run()
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		fmt.Fprintln(os.Stderr, "a worker process is left:", err)
		status = 1
	}
	os.Exit(status)
}

// ownDirectory keeps the systems of a test apart from those of other programs.
func ownDirectory(t *testing.T) { t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) }

// ran is what a run left.
type ran struct {
	status         int
	stdout, stderr string
}

func (r ran) String() string {
	return fmt.Sprintf("status %d, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
}

func runWith(ctx context.Context, stdin io.Reader, args ...string) ran {
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, stdin, &stdout, &stderr)
	return ran{status, stdout.String(), stderr.String()}
}

func TestDemo(t *testing.T) {
	ownDirectory(t)
	for _, c := range []struct{ args, restart string }{
		{"", "-- the actor crashes: "},
		{"-workers", "-- worker process "},
		{"-workers -keep", "-- worker process "},
	} {
		got := runWith(t.Context(), nil, strings.Fields(c.args)...)
		if got.status != 0 || got.stderr != "" {
			t.Errorf("%q: %v", c.args, got)
		}
		for want, n := range map[string]int{
			c.restart: 2, "accumulate alice 10 = 15": 2, "clear carol: error: client \"carol\": unknown client": 2,
			"accumulate alice 1 = 1\n": 1, "accumulate alice 1 = 16\n": 1,
		} {
			if strings.Count(got.stdout, want) != n {
				t.Errorf("%q: want %d times %q:\n%s", c.args, n, want, got.stdout)
			}
		}
	}
}

func TestDemoFails(t *testing.T) {
	ownDirectory(t)
	sys, err := placement{}.start(t.Context(), systemName, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	for _, x := range []expectation{
		{"accumulate alice 5", "6", nil},
		{"accumulate alice 5", "10", ErrUnknownClient},
		{"clear carol", "", nil},
		{"cancel carol", "", nil},
	} {
		if err := expect(t.Context(), theAccumulator(sys), []expectation{x}, io.Discard); err == nil {
			t.Errorf("%+v was met", x)
		}
	}
	if err := killWorker(t.Context(), sys, io.Discard); err == nil {
		t.Error("a worker was killed, and there is none")
	}
}

// exchange is a line that is typed, and what the session says to it.
type exchange struct{ typed, answer string }

// script turns exchanges into an input, and the output that belongs to it: all of it but the last prompt.
func script(all []exchange) (input, output string) {
	for _, x := range all {
		input += x.typed + "\n"
		output += "> " + x.answer
		if x.answer != "" {
			output += "\n"
		}
	}
	return input, output
}

func TestSession(t *testing.T) {
	ownDirectory(t)
	const known = "accumulate, clear, stumble"
	for _, c := range []struct {
		name string
		say  []exchange
	}{
		{"nothing", nil},
		{"empty lines", []exchange{{"", ""}, {" \t", ""}, {"accumulate a 5", "5"}}},
		{"clients", []exchange{
			{"accumulate a 5", "5"}, {"accumulate b 1", "1"}, {" accumulate  a\t2.5", "7.5"}, {"accumulate b -3", "-2"},
		}},
		{"clear", []exchange{
			{"accumulate a 5", "5"},
			{"clear a", "ok"},
			{"clear a", "error: client \"a\": unknown client"},
			{"accumulate a 2", "2"},
		}},
		{"too large", []exchange{
			{"accumulate a 1e308", "1e+308"},
			{"accumulate a 1e308", "error: client \"a\": the total is too large"},
			{"accumulate a 0", "1e+308"},
		}},
		{"unknown commands", []exchange{
			{"add a 5", "error: unknown command \"add\": there are " + known},
			{"CLEAR a", "error: unknown command \"CLEAR\": there are " + known},
		}},
		{"no numbers", []exchange{
			{"accumulate a b", "error: \"b\" is not a number"},
			{"accumulate a nan", "error: \"nan\" is not a number"},
			{"accumulate a 1e999", "error: \"1e999\" is too large"},
		}},
		{"wrong count", []exchange{
			{"accumulate", "error: want \"accumulate CLIENT X\""},
			{"accumulate a", "error: want \"accumulate CLIENT X\""},
			{"accumulate a 1 2", "error: want \"accumulate CLIENT X\""},
			{"clear", "error: want \"clear CLIENT\""},
			{"clear a b", "error: want \"clear CLIENT\""},
			{"stumble a", "error: want \"stumble\""},
		}},
		{"help", []exchange{{"help", "accumulate CLIENT X\nclear CLIENT\nstumble"}}},
	} {
		input, output := script(c.say)
		output = "Commands: " + known + ". Others: help, quit.\n" + output
		for end, last := range map[string]string{"": "> \n", "quit\nclear a\n": "> ", "exit\n": "> ", "quit": "> "} {
			got := runWith(t.Context(), strings.NewReader(input+end), "-i")
			fate, rest, _ := strings.Cut(got.stdout, "\n")
			if got.status != 0 || got.stderr != "" || !strings.Contains(fate, "lost") || rest != output+last {
				t.Errorf("%s, then %q:\ngot  %v\nwant %q", c.name, end, got, output+last)
			}
		}
	}
}

// TestSessionInWorker restarts the accumulator of a worker, without a keeper and with one.
func TestSessionInWorker(t *testing.T) {
	ownDirectory(t)
	const crash = "> error: actor \"accumulator\": crashed: "
	for _, c := range []struct{ args, fate, last string }{
		{"-workers -i", "lost", "\n> 1\n> "},
		{"-workers -keep -i", "kept", "\n> 6\n> "},
		{"-keep -i", "kept", "\n> 6\n> "},
	} {
		got := runWith(t.Context(), strings.NewReader("accumulate a 5\nstumble\naccumulate a 1\nquit\n"), strings.Fields(c.args)...)
		if got.status != 0 || !strings.Contains(got.stdout, "are "+c.fate+" when") || !strings.Contains(got.stdout, crash) ||
			!strings.HasSuffix(got.stdout, c.last) {
			t.Errorf("%s: %v", c.args, got)
		}
	}
}

// TestSessionInterrupted has the input stay open: what ends the session is the context, which a Ctrl-C cancels.
func TestSessionInterrupted(t *testing.T) {
	ownDirectory(t)
	ctx, cancel := context.WithCancel(t.Context())
	keyboard, typist := io.Pipe()
	defer typist.Close()
	go func() {
		_, _ = io.WriteString(typist, "accumulate a 5\n\n") // it returns when all was read
		cancel()
	}()
	got := runWith(ctx, keyboard, "-i")
	if got.status != 0 || got.stderr != "" || !strings.HasSuffix(got.stdout, "\n") {
		t.Errorf("%v", got)
	}
}

// TestInterruptedEarly is told to end while it starts.
func TestInterruptedEarly(t *testing.T) {
	ownDirectory(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{"serve", "-workers serve", "-i"} {
		if got := runWith(ctx, strings.NewReader(""), strings.Fields(args)...); got.status != 0 || got.stderr != "" {
			t.Errorf("%s: %v", args, got)
		}
	}
}

func TestServeAndCall(t *testing.T) {
	ownDirectory(t)
	for _, serve := range [][]string{{"serve"}, {"-workers", "-keep", "serve"}} {
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan ran)
		go func() { served <- runWith(ctx, nil, serve...) }()
		for _, c := range []struct {
			args string
			want ran
		}{
			{"call accumulate alice 5", ran{stdout: "5\n"}},
			{"call -wait 1m accumulate alice -2", ran{stdout: "3\n"}},
			{"call clear alice", ran{}},
			{"call clear alice", ran{status: 1, stderr: "accumulator: client \"alice\": unknown client\n"}},
			{"call accumulate alice", ran{status: 1, stderr: "accumulator: want \"accumulate CLIENT X\"\n"}},
			{"call accumulate alice x", ran{status: 1, stderr: "accumulator: \"x\" is not a number\n"}},
			{"call", ran{status: 1, stderr: "accumulator: no command\n"}},
		} {
			if got := runWith(t.Context(), nil, strings.Fields(c.args)...); got != c.want {
				t.Errorf("%s: %v, want %v", c.args, got, c.want)
			}
		}
		cancel()
		if got := <-served; got.status != 0 || got.stderr != "" {
			t.Errorf("%q: %v", serve, got)
		}
	}
	got := runWith(t.Context(), nil, "call", "-wait", "1ms", "clear", "alice")
	if got.status != 1 || !strings.Contains(got.stderr, `no running system has the name "accumulator"`) {
		t.Errorf("nobody serves: %v", got)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{
		"-x", "serve now", "-i serve", "-i call clear a", "-keep call clear a", "clear a", "call -wait soon clear a",
	} {
		got := runWith(t.Context(), nil, strings.Fields(args)...)
		if got.status != exitUsage || got.stdout != "" || !strings.HasSuffix(got.stderr, usage) {
			t.Errorf("%s: %v", args, got)
		}
	}
	if got := runWith(t.Context(), nil, "-h"); got != (ran{stdout: usage}) {
		t.Errorf("-h: %v", got)
	}
}
