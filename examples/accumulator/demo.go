package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/shmactor/shmactor/actor"
)

// patience bounds the demonstration, which takes milliseconds.
const patience = 10 * time.Second

// expectation is an order and what has to come of it.
type expectation struct {
	order, want string
	err         error
}

var (
	before = []expectation{
		{"accumulate alice 5", "5", nil},
		{"accumulate alice 10", "15", nil},
		{"accumulate bob 2", "2", nil},
		{"clear bob", "", nil},
		{"accumulate bob 100", "100", nil},
		{"clear carol", "", ErrUnknownClient},
	}
	lost = []expectation{
		{"accumulate alice 1", "1", nil},
		{"clear bob", "", ErrUnknownClient},
	}
	kept = []expectation{
		{"accumulate alice 1", "16", nil},
		{"clear bob", "", nil},
	}
)

// demo shows what a restart does to the totals, first without a keeper and then with one. It fails if anything comes out
// otherwise than it should.
func demo(ctx context.Context, workers bool, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	printf(stdout, "The totals are in the accumulator's memory: a restart loses them.\n")
	if err := round(ctx, placement{workers: workers}, lost, stdout); err != nil {
		return err
	}
	printf(stdout, "\nWith a keeper, in the program's own process, a restart loses nothing.\n")
	return round(ctx, placement{workers: workers, keep: true}, kept, stdout)
}

func round(ctx context.Context, p placement, after []expectation, stdout io.Writer) (err error) {
	quiet := slog.New(slog.DiscardHandler) // it would tell of the restart, as the demonstration does
	sys, err := p.start(ctx, systemName+"-demo", quiet)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	to := theAccumulator(sys)
	if err := expect(ctx, to, before, stdout); err != nil {
		return err
	}
	if p.workers {
		err = killWorker(ctx, sys, stdout)
	} else {
		err = crash(ctx, to, stdout)
	}
	if err != nil {
		return err
	}
	return expect(ctx, to, after, stdout)
}

func expect(ctx context.Context, to actor.Ref[*Accumulator], all []expectation, stdout io.Writer) error {
	for _, x := range all {
		o, err := parseOrder(strings.Fields(x.order))
		if err != nil {
			return err
		}
		got, err := o.on(ctx, to)
		switch {
		case !errors.Is(err, x.err):
			return fmt.Errorf("%s: error %v, want %v", x.order, err, x.err)
		case err == nil && got != x.want:
			return fmt.Errorf("%s: %s, want %s", x.order, got, x.want)
		case err != nil:
			printf(stdout, "  %s: error: %v\n", x.order, err)
		case got == "":
			printf(stdout, "  %s\n", x.order)
		default:
			printf(stdout, "  %s = %s\n", x.order, got)
		}
	}
	return nil
}

// crash ends the accumulator's life by a bug.
func crash(ctx context.Context, to actor.Ref[*Accumulator], stdout io.Writer) error {
	_, err := stumble.Call(ctx, to, struct{}{})
	if !errors.Is(err, actor.ErrCrashed) {
		return fmt.Errorf("stumble: error %v, want %v", err, actor.ErrCrashed)
	}
	printf(stdout, "  -- the actor crashes: %v --\n", err)
	return nil
}

// killWorker ends the accumulator's process, and returns when the next one has taken over.
func killWorker(ctx context.Context, sys *actor.System, stdout io.Writer) error {
	to, pid := theAccumulator(sys), workerPID(sys)
	if pid == 0 {
		return errors.New("no worker process to kill") // and to kill process 0 would be to kill the whole group
	}
	life := to.Generation()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	// To be killed takes a process a moment, in which it could still answer a call.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for to.Generation() == life {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	printf(stdout, "  -- worker process %d is killed, and process %d takes over --\n", pid, workerPID(sys))
	return nil
}

// printf prints for people. Who does not read it still gets the exit status.
func printf(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
