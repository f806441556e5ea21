// Command storm kills and stops worker processes at random while 64 callers use their actors, and then accounts for every message.
//
//	go run ./bench/storm -for 20s               kill and stop workers
//	go run ./bench/storm -for 20s -file PATH    the same with a file backing, and the program itself is killed and started again
//	go run ./bench/storm -for 20s -seed 7 -workers 4 -callers 64 -limits
//
// The seed fixes what is chosen at random, not how the processes interleave.
//
// # The ledger
//
// What happens to a message is entered into a word of a file that all processes map, by atomic operations, so that it is
// known also when the process is killed before its next instruction: its sender enters that it is about to send it, and
// what came of it; a handler, that it has begun and that it is done; who takes dead letters out, that it is one. Each is
// counted, so that what happens twice is seen.
//
// # The accounts
//
// A sender that lives learns one of four outcomes, and each message has to fit its outcome:
//
//	replied    a call with a reply: begun once, done once, no dead letter
//	failed     a call that ended with ErrWorkerDied, ErrCrashed or the end of its context, when it may have been handled: begun at
//	           most once, done at most once; with ErrCrashed begun and not done, unless the actor that
//	           crashed had deferred the answer and another was giving it; no dead letter. Also one with ErrStopped whose answer
//	           was deferred: the actor that did may be stopped for good
//	accepted   a one-way message that Send took: either handled, begun once and done once and no dead letter; or one dead letter,
//	           begun at most once. It may be done besides only if the reason is the death of its worker: the handler had
//	           returned, and the worker died before it let the message go
//	refused    any other error: never begun, no dead letter. For a call ErrSystemEnded and ErrNoSpace are none of these, since
//	           the system may end, and the memory for the reply may be missing, after it began: it failed
//
// A message whose sender was killed before it learned an outcome is unknown: begun at most once, done at most once, one dead letter
// at most. A message that has begun and is not done is a call that failed, a dead letter whose reason is a death, a crash or an
// error of the handler, or unknown. So with accepted calls being those that were not refused:
//
//	accepted = handled (replied, or one-way without a dead letter) + failed at the caller + dead letters
//
// Besides, the messages of a sender reach each actor in the order they were sent, also across lives of the actor and, with a file, of the
// program; every payload and every reply is whole; no caller waits for ever; the system counts no fewer dead letters than there
// are, and as many are missing as it dropped for want of memory (-memory); and in
// the end there is nothing left: no frame, descriptor, process, zombie, goroutine or file, the segment passes
// mailbox.Check, and the memory has not grown.
//
// The program is not killed between taking dead letters out of the system and entering them into the ledger: who takes them
// owns them.
//
// The callers are in the program, in two more programs that attach to it and are killed too, and in the handlers. Beside the actors that
// stay there are three that are spawned and stopped all the time.
//
// Only processes that a storm started are killed: the command its own child, and that child its workers, through a handle that is
// opened before it is checked whose child the process is.
//
// # The result
//
// It prints how long it took from SIGKILL until every caller that the worker owed an answer has it and the worker's frames are
// free, beside a limit that is enforced with -limits, and in the end one line:
//
//	storm: for=20s kills=1602 stops=410 parent_kills=0 accepted=… handled=… failed=… dead=… violations=0
//
// It exits with status 1 when something was violated, having said what, and 2 when it does not understand its command line.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/shmactor/shmactor/supervisor"
)

func main() {
	supervisor.Main()
	playLife()
	playClient()
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
	_, _ = fmt.Fprintf(stdout, "seed %d, %d workers, %d callers\n", o.Seed, o.Workers, o.Callers)
	sum, err := run(o, stderr)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "storm:", err)
		return exitFailed
	}
	sum.write(stdout)
	if len(sum.violations) > 0 {
		return exitFailed
	}
	return 0
}
