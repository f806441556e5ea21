// Command shmtop shows every mailbox of a running program, live, straight from its shared segment.
//
// It maps the segment read-only and asks nothing of the program: it shows a program that hangs or is stopped as it shows
// any other, any number of viewers may look at once, and none of them is in its own picture.
//
//	shmtop [PROGRAM|PID]   the live screen; without an argument of the only running program
//	shmtop --list          the running programs
//	shmtop --once          one page of plain text, all rows
//	shmtop --json          the same as one JSON object
//
// Run shmtop --help for all flags, and press ? on the live screen for all keys.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/term"

	"github.com/shmactor/shmactor/shm"
)

// The exit status. 2 stays free for the answer of a check.
const (
	exitOK           = 0
	exitNoProgram    = 1
	exitIncompatible = 3
	exitUsage        = 64
)

// framesPerSecond bounds how often the screen is written. It is redrawn when a key or a sample comes in.
const framesPerSecond = 30

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status.
func run(args []string, stdout, stderr *os.File) int {
	o, err := parseOptions(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "shmtop: %v\n", err)
		return exitUsage
	}
	if err := show(o, stdout); err != nil {
		fmt.Fprintf(stderr, "shmtop: %v\n", err)
		return exitStatus(err)
	}
	return exitOK
}

func exitStatus(err error) int {
	if errors.Is(err, shm.ErrIncompatible) {
		return exitIncompatible
	}
	return exitNoProgram
}

// show does what the options ask for.
func show(o options, stdout *os.File) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("shared segments need Linux, so there are no programs on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	if o.list {
		return list(stdout, o.json)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	p, err := choose(o.program)
	if err != nil {
		return err
	}
	seg, err := p.Open()
	if err != nil {
		return explain(p, err)
	}
	defer func() { _ = seg.Close() }()
	s := newSampler(p, seg)
	if o.json || o.once || !live(stdout) {
		return page(ctx, o, s, stdout)
	}
	stop() // the live screen has its own way to end
	return watch(o, s, stdout)
}

// live reports whether the screen can be drawn there.
func live(stdout *os.File) bool {
	return term.IsTerminal(stdout.Fd()) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
}

// page prints the program once. Rates need two samples, so it takes one interval, or until it is interrupted.
func page(ctx context.Context, o options, s *sampler, w io.Writer) error {
	m := newModel(o, s.next())
	if !m.shown.program.ended {
		wait(ctx, o.interval)
		m = m.sampled(s.next())
	}
	if o.json {
		return writeJSON(w, m)
	}
	return writePage(w, m)
}

// watch runs the live screen until the user leaves it.
func watch(o options, s *sampler, stdout *os.File) error {
	m := newModel(o, s.next())
	m.sample = func() tea.Msg { return sampleMsg{s.next()} }
	if w, h, err := term.GetSize(stdout.Fd()); err == nil { // the first frame need not wait to be told
		m.width, m.height = w, h
	}
	env := os.Environ()
	if o.noColor {
		env = append(env, "NO_COLOR=1")
	}
	_, err := tea.NewProgram(m, tea.WithOutput(stdout), tea.WithEnvironment(env), tea.WithFPS(framesPerSecond)).Run()
	if errors.Is(err, tea.ErrInterrupted) {
		return nil
	}
	return err
}
