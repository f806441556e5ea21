package mailbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// What a mailbox holds when it is closed is settled: callers are told, one-way messages become dead letters; what comes later
// is refused.
func TestClose(t *testing.T) {
	each(t, func(t *testing.T, w *world, peer *party) {
		box := w.create("box", 8)
		w.me.send("box", "mine")
		peer.send("box", "yours")
		calls := []<-chan answer{peer.call("box", "request"), w.me.call("box", "request")}
		want(t, "a call given up", peer.try(command{Op: "call", Box: "box", Wait: time.Millisecond}), errDeadline)
		waitDepth(t, box, 5)
		box.Close(shm.Stopped)
		for _, done := range calls {
			wantFailure(t, done, ErrStopped, "")
		}
		w.wantLetters(shm.Stopped, "mine", "yours")
		for _, p := range []*party{w.me, peer} {
			want(t, "sending to it", p.try(command{Op: "send", Box: "box", Wait: -1}), ErrStopped)
			want(t, "sending and waiting", p.try(command{Op: "send", Box: "box"}), ErrStopped)
			want(t, "calling it", p.try(command{Op: "call", Box: "box"}), ErrStopped)
			want(t, "opening it", p.try(command{Op: "open", Box: "box"}), shm.ErrNotFound)
		}
		if box.Open() || box.Name() != "" {
			t.Errorf("open %v, name %q", box.Open(), box.Name())
		}
	})
}

// waitDepth waits until so many messages are queued.
func waitDepth(t *testing.T, m *Mailbox, n uint64) {
	t.Helper()
	testkit.Eventually(t, limit, fmt.Sprint(n, " messages are queued"), func() bool {
		return m.rec[recTail].Load()-m.rec[recHead].Load() == n
	})
}

// Senders that wait for room are told when the mailbox is closed.
func TestCloseWakesWhoWaitsForRoom(t *testing.T) {
	each(t, func(t *testing.T, w *world, peer *party) {
		box := w.create("box", 2)
		w.me.send("box", "a")
		w.me.send("box", "b")
		waiting := []<-chan answer{
			w.me.later(command{Op: "send", Box: "box"}), peer.later(command{Op: "send", Box: "box"}), peer.later(command{Op: "call", Box: "box"}),
		}
		testkit.Eventually(t, limit, "both processes wait for room", func() bool { return box.rec[recRoom].Load() == 3 })
		box.Close(shm.Stopped)
		for _, done := range waiting {
			want(t, "who waited for room", soon(t, "it is told", done).err(), ErrStopped)
		}
		w.wantLetters(shm.Stopped, "a", "b")
	})
}

// A mailbox is closed once: its index is not given to two.
func TestCloseTwice(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	box := w.create("box", 4)
	box.Close(shm.Stopped)
	box.Close(shm.Stopped)
	a, b := w.create("a", 4), w.create("b", 4)
	if a.Index() == b.Index() {
		t.Errorf("a and b are both mailbox %d", a.Index())
	}
	box.Close(shm.Stopped) // an old handle
	if !a.Open() || !b.Open() {
		t.Error("an old handle closed another use of the mailbox")
	}
}

// A close counts, though the supervisor begins a next life at the same moment.
func TestCloseBesideNextLife(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	for i := range 300 {
		box, err := w.hub.Create("box", 2, 0)
		must(t, err)
		var stop atomic.Bool
		done := make(chan struct{})
		go func() {
			for !stop.Load() {
				box.NextLife()
			}
			close(done)
		}()
		for box.Life() == 0 {
			runtime.Gosched()
		}
		box.Close(shm.Stopped)
		stop.Store(true)
		<-done
		if box.Open() {
			t.Fatalf("round %d: the mailbox is open after Close", i)
		}
	}
}

// Closing beside senders: each message is received, or told of, or a dead letter, or was refused: exactly one of these.
func TestCloseBesideSenders(t *testing.T) {
	for _, b := range []backing{onHeap, onMapping} {
		t.Run(string(b), func(t *testing.T) {
			o := smallOptions()
			w := newWorld(t, b, o)
			w.withLetters(4096)
			peer := w.peer()
			rounds := 25
			if testing.Short() {
				rounds = 10
			}
			for range rounds {
				closeBeside(t, w, peer)
			}
		})
	}
}

// tally counts what became of messages.
type tally struct {
	accepted, refused, replied, told atomic.Int64
	handled, handledCalls            int64
}

