package mailbox

import (
	"context"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// How many messages wait, also where a hint lags: a sender may have died before it moved the tail.
func TestDepth(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 4)
	r := m.Receiver()
	wantDepth := func(want int) {
		t.Helper()
		if got := r.Depth(); got != want {
			t.Errorf("%d messages wait, want %d", got, want)
		}
	}
	wantDepth(0)
	for i := range 4 {
		must(t, m.TrySendBytes([]byte("x")))
		wantDepth(i + 1)
	}
	for i := range 4 {
		msg, _ := r.TryReceive()
		msg.Release()
		wantDepth(3 - i)
	}
	must(t, m.TrySendBytes([]byte("x")))
	m.rec[recTail].Add(^uint64(0))
	msg, ok := r.TryReceive()
	if !ok {
		t.Fatal("no message")
	}
	msg.Release()
	wantDepth(0)
	if peak := m.rec[recPeak].Load(); peak != 4 {
		t.Errorf("at most %d messages waited, want 4", peak)
	}
}

// Who waits until a mailbox fills is woken when it has, takes nothing, and hears orders.
func TestAbove(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		m := w.create("box", 8)
		near.try(command{Op: "receive", Box: "box", Wait: -1}) // it is at work
		for i := range 3 {
			above := near.later(command{Op: "above", Box: "box", N: i, Wait: limit})
			if i == 0 {
				testkit.Eventually(t, limit, "it is parked", func() bool { return consumerWord(m.rec[recConsumer].Load()).parked() })
			}
			far.send("box", "x")
			if err := soon(t, "it is woken", above).err(); err != nil {
				t.Error(err)
			}
		}
		want(t, "waiting for more", near.try(command{Op: "above", Box: "box", N: 3, Wait: time.Millisecond}), errDeadline)
		above := near.later(command{Op: "above", Box: "box", N: 3, Wait: limit})
		far.ask(command{Op: "control", Box: "box", Bits: ControlStop})
		if err := soon(t, "it hears the order", above).err(); err != nil {
			t.Error(err)
		}
		if a := near.ask(command{Op: "receive", Box: "box", Wait: limit}); a.Bits != ControlStop {
			t.Errorf("bits %x", a.Bits)
		}
		for range 3 {
			near.wantText("box", "x").release()
		}
	})
}

// above waits until more than N messages wait, however often the wait ends early.
func (a *agent) above(o command) answer {
	r, err := a.receiver(o)
	if err != nil {
		return result(err)
	}
	ctx, cancel := o.context()
	defer cancel()
	for r.Depth() <= o.N && !r.ordered() {
		if err := r.Above(ctx, o.N); err != nil {
			return result(err)
		}
	}
	return answer{}
}

// An actor that waits for a reply is free to be called again when its call ends, before it can know of that.
func TestEndOfCallEndsTheWait(t *testing.T) {
	for name, end := range map[string]func(m *Message){
		"reply": func(m *Message) { _ = m.Reply(nil) },
		"fail":  func(m *Message) { _ = m.Fail(shm.Crashed, "") },
		"lend":  func(m *Message) { m.Lend(shm.Stopped); m.Return() },
		"defer": func(m *Message) {
			_ = m.Defer()
			c, _ := m.hub.Claim(m.Token())
			_ = c.Reply(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, onHeap, smallOptions())
			a, b := w.create("a", 2), w.create("b", 2)
			r := b.Receiver()
			if a.WaitFor(b, 0) {
				t.Error("that is no circle")
			}
			d, err := w.hub.Draft(0)
			must(t, err)
			d.Header.Sender = a.Index() + 1
			done := make(chan struct{})
			go func() {
				defer close(done)
				r, err := b.Call(context.Background(), &d)
				if err == nil {
					r.Release()
				}
			}()
			msg, _, err := r.Receive(within(t))
			must(t, err)
			if !b.WaitFor(a, 0) {
				t.Error("b waits for a, which waits for b")
			}
			end(&msg)
			<-done
			if b.WaitFor(a, 0) {
				t.Error("a waits for b after its call has ended")
			}
		})
	}
}

// A stranger's wait is not ended: only that for the mailbox whose call it was.
func TestEndOfCallLeavesOtherWaits(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	a, b, c := w.create("a", 2), w.create("b", 2), w.create("c", 2)
	a.WaitFor(c, 0)
	for _, sender := range []uint32{a.Index() + 1, 0, 1000, 1<<32 - 1} {
		d, err := w.hub.Draft(0)
		must(t, err)
		d.Header.Sender = sender
		b.address(&d)
		must(t, b.publish(&d, shm.IsCall))
		msg, _ := b.Receiver().TryReceive()
		if !w.hub.Due(msg.Token()) {
			t.Error("a call in hand is not due")
		}
		must(t, msg.Reply(nil))
		if w.hub.Due(msg.Token()) {
			t.Error("a call that was answered is due")
		}
		r, err := w.hub.await(within(t), d.Frame, w.hub.calls.get(), false)
		must(t, err)
		r.Release()
	}
	if got := a.rec[recWaitsFor].Load(); got != uint64(c.Index())+1 {
		t.Errorf("a waits for %d", got)
	}
	if w.hub.Due(Token{1 << 30, 0}) {
		t.Error("no frame is due")
	}
}
