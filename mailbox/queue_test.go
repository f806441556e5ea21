package mailbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// eachSide runs a test for each backing with the receiver in the owner's process, and with the receiver in a peer's.
func eachSide(t *testing.T, f func(t *testing.T, w *world, near, far *party)) {
	t.Helper()
	each(t, func(t *testing.T, w *world, peer *party) { f(t, w, w.me, peer) })
	t.Run("other side", func(t *testing.T) {
		each(t, func(t *testing.T, w *world, peer *party) { f(t, w, peer, w.me) })
	})
}

// wantNothing fails the test unless the mailbox is empty.
func (p *party) wantNothing(box string) {
	p.t.Helper()
	want(p.t, "receiving from an empty mailbox", p.try(command{Op: "receive", Box: box, Wait: -1}), errNothing)
}

func TestSendAndReceive(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		for _, sender := range []*party{near, far} {
			for _, text := range []string{"", "a", strings.Repeat("long ", 1000)} {
				sender.send("box", text)
				m := near.wantText("box", text)
				if m.From != sender.id || m.Call {
					t.Errorf("from %v, call %v, want from %v", m.From, m.Call, sender.id)
				}
				m.release()
			}
		}
		near.wantNothing("box")
	})
}

// A receiver that sleeps is woken by what comes.
func TestReceiverIsWoken(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		m := w.create("box", 4)
		for i := range 20 {
			got := near.later(command{Op: "receive", Box: "box", Wait: limit})
			testkit.Eventually(t, limit, "the receiver is parked", func() bool {
				c := consumerWord(m.rec[recConsumer].Load())
				return c.parked() && c.process() == near.id
			})
			text := fmt.Sprint(i)
			far.send("box", text)
			a := soon(t, "the receiver wakes", got)
			if a.Fault != nil || string(a.Data) != text {
				t.Fatalf("received %q, %v", a.Data, a.err())
			}
			message{near, a}.release()
		}
	})
}

// Messages of one sender come in the order in which it sent them, though it waits for room again and again.
func TestOrderPerSender(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 8)
		n := 300
		if testing.Short() {
			n = 50
		}
		senders := map[string]*party{"near": near, "far": far, "too": far}
		sent := map[string]<-chan answer{}
		next := map[string]int{}
		for name, p := range senders {
			sent[name] = p.later(command{Op: "send", Box: "box", Data: []byte(name), N: n})
			next[name] = 0
		}
		for range n * len(senders) {
			m := near.receive("box")
			name, number, _ := strings.Cut(string(m.Data), " ")
			if number != fmt.Sprint(next[name]) || m.From != senders[name].id {
				t.Fatalf("received %q from %v, want number %d", m.Data, m.From, next[name])
			}
			next[name]++
			m.release()
		}
		for name, done := range sent {
			if err := soon(t, "the sender is done", done).err(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		near.wantNothing("box")
	})
}

func TestTrySendFull(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		m := w.create("box", 3) // becomes 4
		for lap := range 3 {
			for i := range 4 {
				far.ask(command{Op: "send", Box: "box", Data: fmt.Append(nil, lap, i), Wait: -1})
			}
			for _, p := range []*party{near, far} {
				want(t, "sending to a full mailbox", p.try(command{Op: "send", Box: "box", Wait: -1}), ErrMailboxFull)
			}
			near.wantText("box", fmt.Sprint(lap, 0)).release()
			near.ask(command{Op: "send", Box: "box", Data: []byte("late"), Wait: -1})
			for i := range 3 {
				near.wantText("box", fmt.Sprint(lap, i+1)).release()
			}
			near.wantText("box", "late").release()
		}
		if n := m.rec[recRefused].Load(); n != 6 {
			t.Errorf("%d sends were refused, want 6", n)
		}
	})
}

// A sender that waits for room gives up when its time is over, and then nothing was sent.
func TestSendGivesUp(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 2)
		far.send("box", "a")
		far.send("box", "b")
		err := far.try(command{Op: "send", Box: "box", Data: []byte("c"), Wait: time.Millisecond})
		want(t, "sending to a mailbox that stays full", err, errDeadline)
		near.wantText("box", "a").release()
		near.wantText("box", "b").release()
		near.wantNothing("box")
	})
}

// Many senders in several processes wait for room in a small mailbox; each is woken.
func TestManySendersWaitForRoom(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 2)
		third := w.peer()
		n := 40
		if testing.Short() {
			n = 10
		}
		const goroutines = 12
		var done []<-chan answer
		for _, p := range []*party{near, far, third} {
			done = append(done, p.later(command{Op: "senders", Box: "box", N: goroutines, Size: n}))
		}
		got := map[string]int{}
		for range 3 * goroutines * n {
			m := near.receive("box")
			got[string(m.Data)]++
			m.release()
		}
		for _, d := range done {
			if err := soon(t, "the senders are done", d).err(); err != nil {
				t.Error(err)
			}
		}
		for text, times := range got {
			if times != 1 {
				t.Errorf("%q came %d times", text, times)
			}
		}
		near.wantNothing("box")
	})
}

