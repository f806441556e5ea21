package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/shmactor/shmactor/supervisor"
)

// defaultWait is how long a call waits for a program that serves. The calculation itself gets as long again.
const defaultWait = 5 * time.Second

// serve runs the calculators for other programs until it is told to end.
func serve(ctx context.Context, workers bool, stdout io.Writer) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("serve needs Linux: nobody could attach: %w", errors.ErrUnsupported)
	}
	sys, err := start(ctx, systemName, workers)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // told to end before all had started; what had was stopped again
	case err != nil:
		return err
	}
	printf(stdout, "process %d serves %q; Ctrl-C ends it\n", os.Getpid(), systemName)
	select {
	case <-ctx.Done():
		return sys.Close()
	case <-sys.Done(): // by itself: a supervisor has given up
		return errors.Join(sys.Err(), sys.Close())
	}
}

// call has a program that serves do one calculation, and prints the result.
func call(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := newFlags()
	wait := flags.Duration("wait", defaultWait, "")
	if err := parse(flags, args); err != nil {
		return err
	}
	c, err := parseCalculation(flags.Args())
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
	result, err := c.on(calling, newRota(sys).next())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, text(result))
	return err
}
