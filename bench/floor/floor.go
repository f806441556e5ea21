// Package floor is what a call to another process costs at least on this machine: bare exchanges of bytes with a peer process, without
// names, types, queues or supervision. It imports nothing of this module, so that nothing of it can be the reason for a figure.
package floor

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Peer is another process that sends back what it gets. One goroutine at a time uses it.
type Peer interface {
	// Call sends req and reads the reply, which is as long, into res.
	Call(req, res []byte) error
	// PID is the other process's.
	PID() int
	// Close ends the other process and waits for it.
	Close() error
}

// role tells a process that it is a peer: the kind, a colon, and the largest message.
const role = "SHMACTOR_BENCH_FLOOR"

// Main serves and never returns in a process that is a peer; in others it returns at once.
func Main() {
	kind, text, ok := strings.Cut(os.Getenv(role), ":")
	if !ok {
		return
	}
	most, err := strconv.Atoi(text)
	if err == nil {
		go func() { // the peer of a dead process ends with it
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		switch kind {
		case kindShm:
			err = serveShm(inherited, most)
		case kindSocket:
			err = serveSocket(inherited, most)
		default:
			err = fmt.Errorf("unknown kind %q", kind)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	kindShm    = "shm"
	kindSocket = "socket"
	inherited  = 3 // the descriptor that a peer is given
)

// child is the other process.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// start starts this program again as a peer that has f.
func start(kind string, most int, f *os.File) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", role, kind, most))
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd, stdin}, nil
}

// PID is the other process's.
func (c *child) PID() int { return c.cmd.Process.Pid }

func (c *child) end() error {
	_ = c.stdin.Close()
	return c.cmd.Wait()
}
