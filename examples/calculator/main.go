// Command calculator calculates in actors without state: in this process, in worker processes, or in another program.
//
//	calculator [-workers]             a demonstration
//	calculator [-workers] -i          reads calculations from the standard input
//	calculator [-workers] serve       serves other programs until it is told to end
//	calculator call OPERATION X [Y]   has a program that serves do one
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/shmactor/shmactor/supervisor"
)

const usage = `usage:
  calculator [-workers]          a demonstration
  calculator [-workers] -i       reads lines such as "add 5 3" from the standard input
  calculator [-workers] serve    serves other programs until SIGINT or SIGTERM
  calculator call [-wait D] OPERATION X [Y]
                                 has a program that serves do it; waits for one for
                                 at most D (default 5s)

  -workers    the calculators run in worker processes
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
	err := command(ctx, args, stdin, stdout)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, usage)
		return 0
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(stderr, "calculator: %v\n%s", err, usage)
		return exitUsage
	}
	_, _ = fmt.Fprintf(stderr, "calculator: %v\n", err)
	return 1
}

var errUsage = errors.New("bad command line")

// command finds out what to do, and does it.
func command(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	flags := newFlags()
	workers := flags.Bool("workers", false, "")
	interactive := flags.Bool("i", false, "")
	if err := parse(flags, args); err != nil {
		return err
	}
	switch mode := flags.Arg(0); {
	case mode == "call" && !*interactive && !*workers:
		return call(ctx, flags.Args()[1:], stdout)
	case mode == "serve" && !*interactive && flags.NArg() == 1:
		return serve(ctx, *workers, stdout)
	case mode == "" && *interactive:
		return session(ctx, *workers, stdin, stdout)
	case mode == "":
		return demo(ctx, *workers, stdout)
	}
	return fmt.Errorf("%q: %w", args, errUsage)
}

func newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("calculator", flag.ContinueOnError)
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
