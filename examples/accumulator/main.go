// Command accumulator adds up numbers for clients, in an actor with state, and shows what becomes of the state when the
// actor or its process dies: it is lost, unless another actor keeps it.
//
//	accumulator [-workers]                                 a demonstration
//	accumulator [-workers] [-keep] -i                      reads commands from the standard input
//	accumulator [-workers] [-keep] serve                   serves other programs until it is told to end
//	accumulator call accumulate CLIENT X | clear CLIENT    has a program that serves do it
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/shmactor/shmactor/supervisor"
)

const usage = `usage:
  accumulator [-workers]                  a demonstration, without and with a keeper
  accumulator [-workers] [-keep] -i       reads lines such as "accumulate alice 5" and
                                          "clear alice" from the standard input
  accumulator [-workers] [-keep] serve    serves other programs until SIGINT or SIGTERM
  accumulator call [-wait D] accumulate CLIENT X
  accumulator call [-wait D] clear CLIENT
                                          has a program that serves do it; waits for one
                                          for at most D (default 5s)

  -workers    the accumulator runs in a worker process
  -keep       its totals are kept by another actor, so a restart does not lose them
`

// exitUsage is the status for a command line that makes no sense; 1 is for everything else that fails.
const exitUsage = 2

func main() {
	supervisor.Main() // a worker process serves here and never returns

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program; it returns its exit status. It is told to end by ctx.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})) // tells of restarts
	err := command(ctx, args, stdin, stdout, logger)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, usage)
		return 0
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(stderr, "accumulator: %v\n%s", err, usage)
		return exitUsage
	}
	_, _ = fmt.Fprintf(stderr, "accumulator: %v\n", err)
	return 1
}

var errUsage = errors.New("bad command line")

// command finds out what to do, and does it.
func command(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer, logger *slog.Logger) error {
	var p placement
	flags := newFlags()
	flags.BoolVar(&p.workers, "workers", false, "")
	flags.BoolVar(&p.keep, "keep", false, "")
	interactive := flags.Bool("i", false, "")
	if err := parse(flags, args); err != nil {
		return err
	}
	switch mode := flags.Arg(0); {
	case mode == "call" && !*interactive && p == (placement{}):
		return call(ctx, flags.Args()[1:], stdout)
	case mode == "serve" && !*interactive && flags.NArg() == 1:
		return serve(ctx, p, stdout, logger)
	case mode == "" && *interactive:
		return session(ctx, p, stdin, stdout, logger)
	case mode == "": // it shows both, with a keeper and without
		return demo(ctx, p.workers, stdout)
	}
	return fmt.Errorf("%q: %w", args, errUsage)
}

func newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("accumulator", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run says what is wrong
	return flags
}

func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		err = fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}
