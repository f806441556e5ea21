package supervisor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shmactor/shmactor/shm"
)

// process is one life of a worker process, from its start to its end.
type process struct {
	id     shm.ProcessID
	cmd    *exec.Cmd
	death  *os.File // closed: the worker ends
	stderr *tail
	dead   chan struct{} // closed when it has exited and was swept
	state  *os.ProcessState
}

// spawner starts processes from one thread, which lives as long as it: Linux sends the parent-death signal when the thread that
// started a process ends, not the process.
type spawner struct {
	orders chan func()
	done   chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{make(chan func()), make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range s.orders {
			f()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	err := make(chan error)
	s.orders <- func() { err <- cmd.Start() }
	return <-err
}

func (s *spawner) stop() {
	close(s.orders)
	<-s.done
}

// spawn starts a worker process. Its stderr goes to out line by line behind the worker's name, and the end of it is kept.
func (s *spawner) spawn(o orders, id shm.ProcessID, segment *os.File, env []string, out io.Writer) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	deathRead, deathWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = deathRead.Close() }()
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, deathWrite.Close())
	}
	defer func() { _ = errWrite.Close() }()
	cmd := exec.Command(exe)
	cmd.Args = []string{os.Args[0]}
	cmd.Env = append(append(os.Environ(), env...), workerEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = os.Stdout, errWrite
	cmd.ExtraFiles = []*os.File{segment, deathRead}
	cmd.SysProcAttr = processAttributes()
	if err := s.start(cmd); err != nil {
		return nil, errors.Join(err, deathWrite.Close(), errRead.Close())
	}
	p := &process{id: id, cmd: cmd, death: deathWrite, dead: make(chan struct{}), stderr: newTail()}
	go p.stderr.copy(errRead, out, o.Name)
	return p, nil
}

// wait returns when the process has exited. It does not wait for those that inherited its stderr.
func (p *process) wait() {
	_ = p.cmd.Wait() // how it ended is in the state
	p.state = p.cmd.ProcessState
	_ = p.death.Close()
	p.stderr.settle()
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }

// ended says how the process ended, in one line.
func (p *process) ended(name string) string {
	s := fmt.Sprintf("worker %q (pid %d): %v", name, p.cmd.Process.Pid, p.state)
	if line := p.stderr.reason(); line != "" && !signaled(p.state) {
		s += ": " + line
	}
	return s
}

func signaled(s *os.ProcessState) bool {
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled()
}

// tail keeps the end of what a worker writes to stderr.
type tail struct {
	mu    sync.Mutex
	lines []string
	bytes int
	eof   chan struct{}
}

const (
	tailBytes   = 32 << 10               // kept of a worker's stderr
	lineBytes   = 4 << 10                // longer lines are cut into pieces
	settleWait  = 100 * time.Millisecond // for the last lines of a process that has exited
	reasonLines = 12                     // of the tail, in an error
)

func newTail() *tail { return &tail{eof: make(chan struct{})} }

func (t *tail) copy(from *os.File, to io.Writer, name string) {
	defer close(t.eof)
	defer func() { _ = from.Close() }()
	r := bufio.NewReaderSize(from, lineBytes)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			text := string(bytes.TrimRight(line, "\n"))
			t.add(text)
			_, _ = fmt.Fprintf(to, "[%s] %s\n", name, text)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	for t.bytes += len(line); t.bytes > tailBytes; t.lines = t.lines[1:] {
		t.bytes -= len(t.lines[0])
	}
}

// settle waits a moment for the rest of the output. A grandchild may hold the pipe for ever.
func (t *tail) settle() {
	timer := time.NewTimer(settleWait)
	defer timer.Stop()
	select {
	case <-t.eof:
	case <-timer.C:
	}
}

// reason finds the line that says why a Go program ended.
func (t *tail) reason() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := ""
	for _, line := range t.lines {
		for _, mark := range []string{"panic: ", "fatal error: ", "shmactor: ", "runtime: goroutine stack exceeds"} {
			if strings.HasPrefix(line, mark) {
				return line
			}
		}
		if strings.TrimSpace(line) != "" {
			last = line
		}
	}
	return last
}

// text is the end of the output, for an error.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines[max(0, len(t.lines)-reasonLines):], "\n")
}
