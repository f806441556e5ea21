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
	for _, args := range [][]string{nil, {"-workers"}} {
		got := runWith(t.Context(), nil, args...)
		if got.status != 0 || got.stderr != "" || strings.Count(got.stdout, "errors.Is knows it") != 3 {
			t.Errorf("%q: %v", args, got)
		}
		if processes := strings.Count(got.stdout, "process "); processes != 1+2*len(args) {
			t.Errorf("%q: %d processes:\n%s", args, processes, got.stdout)
		}
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
	const known = "add, subtract, multiply, divide, power, sqrt"
	for _, c := range []struct {
		name string
		say  []exchange
	}{
		{"nothing", nil},
		{"empty lines", []exchange{{"", ""}, {" \t", ""}, {"add 5 3", "8"}}},
		{"spaces", []exchange{{"  add\t5   3 ", "8"}}},
		{"operations", []exchange{
			{"add 5 3", "8"},
			{"subtract 5 3", "2"},
			{"multiply 5 3", "15"},
			{"divide 5 4", "1.25"},
			{"power 2 10", "1024"},
			{"sqrt 9", "3"},
		}},
		{"signs", []exchange{{"add -5 -3", "-8"}, {"divide 0 -5", "0"}, {"power -2 3", "-8"}}},
		{"fractions", []exchange{{"add 0.1 0.2", "0.30000000000000004"}, {"multiply 1e3 1e-3", "1"}, {"power 4 0.5", "2"}}},
		{"errors", []exchange{
			{"divide 1 0", "error: division by zero"},
			{"power 0 -1", "error: division by zero"},
			{"sqrt -1", "error: root of a negative number"},
			{"power -8 0.5", "error: root of a negative number"},
			{"power 10 999", "error: the result is too large"},
			{"add 5 3", "8"},
		}},
		{"unknown operations", []exchange{
			{"mod 5 3", "error: unknown operation \"mod\": there are " + known},
			{"ADD 5 3", "error: unknown operation \"ADD\": there are " + known},
		}},
		{"no numbers", []exchange{
			{"add five 3", "error: \"five\" is not a number"},
			{"add 5 NaN", "error: \"NaN\" is not a number"},
			{"add inf 1", "error: \"inf\" is not a number"},
			{"add 1e999 1", "error: \"1e999\" is too large"},
		}},
		{"wrong count", []exchange{
			{"add", "error: add takes 2 numbers, not 0"},
			{"add 5", "error: add takes 2 numbers, not 1"},
			{"add 5 3 1", "error: add takes 2 numbers, not 3"},
			{"sqrt 1 2", "error: sqrt takes 1 number, not 2"},
		}},
		{"help", []exchange{{"help", "add X Y\nsubtract X Y\nmultiply X Y\ndivide X Y\npower X Y\nsqrt X"}}},
	} {
		input, output := script(c.say)
		output = "Operations: " + known + ". Others: help, quit.\n" + output
		for end, last := range map[string]string{"": "> \n", "quit\nadd 5 3\n": "> ", "exit\n": "> ", "quit": "> "} {
			want := ran{stdout: output + last}
			if got := runWith(t.Context(), strings.NewReader(input+end), "-i"); got != want {
				t.Errorf("%s, then %q:\ngot  %v\nwant %v", c.name, end, got, want)
			}
		}
	}
}

func TestSessionInWorkers(t *testing.T) {
	ownDirectory(t)
	got := runWith(t.Context(), strings.NewReader("add 5 3\ndivide 5 0\nadd 1 1\nquit\n"), "-workers", "-i")
	if got.status != 0 || !strings.HasSuffix(got.stdout, "> 8\n> error: division by zero\n> 2\n> ") {
		t.Errorf("%v", got)
	}
}

// TestSessionInterrupted has the input stay open: what ends the session is the context, which a Ctrl-C cancels.
func TestSessionInterrupted(t *testing.T) {
	ownDirectory(t)
	ctx, cancel := context.WithCancel(t.Context())
	keyboard, typist := io.Pipe()
	defer typist.Close()
	go func() {
		_, _ = io.WriteString(typist, "add 5 3\n\n") // a pipe: the second line is read after the first was answered
		cancel()
	}()
	got := runWith(ctx, keyboard, "-i")
	if got.status != 0 || got.stderr != "" || !strings.HasSuffix(got.stdout, "\n") {
		t.Errorf("%v", got)
	}
}

// TestSessionUnreadable has an input that breaks.
func TestSessionUnreadable(t *testing.T) {
	ownDirectory(t)
	broken := io.MultiReader(strings.NewReader("add 5 3\n"), brokenReader{})
	got := runWith(t.Context(), broken, "-i")
	if got.status != 1 || !strings.HasSuffix(got.stdout, "> 8\n> \n") || got.stderr != "calculator: input/output error\n" {
		t.Errorf("%v", got)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, syscall.EIO }

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
	for _, serve := range [][]string{{"serve"}, {"-workers", "serve"}} {
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan ran)
		go func() { served <- runWith(ctx, nil, serve...) }()
		for _, c := range []struct {
			args string
			want ran
		}{
			{"call add 5 3", ran{stdout: "8\n"}},
			{"call -wait 1m add 5 -3", ran{stdout: "2\n"}},
			{"call sqrt 16", ran{stdout: "4\n"}},
			{"call divide 5 0", ran{status: 1, stderr: "calculator: division by zero\n"}},
			{"call sqrt -4", ran{status: 1, stderr: "calculator: root of a negative number\n"}},
			{"call add 5", ran{status: 1, stderr: "calculator: add takes 2 numbers, not 1\n"}},
			{"call add 5 x", ran{status: 1, stderr: "calculator: \"x\" is not a number\n"}},
			{"call", ran{status: 1, stderr: "calculator: no operation\n"}},
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
	got := runWith(t.Context(), nil, "call", "-wait", "1ms", "add", "5", "3")
	if got.status != 1 || !strings.Contains(got.stderr, `no running system has the name "calculator"`) {
		t.Errorf("nobody serves: %v", got)
	}
}

// TestRemoteErrors is why the errors are registered.
func TestRemoteErrors(t *testing.T) {
	ownDirectory(t)
	sys, err := start(t.Context(), systemName, true)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	for _, x := range examples {
		c, err := parseCalculation(strings.Fields(x.what))
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range newRota(sys).refs {
			if got, err := c.on(t.Context(), to); got != x.want || !errors.Is(err, x.err) {
				t.Errorf("%v on %v: %v, %v; want %v, %v", c, to, got, err, x.want, x.err)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{
		"-x", "serve now", "-i serve", "-i call add 5 3", "-workers call add 5 3", "add 5 3", "call -x add 5 3",
		"call -wait soon add 5 3",
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