// senders has N goroutines that send Size messages each, all different.
func (a *agent) senders(o command) answer {
	done := make(chan error, o.N)
	for i := range o.N {
		go func() {
			data := fmt.Appendf(nil, "%v/%d", a.hub.Self(), i)
			done <- a.send(command{Box: o.Box, Data: data, N: o.Size}).err()
		}()
	}
	for range o.N {
		if err := <-done; err != nil {
			return result(err)
		}
	}
	return answer{}
}

// Control bits come before what is queued, wake a sleeper, and setting one twice is setting it once.
func TestControl(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		m := w.create("box", 4)
		near.try(command{Op: "receive", Box: "box", Wait: -1}) // it is at work
		far.send("box", "queued")
		far.ask(command{Op: "control", Box: "box", Bits: ControlPing})
		far.ask(command{Op: "control", Box: "box", Bits: ControlDrain})
		near.ask(command{Op: "control", Box: "box", Bits: ControlPing})
		if a := near.ask(command{Op: "receive", Box: "box", Wait: limit}); a.Bits != ControlPing|ControlDrain {
			t.Errorf("bits %x, want ping and drain", a.Bits)
		}
		near.wantText("box", "queued").release()
		got := near.later(command{Op: "receive", Box: "box", Wait: limit})
		testkit.Eventually(t, limit, "the receiver is parked", func() bool { return consumerWord(m.rec[recConsumer].Load()).parked() })
		far.ask(command{Op: "control", Box: "box", Bits: ControlStop})
		if a := soon(t, "the receiver wakes", got); a.Bits != ControlStop {
			t.Errorf("bits %x, %v, want stop", a.Bits, a.err())
		}
		near.wantNothing("box")
		m.Close(shm.Stopped)
		want(t, "controlling a closed mailbox", far.try(command{Op: "control", Box: "box", Bits: ControlPing}), ErrStopped)
	})
}

// A message that is too large, or for which there is no memory, is refused before it is sent.
func TestDraftRefused(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		want(t, "a byte too much", far.try(command{Op: "send", Box: "box", Size: 1<<20 + 1}), shm.ErrTooLarge)
		far.ask(command{Op: "draft", Size: 1 << 20, N: 7}) // 17 spans each of 128
		want(t, "one too many", near.try(command{Op: "draft", Size: 1 << 20}), shm.ErrNoSpace)
		want(t, "waiting for memory", near.try(command{Op: "send", Box: "box", Size: 1 << 20, Wait: time.Millisecond}), shm.ErrNoSpace)
		sent := near.later(command{Op: "send", Box: "box", Size: 1 << 20, N: 1, Wait: limit})
		far.ask(command{Op: "discard"})
		if err := soon(t, "the sender is woken when there is memory", sent).err(); err != nil {
			t.Error(err)
		}
		if m := near.receive("box"); string(m.Data) != string(pattern(1<<20, 1)) {
			t.Error("the message of 1 MiB was changed on its way")
		} else {
			m.release()
		}
	})
}

func TestHandles(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 5)
	for name, capacity := range map[string]int{"none": 0, "negative": -1, "large": MaxCapacity + 1} {
		if _, err := w.hub.Create(name, capacity, 0); err == nil {
			t.Errorf("capacity %d was accepted", capacity)
		}
	}
	_, err := w.hub.Create("box", 4, 0)
	want(t, "a name twice", err, shm.ErrNameTaken)
	_, err = w.hub.Create("", 4, 0)
	want(t, "no name", err, shm.ErrBadName)
	_, err = w.hub.Open("nothing")
	want(t, "opening what is not there", err, shm.ErrNotFound)
	_, err = w.hub.At(99)
	want(t, "a mailbox that is not there", err, shm.ErrCorrupt)
	_, err = w.hub.At(15)
	want(t, "a mailbox that was never made", err, shm.ErrNotFound)
	again, err := w.hub.At(m.Index())
	must(t, err)
	if again.Index() != m.Index() || again.Incarnation() != m.Incarnation() || m.Name() != "box" || !m.Open() || m.Kind() != 0 {
		t.Errorf("%+v", again)
	}
	if m.Life() != 0 || m.NextLife() != 1 || m.NextLife() != 2 || m.Life() != 2 {
		t.Errorf("life %d", m.Life())
	}
	for i := range w.seg.Mailboxes() - 1 {
		w.create(fmt.Sprint("m", i), 2)
	}
	_, err = w.hub.Create("one more", 2, 0)
	want(t, "more mailboxes than there are", err, shm.ErrNoSpace)
	if !strings.Contains(err.Error(), "raise Mailboxes") {
		t.Errorf("%v does not say what to do", err)
	}
}

func TestRingMemoryIsUsedUp(t *testing.T) {
	o := smallOptions()
	o.RingBytes = 64
	w := newWorld(t, onHeap, o)
	a := w.create("a", 4)
	_, err := w.hub.Create("b", 8, 0)
	want(t, "a ring too large", err, shm.ErrNoSpace)
	if !strings.Contains(err.Error(), "raise RingBytes") {
		t.Errorf("%v does not say what to do", err)
	}
	w.create("c", 4)
	a.Close(shm.Stopped)
	delete(w.boxes, "a")
	if d := w.create("d", 3); d.Index() != a.Index() {
		t.Errorf("mailbox %d was made, and %d is free", d.Index(), a.Index())
	}
}
