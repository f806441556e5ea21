// Command quickstart starts actors in this process and in worker processes, kills a worker while it has work to do, and
// tells what it observed. Each thing that it tells is checked; if one was not observed, it exits with status 1.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shmactor/shmactor/supervisor"
)

// patience bounds the whole story. It takes some milliseconds; the rest is for slow machines.
const patience = 8 * time.Second

func main() {
	supervisor.Main() // a worker process serves here and never returns
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns its exit status.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		_, _ = fmt.Fprintln(stderr, "usage: quickstart")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := story{account: account{out: stdout}, heard: make(chan string, 1)}
	s.tell(ctx)
	return s.status()
}
