package mailbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// A party is a process of a test that is told by small orders what to do with mailboxes. It lives here or in a process of
// its own: the same agent carries the orders out.

// command is one operation.
type command struct {
	ID     int
	Op     string
	Box    string
	Data   []byte
	N      int
	Size   int
	Msg    int // which message in the agent's hands
	Wait   time.Duration
	Token  Token
	Reason shm.Reason
	Bits   uint64
	Most   int // attempts of a receiver
}

// answer is its outcome.
type answer struct {
	ID    int
	Fault *fault
	Data  []byte
	Msg   int
	Call  bool
	From  shm.ProcessID
	Why   shm.Reason
	N     int
	Bits  uint64
	Token Token
	Stats stats
}

// fault is an error that crosses.
type fault struct {
	Text  string
	Codes []int // which of the sentinels it is
}

func (f *fault) Error() string { return f.Text }

// Is reports whether the error was that sentinel where it happened.
func (f *fault) Is(target error) bool {
	return slices.ContainsFunc(f.Codes, func(i int) bool { return sentinels[i] == target })
}

// sentinels are the errors that tests ask for.
var sentinels = []error{
	ErrMailboxFull, ErrStopped, ErrCrashed, ErrWorkerDied, ErrSystemEnded, ErrIncompatible, ErrReplied, ErrValueLost, ErrCycle,
	shm.ErrNoSpace, shm.ErrTooLarge, shm.ErrCorrupt, shm.ErrNotFound, shm.ErrNameTaken, context.DeadlineExceeded, context.Canceled,
	errNothing, errExpired,
}

// errDeadline is what the end of the time that an order has gives.
var errDeadline = context.DeadlineExceeded

// errNothing is what a party says that was told to receive and got nothing.
var errNothing = errors.New("nothing there")

func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	f := &fault{Text: err.Error()}
	for i, s := range sentinels {
		if errors.Is(err, s) {
			f.Codes = append(f.Codes, i)
		}
	}
	return f
}

func (a answer) err() error {
	if a.Fault == nil {
		return nil
	}
	return a.Fault
}

// party is the test's end.
type party struct {
	t     *testing.T
	id    shm.ProcessID
	do    func(command) answer
	hub   *Hub      // of a peer in this process
	cmd   *exec.Cmd // of one that is a process
	stop  func()    // in order
	gone  bool
	swept bool
}

// leave ends the party in order, if it is still there.
func (p *party) leave() {
	if !p.gone {
		p.gone = true
		p.stop()
	}
}

// ask carries an order out, and fails the test if that is refused.
func (p *party) ask(o command) answer {
	p.t.Helper()
	a := p.do(o)
	if a.Fault != nil {
		p.t.Fatalf("%s %q: %v", o.Op, o.Box, a.err())
	}
	return a
}

// try carries an order out and returns its error.
func (p *party) try(o command) error { return p.do(o).err() }

// later carries an order out beside the test.
func (p *party) later(o command) <-chan answer {
	done := make(chan answer, 1)
	go func() { done <- p.do(o) }()
	return done
}

// soon waits for an answer.
func soon(t testing.TB, what string, done <-chan answer) answer {
	t.Helper()
	select {
	case a := <-done:
		return a
	case <-within(t).Done():
		t.Fatalf("waited in vain: %s", what)
		return answer{}
	}
}

func (p *party) send(box, text string) {
	p.t.Helper()
	p.ask(command{Op: "send", Box: box, Data: []byte(text)})
}

func (p *party) call(box, text string) <-chan answer {
	return p.later(command{Op: "call", Box: box, Data: []byte(text)})
}

// callAndGiveUp makes a call that meanwhile is on its way when its caller gives it up.
func (p *party) callAndGiveUp(box, text string, meanwhile func()) {
	p.t.Helper()
	done := p.later(command{Op: "call", Box: box, Data: []byte(text), Msg: 1})
	meanwhile()
	p.ask(command{Op: "cancel", Msg: 1})
	want(p.t, "a call that was given up", soon(p.t, "the caller gives up", done).err(), context.Canceled)
}

