package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// session reads calculations, one a line, and prints their results, until "quit", the end of the input, or Ctrl-C.
func session(ctx context.Context, workers bool, stdin io.Reader, stdout io.Writer) (err error) {
	sys, err := start(ctx, systemName, workers)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // told to end before all had started; what had was stopped again
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	calculators := newRota(sys)
	printf(stdout, "Operations: %s. Others: help, quit.\n", names())
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
			printf(stdout, "%s", answer(ctx, calculators, words))
		case <-ctx.Done(): // Ctrl-C is a way to leave, not an error
			printf(stdout, "\n")
			return nil
		case <-sys.Done(): // by itself: a supervisor has given up
			printf(stdout, "\n")
			return sys.Err()
		}
	}
}

// answer is what a session says to one line.
func answer(ctx context.Context, calculators *rota, words []string) string {
	switch {
	case len(words) == 0:
		return ""
	case len(words) == 1 && words[0] == "help":
		return help()
	}
	c, err := parseCalculation(words)
	if err != nil {
		return fmt.Sprintf("error: %v\n", err)
	}
	result, err := c.on(ctx, calculators.next())
	if err != nil {
		return fmt.Sprintf("error: %v\n", err)
	}
	return text(result) + "\n"
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
