// Command bytes is the layer under the actors, alone: two processes, one segment of shared memory, two mailboxes, raw
// bytes. It kills its peer while messages are queued, mends what the death left, starts another peer, and goes on with
// the queue intact. Each thing that it tells is checked; if one was not observed, it exits with status 1.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// patience bounds the whole story. It takes some milliseconds; the rest is for slow machines.
const patience = 8 * time.Second

func main() {
	beThePeer() // the peer is this program, executed again; it serves here and never returns
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns its exit status.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		_, _ = fmt.Fprintln(stderr, "usage: bytes")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := story{account: account{out: stdout}, stderr: stderr}
	s.tell(ctx)
	return s.status()
}
