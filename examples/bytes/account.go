package main

import (
	"fmt"
	"io"
)

// account prints what was observed, and remembers if something was not.
type account struct {
	out    io.Writer
	steps  int
	missed int
}

// step begins the next step.
func (a *account) step(title string) {
	a.steps++
	a.print("%d. %s\n", a.steps, title)
}

// saw tells one observation; ok says whether it was made.
func (a *account) saw(ok bool, format string, args ...any) {
	mark := "ok"
	if !ok {
		mark = "NOT SEEN:"
		a.missed++
	}
	a.print("   %s  %s\n", mark, fmt.Sprintf(format, args...))
}

// failed tells why the story ends here.
func (a *account) failed(err error) {
	a.missed++
	a.print("   FAILED:  %v\n", err)
}

// status is the program's exit status.
func (a *account) status() int {
	if a.missed > 0 {
		a.print("%d of these observations failed.\n", a.missed)
		return 1
	}
	a.print("All of this was observed.\n")
	return 0
}

func (a *account) print(format string, args ...any) {
	_, _ = fmt.Fprintf(a.out, format, args...) // who does not read the account still gets the exit status
}
