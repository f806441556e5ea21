package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// patience bounds the demonstration, which takes milliseconds.
const patience = 10 * time.Second

// examples are the calculations of the demonstration. One that has an error has no result.
var examples = []struct {
	what string
	want float64
	err  error
}{
	{"add 5 3", 8, nil},
	{"subtract 5 3", 2, nil},
	{"multiply 5 3", 15, nil},
	{"divide 5 4", 1.25, nil},
	{"power 2 10", 1024, nil},
	{"sqrt 2", 1.4142135623730951, nil},
	{"divide 5 0", 0, ErrDivisionByZero},
	{"sqrt -4", 0, ErrNegativeRoot},
	{"power 10 1000", 0, ErrTooLarge},
	{"add 5 3", 8, nil}, // an error is no crash: the calculator that returned it goes on
}

// demo does a few calculations, and fails if one has another result than it should.
func demo(ctx context.Context, workers bool, stdout io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sys, err := start(ctx, systemName+"-demo", workers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	for _, p := range sys.Processes() {
		printf(stdout, "process %d: %s\n", p.PID, p.Name)
	}
	calculators := newRota(sys)
	for _, x := range examples {
		c, err := parseCalculation(strings.Fields(x.what))
		if err != nil {
			return err
		}
		to := calculators.next()
		got, err := c.on(ctx, to)
		switch {
		case !errors.Is(err, x.err):
			return fmt.Errorf("%v on %v: error %v, want %v", c, to, err, x.err)
		case got != x.want:
			return fmt.Errorf("%v on %v: %v, want %v", c, to, got, x.want)
		case err != nil:
			printf(stdout, "%v: %v: error: %v (errors.Is knows it)\n", to, c, err)
		default:
			printf(stdout, "%v: %v = %s\n", to, c, text(got))
		}
	}
	return nil
}

// printf prints for people. Who does not read it still gets the exit status.
func printf(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
