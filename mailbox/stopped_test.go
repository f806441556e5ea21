package mailbox

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// stopProcess stops a party's process as a debugger would, until cont. It returns when none of its threads runs.
func (p *party) stopProcess() {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(syscall.SIGSTOP))
	testkit.Eventually(p.t, limit, "no thread of the process runs", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if _, rest, _ := strings.Cut(string(stat), ") "); err == nil && !strings.HasPrefix(rest, "T") {
				return false
			}
		}
		return err == nil && len(threads) > 0
	})
}

func (p *party) cont() { must(p.t, p.cmd.Process.Signal(syscall.SIGCONT)) }

// ofProcess are the owner words that name a process, by frame.
func (w *world) ofProcess(id shm.ProcessID) map[uint32]shm.Owner {
	words := map[uint32]shm.Owner{}
	w.seg.EachFrame(func(f shm.Frame, o shm.Owner) {
		if o.State() != shm.Attached && o.Holder() == id {
			words[f.Index()] = o
		}
	})
	return words
}

// A process that is stopped is alive: nothing of it is swept when others die, its callers end when they want to, and when it goes
// on it ends what it had in its hands.
func TestStoppedProcessKeepsWhatIsItsOwn(t *testing.T) {
	w := newWorld(t, asProcess, smallOptions())
	w.withLetters(64)
	p, q := w.peer(), w.peer()
	w.create("box", 8)
	in := w.create("in", 8)
	ctx, giveUp := context.WithCancel(within(t))
	box := w.boxes["box"]
	given, kept := make(chan error, 2), w.me.call("box", "kept")
	first := p.wantText("box", "kept")
	for _, text := range []string{"given up", "given up when deferred"} {
		go func() { _, err := box.CallBytes(ctx, []byte(text)); given <- err }()
		testkit.Eventually(t, limit, "it is queued", func() bool { return box.rec[recTail].Load() > box.rec[recHead].Load() })
		m := p.receive("box")
		if text != string(m.Data) {
			t.Fatalf("received %q, want %q", m.Data, text)
		}
		if text == "given up" {
			defer func() {
				want(t, "answering who gave up", m.try(command{Op: "reply", Data: []byte("late")}), ErrReplied)
			}()
			continue
		}
		m.token()
	}
	deferred := w.me.call("box", "deferred")
	token := p.wantText("box", "deferred").token()
	w.me.send("box", "one way")
	oneWay := p.wantText("box", "one way")
	p.ask(command{Op: "draft", N: 3, Size: 1000})
	p.send("in", "sent before")
	queued := w.me.call("box", "queued")
	testkit.Eventually(t, limit, "it is queued", func() bool { return box.rec[recTail].Load() > box.rec[recHead].Load() })

	p.stopProcess()
	defer p.cont() // also when the test fails
	giveUp()
	for range 2 {
		want(t, "who calls a stopped process and gives up", <-given, context.Canceled)
	}
	before := w.ofProcess(p.id)
	if len(before) < 6 { // in hand, deferred, one-way, drafts and what it has sent
		t.Errorf("the stopped process holds %v", before)
	}
	q.send("in", "from another")
	q.kill()
	w.sweep(q, "killed")
	if after := w.ofProcess(p.id); !maps.Equal(before, after) {
		t.Errorf("the sweep of another changed what the stopped process holds: %v, then %v", before, after)
	}
	r := in.Receiver()
	for _, text := range []string{"sent before", "from another"} {
		m, _, err := r.Receive(within(t))
		must(t, err)
		if b, _ := m.Bytes(); string(b) != text {
			t.Errorf("received %q, want %q", b, text)
		}
		m.Release()
	}

	p.cont()
	first.reply("so")
	wantReply(t, kept, "so")
	c := message{p, p.ask(command{Op: "claim", Token: token})}
	c.reply("later")
	wantReply(t, deferred, "later")
	oneWay.release()
	p.ask(command{Op: "discard"})
	p.wantText("box", "queued").reply("at last")
	wantReply(t, queued, "at last")
}

// A producer that is stopped anywhere in its sending delays no other's messages.
func TestStoppedProducerDelaysNobody(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	w := newWorld(t, asProcess, smallOptions())
	m := w.create("box", 4)
	r := m.Receiver()
	p, q := w.peer(), w.peer()
	receive := func() {
		t.Helper()
		msg, _, err := r.Receive(within(t))
		must(t, err)
		msg.Release()
	}
	const each = 200
	for range rounds {
		busy := p.later(command{Op: "send", Box: "box", Data: []byte("p"), N: each})
		for range each / 4 {
			receive() // it is at work, and waits for room again and again
		}
		p.stopProcess() // anywhere
		other := q.later(command{Op: "send", Box: "box", Data: []byte("q"), N: each})
		got := 0
		for from := shm.ProcessID(0); got < each; {
			msg, _, err := r.Receive(within(t))
			must(t, err)
			if from = msg.Header.Caller; from == q.id {
				got++
			}
			msg.Release()
		}
		must(t, soon(t, "the other has sent all", other).err())
		p.cont()
		for done := false; !done; {
			select {
			case a := <-busy:
				must(t, a.err())
				done = true
			default:
				if msg, ok := r.TryReceive(); ok {
					msg.Release()
				}
			}
		}
		for msg, ok := r.TryReceive(); ok; msg, ok = r.TryReceive() {
			msg.Release()
		}
	}
}