// message is one that a party has in its hands.
type message struct {
	p *party
	answer
}

// receive takes the next message of a mailbox.
func (p *party) receive(box string) message {
	p.t.Helper()
	return message{p, p.ask(command{Op: "receive", Box: box, Wait: limit})}
}

// wantText receives a message, fails the test unless it says that, and returns it.
func (p *party) wantText(box, text string) message {
	p.t.Helper()
	m := p.receive(box)
	if string(m.Data) != text {
		p.t.Fatalf("received %.60q, want %.60q", m.Data, text)
	}
	return m
}

func (m message) try(o command) error {
	o.Msg = m.Msg
	return m.p.try(o)
}

func (m message) must(o command) {
	m.p.t.Helper()
	o.Msg = m.Msg
	m.p.ask(o)
}

func (m message) reply(text string) { m.p.t.Helper(); m.must(command{Op: "reply", Data: []byte(text)}) }
func (m message) release()          { m.p.t.Helper(); m.must(command{Op: "release"}) }

func (m message) token() Token {
	m.p.t.Helper()
	return m.p.ask(command{Op: "defer", Msg: m.Msg}).Token
}

// kill ends a process as a crash would: it says nothing to anybody.
func (p *party) kill() {
	p.t.Helper()
	must(p.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	p.gone = true
}

// startParty starts a process that plays a party.
func startParty(t *testing.T, seg *shm.Segment, id shm.ProcessID) *party {
	t.Helper()
	cmd := testkit.Command(t, "party", strconv.Itoa(int(id)))
	cmd.ExtraFiles = []*os.File{seg.File()}
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	r := &remote{out: json.NewEncoder(stdin), waiting: map[int]chan answer{}, ended: make(chan struct{})}
	go r.read(stdout)
	p := &party{t: t, id: id, do: r.do, cmd: cmd, stop: func() {
		_ = stdin.Close()
		timer := time.AfterFunc(testkit.Scale(limit), func() { _ = cmd.Process.Kill() })
		<-r.ended
		timer.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("a party: %v", err)
		}
	}}
	t.Cleanup(p.leave) // before its process is killed
	p.ask(command{Op: "hello"})
	return p
}

// remote sends orders to a process and gives its answers to who asked.
type remote struct {
	mu      sync.Mutex
	out     *json.Encoder
	last    int
	waiting map[int]chan answer
	ended   chan struct{} // closed when no answer can come any more
}

func (r *remote) do(o command) answer {
	done := make(chan answer, 1)
	r.mu.Lock()
	r.last++
	o.ID = r.last
	r.waiting[o.ID] = done
	err := r.out.Encode(o)
	r.mu.Unlock()
	if err != nil {
		return answer{Fault: faultOf(fmt.Errorf("the party is gone: %w", err))}
	}
	select {
	case a := <-done:
		return a
	case <-r.ended:
		return answer{Fault: &fault{Text: "the party is gone"}}
	}
}

func (r *remote) read(in io.Reader) {
	defer close(r.ended)
	for dec := json.NewDecoder(bufio.NewReader(in)); ; {
		var a answer
		if dec.Decode(&a) != nil {
			return
		}
		r.mu.Lock()
		r.waiting[a.ID] <- a
		delete(r.waiting, a.ID)
		r.mu.Unlock()
	}
}

// playParty is the process: it reads orders until its input ends, and carries out each on a goroutine of its own.
func playParty() {
	entry, _ := strconv.ParseUint(os.Args[1], 10, 32)
	seg, err := shm.AttachFile(os.NewFile(3, "segment"))
	if err == nil {
		err = seg.Enter(shm.ProcessID(entry))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	hub := joinAs(seg, shm.ProcessID(entry).Index())
	a := newAgent(hub)
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	for dec := json.NewDecoder(os.Stdin); ; {
		var o command
		if dec.Decode(&o) != nil {
			break
		}
		go func() {
			done := a.do(o)
			done.ID = o.ID
			mu.Lock()
			defer mu.Unlock()
			_ = out.Encode(done)
		}()
	}
	hub.Close(ErrSystemEnded)
	_ = seg.Close()
}
