package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// options is what the command line asks for.
type options struct {
	program  string // name or pid; empty for the only one
	list     bool
	once     bool
	json     bool
	interval time.Duration
	filter   filter
	sort     sorting
	noColor  bool
	ascii    bool
	noMouse  bool
}

const (
	defaultInterval = time.Second
	minInterval     = 100 * time.Millisecond
	maxInterval     = time.Hour
)

const usage = `shmtop shows every mailbox of a running program, from its shared memory.

usage: shmtop [flags] [PROGRAM|PID]

Without PROGRAM it shows the only running program, or lists them.

  --list             list the running programs: name, pid, uid, age, ABI
  --once             print one page of plain text, all rows
  --json             print one JSON object; with --list, the list
  --interval 1s      time between two samples, at least 100ms; --once and
                     --json take two samples, so that there are rates
  --filter 'EXPR'    text, !text, ~regex, depth>100, state:full; all must hold
  --sort COL[:asc]   name, worker, state, in, out, depth, fill, peak, age, ...
  --no-color         no colours (as NO_COLOR)
  --ascii            nothing but ASCII characters
  --no-mouse         leave the mouse to the terminal

Where standard output is no terminal, or TERM is dumb, --once is meant.
Press ? on the live screen for its keys. shmtop never writes to the segment.

exit status: 0 shown, 1 no such program, 3 another ABI, 64 wrong usage
`

// parseOptions reads the command line. Flags may stand before and after the program.
func parseOptions(args []string) (options, error) {
	o := options{sort: defaultSorting}
	var expr, order string
	fs := flag.NewFlagSet("shmtop", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.list, "list", false, "")
	fs.BoolVar(&o.once, "once", false, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.DurationVar(&o.interval, "interval", defaultInterval, "")
	fs.StringVar(&expr, "filter", "", "")
	fs.StringVar(&order, "sort", "", "")
	fs.BoolVar(&o.noColor, "no-color", os.Getenv("NO_COLOR") != "", "")
	fs.BoolVar(&o.ascii, "ascii", false, "")
	fs.BoolVar(&o.noMouse, "no-mouse", false, "")
	var names []string
	for {
		if err := fs.Parse(args); err != nil {
			return o, misuse(err)
		}
		if fs.NArg() == 0 {
			break
		}
		names = append(names, fs.Arg(0))
		args = fs.Args()[1:]
	}
	if len(names) > 1 {
		return o, fmt.Errorf("one program at a time, not %s; see shmtop --help", strings.Join(names, " and "))
	}
	o.program = strings.Join(names, "")
	if o.interval < minInterval || o.interval > maxInterval {
		return o, fmt.Errorf("--interval %v, want %v to %v", o.interval, minInterval, maxInterval)
	}
	var err error
	if o.filter, err = parseFilter(expr); err != nil {
		return o, fmt.Errorf("--filter %q: %w", expr, err)
	}
	if order != "" {
		if o.sort, err = parseSorting(order); err != nil {
			return o, fmt.Errorf("--sort %s: %w", order, err)
		}
	}
	return o, nil
}

func misuse(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return fmt.Errorf("%w; see shmtop --help", err)
}

// wait lets d pass, unless the context ends first.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