func closeBeside(t *testing.T, w *world, peer *party) {
	t.Helper()
	box := w.create("box", 4)
	var n tally
	var group sync.WaitGroup
	for _, hub := range []*Hub{w.hub, peer.hub} {
		m, err := hub.Open("box")
		must(t, err)
		for i := range 2 {
			group.Go(func() {
				for n.send(t, m) {
				}
			})
			group.Go(func() {
				for n.call(t, m, i == 0) {
				}
			})
		}
	}
	r := box.Receiver()
	for n.handled+n.handledCalls < 40 {
		m, _, err := r.Receive(within(t))
		must(t, err)
		if m.IsCall() {
			n.handledCalls++
			if err := m.Reply(nil); err != nil && !errors.Is(err, ErrReplied) {
				t.Error(err)
			}
			continue
		}
		n.handled++
		m.Release()
	}
	r.Close()
	box.Close(shm.Stopped)
	group.Wait()
	letters, _ := w.takeLetters()
	if got, want := n.handled+int64(len(letters)), n.accepted.Load(); got != want {
		t.Fatalf("%d one-way messages were handled and %d are dead letters, of %d accepted", n.handled, len(letters), want)
	}
	if n.replied.Load() > n.handledCalls {
		t.Fatalf("%d calls were answered, %d handled", n.replied.Load(), n.handledCalls)
	}
}

func (n *tally) send(t *testing.T, m *Mailbox) bool {
	err := m.TrySendBytes([]byte("x"))
	switch {
	case err == nil:
		n.accepted.Add(1)
	case errors.Is(err, ErrMailboxFull), errors.Is(err, shm.ErrNoSpace):
		n.refused.Add(1)
	case errors.Is(err, ErrStopped):
		return false
	default:
		t.Error(err)
		return false
	}
	return true
}

// call calls; the impatient do not wait for the answer.
func (n *tally) call(t *testing.T, m *Mailbox, patient bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Scale(limit))
	if !patient {
		ctx, cancel = context.WithTimeout(context.Background(), 20*time.Microsecond)
	}
	defer cancel()
	_, err := m.CallBytes(ctx, []byte("x"))
	var failure *Failure
	switch {
	case err == nil:
		n.replied.Add(1)
	case errors.As(err, &failure):
		n.told.Add(1)
		return false
	case errors.Is(err, ErrStopped):
		return false
	case !patient && errors.Is(err, context.DeadlineExceeded):
	default:
		t.Error(err)
		return false
	}
	return true
}

// The same from several processes, which send as fast as they can until they are refused.
func TestCloseBesideFloods(t *testing.T) {
	for _, b := range backings {
		t.Run(string(b), func(t *testing.T) {
			w := newWorld(t, b, smallOptions())
			w.withLetters(64)
			peers := []*party{w.me, w.peer(), w.peer()}
			for range 8 {
				box := w.create("box", 8)
				var floods []<-chan answer
				for _, p := range peers {
					p.ask(command{Op: "open", Box: "box"})
					floods = append(floods, p.later(command{Op: "flood", Box: "box", N: 2}))
				}
				handled := 0
				for range 200 {
					w.me.receive("box").release()
					handled++
				}
				w.me.ask(command{Op: "retire", Box: "box"})
				box.Close(shm.Stopped)
				accepted := 0
				for _, done := range floods {
					a := soon(t, "the senders are refused", done)
					must(t, a.err())
					accepted += a.N
				}
				if letters, _ := w.takeLetters(); handled+len(letters) != accepted {
					t.Fatalf("%d messages were handled and %d are dead letters, of %d accepted", handled, len(letters), accepted)
				}
			}
		})
	}
}

// flood has N goroutines that send until the mailbox is closed, and tells how many messages were accepted.
func (a *agent) flood(o command) answer {
	m, err := a.box(o.Box)
	if err != nil {
		return result(err)
	}
	var accepted atomic.Int64
	var wrong atomic.Pointer[fault]
	var group sync.WaitGroup
	for range o.N {
		group.Go(func() {
			for {
				switch err := m.TrySendBytes([]byte("x")); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, ErrStopped):
					return
				case errors.Is(err, ErrMailboxFull):
					runtime.Gosched()
				default:
					wrong.Store(faultOf(err))
					return
				}
			}
		})
	}
	group.Wait()
	return answer{N: int(accepted.Load()), Fault: wrong.Load()}
}

