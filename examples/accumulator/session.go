package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/shmactor/shmactor/actor"
)

// session reads orders, one a line, until "quit", the end of the input, or Ctrl-C. Meanwhile other programs can call its
// accumulator too, and shmtop shows it.
func session(ctx context.Context, p placement, stdin io.Reader, stdout io.Writer, logger *slog.Logger) (err error) {
	sys, err := p.start(ctx, systemName, logger)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // told to end before all had started; what had was stopped again
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	printf(stdout, "%s\nCommands: %s. Others: help, quit.\n", p.fate(workerPID(sys)), names())
	for input := readLines(ctx, stdin); ; {
		printf(stdout, "> ")
		select {
		case line, more := <-input.lines:
			if !more {
				printf(stdout, "\n")
				return input.err
			}
			words := strings.Fields(line)
			if len(words) == 1 && (words[0] == "quit" || words[0] == "exit") {
				return nil
			}
			printf(stdout, "%s", answer(ctx, theAccumulator(sys), words))
		case <-ctx.Done(): // Ctrl-C is a way to leave, not an error
			printf(stdout, "\n")
			return nil
		case <-sys.Done(): // by itself: a supervisor has given up
			printf(stdout, "\n")
			return sys.Err()
		}
	}
}

// fate says what becomes of the totals, and how to try it. pid is the worker process, if there is one.
func (p placement) fate(pid int) string {
	where, how := fmt.Sprintf("this process, %d", os.Getpid()), "stumble"
	if p.workers {
		where, how = fmt.Sprintf("worker process %d", pid), fmt.Sprintf("stumble, or kill -KILL %d", pid)
	}
	end := "lost"
	if p.keep {
		end = "kept"
	}
	return fmt.Sprintf("The accumulator lives in %s. Its totals are %s when it is restarted; try it: %s.", where, end, how)
}

// answer is what a session says to one line.
func answer(ctx context.Context, to actor.Ref[*Accumulator], words []string) string {
	switch {
	case len(words) == 0:
		return ""
	case len(words) == 1 && words[0] == "help":
		return help()
	}
	o, err := parseOrder(words)
	if err != nil {
		return fmt.Sprintf("error: %v\n", err)
	}
	result, err := o.on(ctx, to)
	switch {
	case err != nil:
		return fmt.Sprintf("error: %v\n", err)
	case result == "":
		return "ok\n"
	}
	return result + "\n"
}

// input is read on a goroutine of its own: a read cannot be called back when something else happens first.
type input struct {
	lines chan string
	err   error // once lines is closed: why there are no more, nil at the end of the input
}

func readLines(ctx context.Context, from io.Reader) *input {
	in := &input{lines: make(chan string)}
	go func() {
		defer close(in.lines)
		scanner := bufio.NewScanner(from)
		for scanner.Scan() {
			select {
			case in.lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
		in.err = scanner.Err()
	}()
	return in
}
