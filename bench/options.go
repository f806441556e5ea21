package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// options are what the command line asks for.
type options struct {
	scenarios  []string
	contexts   []string
	placements []string // of calls to other processes
	effort     effort
	quick      bool
	json       string // file, empty for none
}

const usage = `usage: go run ./bench [flags]

Measures calls of two sizes, and of plain bytes, as a direct call, to an actor in a goroutine, and to an actor in a worker process, beside
what a mutex, a channel, a unix socket and bare shared memory cost.

`

// parseOptions reads the command line. What is wrong with it was written to w when it returns an error.
func parseOptions(args []string, w io.Writer) (options, error) {
	o := options{scenarios: scenarios, contexts: contexts, placements: placements, effort: fullEffort}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(w)
	set.Usage = func() {
		_, _ = fmt.Fprint(w, usage)
		set.PrintDefaults()
	}
	list := func(into *[]string, name string, known []string, what string) {
		set.Func(name, fmt.Sprintf("comma-separated `list` of %s: %s (default all)", what, strings.Join(known, ", ")), func(text string) (err error) {
			*into, err = parseList(text, known)
			return err
		})
	}
	list(&o.scenarios, "scenario", scenarios, "scenarios")
	list(&o.contexts, "context", contexts, "contexts")
	list(&o.placements, "placement", placements, "placements of calls to another process")
	set.BoolVar(&o.quick, "quick", false, "end within 20 s: fewer and shorter rounds")
	set.StringVar(&o.json, "json", "", "write the rows to this `file`, too")
	calls := set.Int("n", 0, "`calls` in each pass of a round, however long they take (default: as many as fit into the time of a pass)")
	rounds := set.Int("rounds", 0, fmt.Sprintf("`rounds` to take the medians of (default %d, quick %d)", fullEffort.rounds, quickEffort.rounds))
	if err := set.Parse(args); err != nil {
		return o, err
	}
	fail := func(format string, args ...any) (options, error) {
		err := fmt.Errorf(format, args...)
		_, _ = fmt.Fprintln(w, err)
		set.Usage()
		return o, err
	}
	if set.NArg() > 0 {
		return fail("unexpected argument %q", set.Arg(0))
	}
	if o.quick {
		o.effort = quickEffort
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case given["n"] && *calls < 1:
		return fail("invalid value %d for flag -n: want at least 1", *calls)
	case given["rounds"] && *rounds < 1:
		return fail("invalid value %d for flag -rounds: want at least 1", *rounds)
	case given["rounds"]:
		o.effort.rounds = *rounds
	}
	o.effort.calls = *calls
	return o, nil
}

// parseList reads a list of known words. They come back in the order of known, each once.
func parseList(text string, known []string) (list []string, err error) {
	given := strings.Split(text, ",")
	for _, word := range given {
		if !slices.Contains(known, word) {
			return nil, fmt.Errorf("unknown word %q, want any of %s", word, strings.Join(known, ", "))
		}
	}
	for _, word := range known {
		if slices.Contains(given, word) {
			list = append(list, word)
		}
	}
	return list, nil
}
