package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// child is the peer as the process that started it sees it.
type child struct {
	entry  shm.ProcessID // which process of the segment it is
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{} // closed when the kernel has said so, and the state can be read
}

// startChild executes this program again as the peer.
func startChild(seg *shm.Segment, stderr io.Writer) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	entry, err := seg.Grant("peer")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), entryVariable+"="+strconv.FormatUint(uint64(entry), 10))
	cmd.ExtraFiles = []*os.File{seg.File()} // the first of them is descriptor 3
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	c := &child{entry: entry, cmd: cmd, stdin: stdin, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		close(c.exited)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill kills the peer and mends what its death leaves in the segment.
func (c *child) kill(hub *mailbox.Hub) (mailbox.Swept, error) {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return mailbox.Swept{}, err
	}
	return c.bury(hub)
}

// dismiss lets the peer end by itself.
func (c *child) dismiss(ctx context.Context, hub *mailbox.Hub) (mailbox.Swept, error) {
	_ = c.stdin.Close()
	select {
	case <-c.exited:
		return c.bury(hub)
	case <-ctx.Done():
		swept, err := c.kill(hub)
		return swept, errors.Join(ctx.Err(), err)
	}
}

// bury waits until the kernel says that the process has exited, and sweeps then: never while it could still write. Also a
// process that ended in order is swept, since that is how its entry becomes free.
func (c *child) bury(hub *mailbox.Hub) (mailbox.Swept, error) {
	<-c.exited
	return hub.Sweep(c.entry, fmt.Sprintf("the peer (pid %d): %v", c.pid(), c.cmd.ProcessState))
}
