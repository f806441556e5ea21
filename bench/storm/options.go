package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// options are what the command line asks for.
type options struct {
	For     time.Duration
	Seed    uint64
	Workers int
	Callers int
	File    string // of the segment; empty for none, and then the program itself is not killed
	Memory  int    // of messages, in MiB
	Limits  bool
}

const (
	workersMax    = 32
	callersMax    = 4096
	memoryDefault = 128
	memoryMin     = 4
	memoryMax     = 2048
	forMax        = 24 * time.Hour
)

const usage = `usage: go run ./bench/storm [flags]

Kills and stops workers at random under load, and accounts for every message.

`

// parseOptions reads the command line. What is wrong with it was written to w when it returns an error.
func parseOptions(args []string, w io.Writer) (o options, err error) {
	set := flag.NewFlagSet("storm", flag.ContinueOnError)
	set.SetOutput(w)
	set.Usage = func() {
		_, _ = fmt.Fprint(w, usage)
		set.PrintDefaults()
	}
	set.DurationVar(&o.For, "for", 20*time.Second, "how long to kill; checking takes a little longer")
	set.Uint64Var(&o.Seed, "seed", 0, "of the random choices (default: another one each time)")
	set.IntVar(&o.Workers, "workers", 4, fmt.Sprintf("worker processes, at most %d", workersMax))
	set.IntVar(&o.Callers, "callers", 64, fmt.Sprintf("goroutines that call and send, at most %d", callersMax))
	set.StringVar(&o.File, "file", "", "back the segment with the file at this `path`, and kill the program itself too")
	set.IntVar(&o.Memory, "memory", memoryDefault, fmt.Sprintf("of messages in `MiB`, at least %d; with little of it senders wait for it", memoryMin))
	set.BoolVar(&o.Limits, "limits", false, "fail when a kill is settled later than the limit says")
	if err = set.Parse(args); err != nil {
		return o, err
	}
	switch {
	case set.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", set.Arg(0))
	case o.For <= 0 || o.For > forMax:
		err = fmt.Errorf("invalid value %v for flag -for: want more than 0, at most %v", o.For, forMax)
	case o.Workers < 1 || o.Workers > workersMax:
		err = fmt.Errorf("invalid value %d for flag -workers: want 1 to %d", o.Workers, workersMax)
	case o.Callers < 1 || o.Callers > callersMax:
		err = fmt.Errorf("invalid value %d for flag -callers: want 1 to %d", o.Callers, callersMax)
	case o.Memory < memoryMin || o.Memory > memoryMax:
		err = fmt.Errorf("invalid value %d for flag -memory: want %d to %d", o.Memory, memoryMin, memoryMax)
	case o.File != "":
		o.File, err = filepath.Abs(o.File)
	}
	if err != nil {
		_, _ = fmt.Fprintln(w, err)
		set.Usage()
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	return o, err
}
