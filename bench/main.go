// Command bench measures what a call to an actor costs beside a plain function call: two integers (small), a document of 31 KB
// (large) and as many bytes (large-bytes), each called directly, under a mutex, through a channel, in an actor of this process
// (goroutine), and in an actor of a worker process (worker); beside them, from the same run, what the least of each kind costs here
// (the floors).
//
//	go run ./bench                        all cases, about two minutes
//	go run ./bench -quick                 all cases, within 20 s
//	go run ./bench -scenario small -context worker -placement same,cross -json out.json
//
// Rows of calls to another process say where the two ran, since that decides more than anything else: same is with all threads
// pinned to one CPU, cross with each process on a CPU of its own, default as the system likes. It exits with status 1 when
// a call failed or a reply was wrong, and 2 when it does not understand its command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shmactor/shmactor/bench/floor"
	"github.com/shmactor/shmactor/supervisor"
)

func main() {
	floor.Main()
	supervisor.Main()
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

const (
	exitFailed = 1
	exitMisuse = 2
)

// execute is the whole program; it returns the exit status.
func execute(args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitMisuse
	}
	if o.json != "" {
		// Said now, not after everything was measured.
		if info, err := os.Stat(filepath.Dir(o.json)); err != nil || !info.IsDir() {
			_, _ = fmt.Fprintf(stderr, "bench: -json %s: there is no folder %s\n", o.json, filepath.Dir(o.json))
			return exitFailed
		}
	}
	r, err := measure(o, strings.Join(append([]string{"go run ./bench"}, args...), " "), stderr)
	if err == nil {
		err = r.write(stdout)
	}
	if err == nil && o.json != "" {
		err = r.writeJSON(o.json)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return 0
}

// measure runs the chosen cases. It reports its progress to w.
func measure(o options, command string, w io.Writer) (rep *report, err error) {
	said := func(format string, args ...any) { _, _ = fmt.Fprintf(w, "bench: "+format+"\n", args...) }
	contexts := o.contexts
	rig, err := newRig(context.Background(), contexts)
	if errors.Is(err, errors.ErrUnsupported) {
		said("calls to other processes are impossible here: %v", err)
		contexts = slices.DeleteFunc(slices.Clone(contexts), elsewhere)
		rig, err = newRig(context.Background(), contexts)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	p := newPlacer()
	rep = &report{machine: describeMachine(o, p, command)}
	var runs []*run
	for _, s := range o.scenarios {
		for _, c := range contexts {
			subject := rig.subject(s, c)
			if subject == nil {
				continue
			}
			for _, place := range o.placementsOf(c) {
				if err := p.possible(place); err != nil {
					rep.note("%s %s %v.", s, c, err)
					continue
				}
				runs = append(runs, &run{scenario: s, context: c, placement: place, subject: subject, peer: rig.pids[c]})
			}
		}
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("nothing to measure: %s", strings.Join(rep.notes, " "))
	}
	if err := errors.Join(o.effort.measureAll(runs, p, said), p.place(placedByDefault, 0)); err != nil {
		return nil, err
	}
	rep.rows = rowsOf(runs)
	rep.explain(o, runs)
	return rep, nil
}

// placementsOf are the placements of a context: only calls to another process have any but the default.
func (o options) placementsOf(context string) []string {
	if elsewhere(context) {
		return o.placements
	}
	return []string{placedByDefault}
}
