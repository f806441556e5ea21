package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// playProgram is the program that the tests look at: it owns a segment with a mailbox that is busy, one that is full and one
// where nothing happens, until its input ends.
func playProgram() {
	seg, err := shm.Create(shm.Options{Name: os.Args[1], Mailboxes: 16, MessageBytes: 2 << 20})
	check(err)
	entry, err := seg.Publish("")
	check(err)
	hub := mailbox.Join(seg, 0)
	busy, err := hub.Create("orders/book", 64, 1)
	check(err)
	full, err := hub.Create("audit/log", 4, 2)
	check(err)
	_, err = hub.Create("two words", 8, 3)
	check(err)
	go func() {
		r := busy.Receiver()
		for {
			msg, _, err := r.Receive(context.Background())
			if err != nil {
				return
			}
			r.Counted(mailbox.Handled)
			msg.Release()
		}
	}()
	go func() {
		tick := time.NewTicker(100 * time.Microsecond)
		for range tick.C {
			if busy.SendBytes(context.Background(), []byte("order")) != nil {
				return
			}
		}
	}()
	go func() {
		for full.SendBytes(context.Background(), []byte("line")) == nil {
		}
	}()
	fmt.Println(os.Getpid())
	_, err = io.Copy(io.Discard, os.Stdin)
	check(err)
	seg.End()
	hub.Close(mailbox.ErrSystemEnded)
	check(entry.Withdraw())
	check(seg.Close())
}

// check ends a role that cannot go on.
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// running is a program that runs.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	input io.Closer
	pid   int
	name  string
}

func startProgram(t *testing.T) *running {
	t.Helper()
	p := &running{t: t, name: fmt.Sprintf("looked-at-%d", os.Getpid())}
	p.cmd = testkit.Command(t, "program", p.name)
	p.cmd.Stderr = t.Output()
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.input = stdin
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if p.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	return p
}

// end lets the program end in order.
func (p *running) end() {
	p.t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.input.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the program: %v", err)
	}
}

// signal sends it a signal.
func (p *running) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// shmtop runs shmtop and returns what it printed and its exit status.
func shmtop(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := testkit.Command(t, "shmtop", args...)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), complaint.String(), cmd.ProcessState.ExitCode()
}
