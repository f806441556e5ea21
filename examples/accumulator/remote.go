package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/shmactor/shmactor/supervisor"
)

// defaultWait is how long a call waits for a program that serves. The order itself gets as long again.
const defaultWait = 5 * time.Second

// serve runs the accumulator for other programs until it is told to end.
func serve(ctx context.Context, p placement, stdout io.Writer, logger *slog.Logger) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("serve needs Linux: nobody could attach: %w", errors.ErrUnsupported)
	}
	sys, err := p.start(ctx, systemName, logger)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // told to end before all had started; what had was stopped again
	case err != nil:
		return err
	}
	printf(stdout, "%s\nServing %q; Ctrl-C ends it.\n", p.fate(workerPID(sys)), systemName)
	select {
	case <-ctx.Done():
		return sys.Close()
	case <-sys.Done(): // by itself: a supervisor has given up
		return errors.Join(sys.Err(), sys.Close())
	}
}

// call gives one order to a program that serves, and prints the result, if the order has one.
func call(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := newFlags()
	wait := flags.Duration("wait", defaultWait, "")
	if err := parse(flags, args); err != nil {
		return err
	}
	o, err := parseOrder(flags.Args())
	if err != nil {
		return err
	}
	attaching, cancel := context.WithTimeout(ctx, *wait)
	defer cancel()
	sys, err := supervisor.Attach(attaching, systemName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	calling, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	result, err := o.on(calling, theAccumulator(sys))
	if err == nil && result != "" {
		_, err = fmt.Fprintln(stdout, result)
	}
	return err
}