// A mailbox that is used again for another actor: handles of the one before are refused, and nothing that they sent reaches
// the new one.
func TestMailboxIsUsedAgain(t *testing.T) {
	each(t, func(t *testing.T, w *world, peer *party) {
		old := w.create("old", 4)
		peer.send("old", "for the old one")
		old.Close(shm.Stopped)
		again := w.create("new", 4)
		if again.Index() != old.Index() || again.Incarnation() != old.Incarnation()+1 {
			t.Fatalf("mailbox %d/%d after %d/%d", again.Index(), again.Incarnation(), old.Index(), old.Incarnation())
		}
		for op, o := range map[string]command{
			"send": {Op: "send", Box: "old"}, "trysend": {Op: "send", Box: "old", Wait: -1}, "call": {Op: "call", Box: "old"},
			"control": {Op: "control", Box: "old", Bits: ControlStop},
		} {
			want(t, op+" with an old handle", peer.try(o), ErrStopped)
		}
		if old.Open() || old.NextLife() != 0 || again.Life() != 0 {
			t.Error("the old handle is good for something")
		}
		w.me.wantNothing("new")
		peer.send("new", "for the new one")
		w.me.wantText("new", "for the new one").release()
		w.wantLetters(shm.Stopped, "for the old one")
	})
}

// Orders for the actor before do not reach the one that has its mailbox now.
func TestControlBesideReuse(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	m, err := w.hub.Create("box", 2, 0)
	must(t, err)
	for i := range rounds {
		start, done := make(chan struct{}), make(chan struct{})
		old := m
		go func() {
			defer close(done)
			close(start)
			for old.Control(ControlStop) == nil {
			}
		}()
		<-start
		old.Close(shm.Stopped)
		m, err = w.hub.Create("box", 2, 0)
		must(t, err)
		r := m.Receiver()
		<-done
		if bits := r.Bits(); bits != 0 {
			t.Fatalf("round %d: the new actor is told %x", i, bits)
		}
		r.Close()
	}
	m.Close(shm.Stopped)
}

// The same, in the one order of steps that matters.
func TestControlOfClosedMailbox(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	old := w.create("old", 2)
	old.Close(shm.Stopped)
	before := old.state() | stateOpen // what the sender of the order saw
	r := w.create("new", 2).Receiver()
	want(t, "an order to the closed one", old.control(func() stateWord { return before }, ControlStop), ErrStopped)
	if bits := r.Bits(); bits != 0 {
		t.Errorf("the new actor is told %x", bits)
	}
	must(t, r.Control(ControlDrain))
	if bits := r.Bits(); bits != ControlDrain {
		t.Errorf("the bits are %x, want drain", bits)
	}
}

// The next life of an actor goes on where the last one ended, wherever it runs.
func TestReceiverRestarts(t *testing.T) {
	each(t, func(t *testing.T, w *world, peer *party) {
		w.create("box", 4)
		sent := w.me.later(command{Op: "send", Box: "box", Data: []byte("m"), N: 20})
		for i, p := range []*party{w.me, peer, w.me, w.me, peer} {
			for j := range 4 {
				p.wantText("box", fmt.Sprint("m ", 4*i+j)).release()
			}
			p.ask(command{Op: "retire", Box: "box"})
		}
		if err := soon(t, "all is sent", sent).err(); err != nil {
			t.Error(err)
		}
	})
}

// A message that is sent while nobody receives waits for who takes over, and a parked receiver elsewhere does not matter.
func TestReceiverMoves(t *testing.T) {
	each(t, func(t *testing.T, w *world, peer *party) {
		w.create("box", 4)
		for _, to := range []*party{peer, w.me, peer} {
			w.me.send("box", "a")
			peer.send("box", "b")
			got := to.later(command{Op: "receive", Box: "box", Wait: limit})
			first := message{to, soon(t, "the first", got)}
			second := to.receive("box")
			texts := []string{string(first.Data), string(second.Data)}
			slices.Sort(texts)
			if !slices.Equal(texts, []string{"a", "b"}) {
				t.Errorf("received %q", texts)
			}
			first.release()
			second.release()
			to.ask(command{Op: "retire", Box: "box"})
		}
	})
}

// Where the hints of a dead life lag, or its consumer word says that it sleeps, the next one is not confused.
func TestReceiverAfterLaggingHints(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	box := w.create("box", 4)
	r := box.Receiver()
	for range 6 {
		must(t, box.TrySendBytes([]byte("x")))
		m, _ := r.TryReceive()
		m.Release()
	}
	must(t, box.TrySendBytes([]byte("y")))
	box.rec[recHead].Add(^uint64(1)) // two behind
	box.rec[recTail].Add(^uint64(0))
	box.rec[recConsumer].Or(uint64(parkedBit))
	r = box.Receiver()
	m, ok := r.TryReceive()
	if !ok {
		t.Fatal("the message is not found")
	}
	if b, _ := m.Bytes(); string(b) != "y" {
		t.Errorf("received %q", b)
	}
	m.Release()
	for i := range 9 {
		must(t, box.TrySendBytes(fmt.Append(nil, i)))
		m, ok := r.TryReceive()
		if b, _ := m.Bytes(); !ok || string(b) != fmt.Sprint(i) {
			t.Errorf("received %q, want %d", b, i)
		}
		m.Release()
	}
}
