package mailbox

import (
	"context"
	"testing"

	"github.com/shmactor/shmactor/shm"
)

// An order is for the life that it was given to: one that is being started sees it when it receives, a later one does not, and an
// order to a life that is over is refused.
func TestOrdersBelongToALife(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 2)
	first := m.NextLife()
	r := m.Receiver()
	must(t, m.Control(ControlDrain)) // nobody takes it
	r.Close()
	second := m.NextLife()
	must(t, m.Control(ControlStop))             // while it starts
	must(t, m.ControlLife(second, ControlPing)) // also before it receives
	want(t, "an order to a life that is over", m.ControlLife(first, ControlStop), ErrStopped)
	r = m.Receiver()
	if bits := r.Bits(); bits != ControlStop|ControlPing {
		t.Errorf("the second life is told %x, want stop and ping", bits)
	}
	if bits := r.Bits(); bits != 0 {
		t.Errorf("it is told %x once more", bits)
	}
	m.NextLife()
	must(t, m.Control(ControlStop))
	if bits := r.Bits(); bits != 0 || r.ordered() {
		t.Errorf("the life before is told %x", bits)
	}
	if bits := m.Receiver().Bits(); bits != ControlStop {
		t.Errorf("the next life is told %x, want stop", bits)
	}
}

// The end of a call that was given up does not end the wait for a later call to the same mailbox.
func TestEndOfAbandonedCallLeavesTheWait(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	a, b := w.create("a", 4), w.create("b", 4)
	r := b.Receiver()
	call := func(ctx context.Context, number uint32) <-chan error {
		if a.WaitFor(b, number) {
			t.Error("that is no circle")
		}
		d, err := w.hub.Draft(0)
		must(t, err)
		d.Header.Sender, d.Header.Chain = a.Index()+1, uint64(number)
		done := make(chan error, 1)
		go func() {
			r, err := b.Call(ctx, &d)
			if err == nil {
				r.Release()
			}
			done <- err
		}()
		return done
	}
	for name, end := range map[string]func(*Message){
		"lend":  func(m *Message) { m.Lend(shm.Stopped); m.Return() },
		"reply": func(m *Message) { _ = m.Reply(nil) },
	} {
		ctx, cancel := context.WithCancel(within(t))
		first := call(ctx, 1)
		msg, _, err := r.Receive(within(t))
		must(t, err)
		cancel()
		want(t, "the first call", <-first, context.Canceled)
		second := call(within(t), 2)
		end(&msg)
		if !b.WaitFor(a, 0) {
			t.Errorf("%s: a waits for b no more, and its second call has not ended", name)
		}
		msg, _, err = r.Receive(within(t))
		must(t, err)
		must(t, msg.Reply(nil))
		must(t, <-second)
		if b.WaitFor(a, 0) {
			t.Errorf("%s: a waits for b after its call has ended", name)
		}
		b.WaitFor(nil, 0)
	}
}
