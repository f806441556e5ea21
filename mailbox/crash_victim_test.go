//go:build shmactor_points

package mailbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// victim is the survivor's end of the actor.
type victim struct {
	target  target
	cmd     *exec.Cmd
	in      io.WriteCloser
	stderr  bytes.Buffer
	at      chan struct{} // closed when it has come to its point
	gone    chan struct{} // closed when it has ended
	halted  chan struct{} // closed when nothing more comes of it: it has ended, or is being killed
	halt    sync.Once
	point   string // where it stopped
	reached []int  // all points that it reached, if it came to its end
	ended   bool
	said    chan string
}

// start starts the actor.
func (c *crash) start(entry shm.ProcessID) *victim { return c.startAs(c.scenario, c.target, entry) }

func (c *crash) startAs(s *crashScenario, at target, entry shm.ProcessID) *victim {
	v := &victim{target: at, at: make(chan struct{}), gone: make(chan struct{}), halted: make(chan struct{}), said: make(chan string, 16)}
	v.cmd = testkit.Command(c.t, "actor", s.name, at.point, strconv.Itoa(at.times), strconv.FormatBool(at.pause), c.list,
		strconv.Itoa(int(entry)), c.path, at.ghost, strconv.Itoa(at.ghostTimes))
	v.cmd.Env = append(v.cmd.Env, "GOMAXPROCS=2", "GOGC=off")
	v.cmd.Stderr = &v.stderr
	if c.seg != nil {
		v.cmd.ExtraFiles = []*os.File{c.seg.File()}
	}
	var err error
	v.in, err = v.cmd.StdinPipe()
	c.must("stdin", err)
	out, err := v.cmd.StdoutPipe()
	c.must("stdout", err)
	c.must("start", v.cmd.Start())
	c.victims = append(c.victims, v)
	go func() {
		defer close(v.gone)
		defer v.halt.Do(func() { close(v.halted) })
		in := bufio.NewReader(out)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			c.heard(v, strings.TrimSuffix(line, "\n"))
		}
		c.exited(v, v.cmd.Wait())
	}()
	return v
}

// heard takes a line that the actor wrote before or after what it says.
func (c *crash) heard(v *victim, line string) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "at":
		v.point = rest
		close(v.at)
		if !v.target.pause {
			v.halt.Do(func() { close(v.halted) })
		}
	case "end":
		v.ended = true
		for _, n := range strings.Fields(rest) {
			i, _ := strconv.Atoi(n)
			v.reached = append(v.reached, i)
		}
	case "wrong":
		c.errorf("the actor: %s", rest)
	case "sent":
		c.note(rest, func(f *fate) { f.accepted = true })
	case "took":
		c.note(rest, func(f *fate) { f.took = append(f.took, "the actor") })
	case "done":
		c.note(rest, func(f *fate) { f.done = true })
	case "buried":
		c.note(rest, func(f *fate) { f.buried = true })
	case "replied":
		c.note(rest, func(f *fate) { f.call, f.replied = true, true })
	case "called":
		c.note(rest, func(f *fate) { f.call = true })
	default:
		v.said <- line
	}
}

// exited says what is wrong with how the actor ended.
func (c *crash) exited(v *victim, err error) {
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	switch {
	case v.point != "" && !v.target.pause && killed:
	case v.ended && (err == nil || v.target.point == prepare):
	default:
		c.errorf("the actor ended with %v\n%s", err, v.stderr.String())
	}
}

// over reports whether nothing more comes of the actor.
func (v *victim) over() bool {
	select {
	case <-v.halted:
		return true
	default:
		return false
	}
}

// tell writes a line to the actor, which may be dead.
func (v *victim) tell(format string, args ...any) { fmt.Fprintf(v.in, format+"\n", args...) }

// hear waits for a line of the actor that is no account; it is false when the actor came to its point instead.
func (c *crash) hear() (string, bool) {
	select {
	case line := <-c.actor.said:
		return line, true
	case <-c.actor.halted:
	case <-c.ctx.Done():
		panic(abort{"the actor says nothing"})
	}
	return "", false
}
