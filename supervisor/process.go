package supervisor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

	stopping atomic.Bool // it was told to end
	killed   atomic.Bool
}

// spawner starts processes from one thread, which lives as long as it: Linux sends the parent-death signal when the thread that
// started a process ends, not the process.
type spawner struct {
	orders chan func()
	done   chan struct{}

	mu      sync.Mutex
	outputs map[*tail]struct{} // that are still being read
}

func newSpawner() *spawner {
	s := &spawner{orders: make(chan func()), done: make(chan struct{}), outputs: map[*tail]struct{}{}}
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

// stop is called when all processes have exited. What inherited their stderr may go on, and finds nobody who reads it.
func (s *spawner) stop() {
	close(s.orders)
	<-s.done
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.outputs))
	s.mu.Unlock()
	timer := time.NewTimer(settleWait)
	defer timer.Stop()
	for _, t := range left {
		select {
		case <-t.eof:
		case <-timer.C:
			timer.Reset(0)
		}
		_ = t.from.Close()
	}
}

// read copies a worker's stderr until its end.
func (s *spawner) read(t *tail, to io.Writer, name string) {
	s.mu.Lock()
	s.outputs[t] = struct{}{}
	s.mu.Unlock()
	go func() {
		t.copy(to, name)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.outputs, t)
	}()
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
	p := &process{id: id, cmd: cmd, death: deathWrite, dead: make(chan struct{}), stderr: newTail(errRead)}
	s.read(p.stderr, out, o.Name)
	return p, nil
}

// wait returns when the process has exited. It does not wait for those that inherited its stderr, but a moment for its last
// words, if they matter.
func (p *process) wait() {
	_ = p.cmd.Wait() // how it ended is in the state
	p.state = p.cmd.ProcessState
	_ = p.death.Close()
	if !signaled(p.state) {
		p.stderr.settle()
	}
}

func (p *process) kill() {
	p.killed.Store(true)
	_ = p.cmd.Process.Kill()
}

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
	from *os.File
	eof  chan struct{}

	mu    sync.Mutex
	lines []string
	bytes int    // of the lines, each with its end
	cause string // the last line that says why a Go program ended
}

const (
	tailBytes   = 32 << 10               // kept of a worker's stderr
	lineBytes   = 4 << 10                // longer lines are cut into pieces
	settleWait  = 100 * time.Millisecond // for the last lines of a process that has exited
	reasonLines = 12                     // of the tail, in an error
)

// causes begin the line that says why a Go program ended. What follows it may be longer than what is kept.
var causes = []string{"panic: ", "fatal error: ", "shmactor: ", "runtime: goroutine stack exceeds"}

func newTail(from *os.File) *tail { return &tail{from: from, eof: make(chan struct{})} }

func (t *tail) copy(to io.Writer, name string) {
	defer close(t.eof)
	defer func() { _ = t.from.Close() }()
	r := bufio.NewReaderSize(t.from, lineBytes)
	whole := true // the last piece ended a line
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			text := string(bytes.TrimRight(line, "\n"))
			t.add(text, whole)
			whole = line[len(line)-1] == '\n'
			_, _ = fmt.Fprintf(to, "[%s] %s\n", name, text)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (t *tail) add(line string, begins bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if begins && slices.ContainsFunc(causes, func(c string) bool { return strings.HasPrefix(line, c) }) {
		t.cause = line
	}
	t.lines = append(t.lines, line)
	for t.bytes += len(line) + 1; t.bytes > tailBytes; t.lines = t.lines[1:] {
		t.bytes -= len(t.lines[0]) + 1
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

// reason is the line that says why a Go program ended, or else its last words.
func (t *tail) reason() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause != "" {
		return t.cause
	}
	for _, line := range slices.Backward(t.lines) {
		if strings.TrimSpace(line) != "" {
			return line
		}
	}
	return ""
}

// text is the end of the output, for an error.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines[max(0, len(t.lines)-reasonLines):], "\n")
}
