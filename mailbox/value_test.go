package mailbox

import (
	"fmt"
	"sync"
	"testing"

	"github.com/shmactor/shmactor/shm"
)

// Inside one process a value passes by reference: the receiver gets the very one.
func TestValueByReference(t *testing.T) {
	for _, b := range []backing{onHeap, onMapping} {
		t.Run(string(b), func(t *testing.T) {
			w := newWorld(t, b, smallOptions())
			m := w.create("box", 4)
			r := m.Receiver()
			var place Local
			for i := range 5 {
				sent := &[]string{fmt.Sprint(i)}
				d, err := w.hub.Draft(0)
				must(t, err)
				d.SetValue(sent, &place)
				must(t, m.TrySend(&d))
				msg, ok := r.TryReceive()
				if !ok {
					t.Fatal("no message")
				}
				v, local, err := msg.Value()
				if got, _ := v.(*[]string); err != nil || !local || got != sent {
					t.Errorf("got %v, %v, %v, want %p", v, local, err, sent)
				}
				if _, _, err := msg.Value(); err == nil {
					t.Error("the value was there twice")
				}
				msg.Release()
			}
			must(t, m.TrySendBytes([]byte("bytes")))
			msg, _ := r.TryReceive()
			if v, local, err := msg.Value(); v != nil || local || err != nil {
				t.Errorf("bytes are taken for a value: %v, %v, %v", v, local, err)
			}
			msg.Release()
		})
	}
}

// The race detector sees that a value is handed over: what its sender did before is there for its receiver. Here it would
// report otherwise.
func TestValueIsHandedOver(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 4)
	r := m.Receiver()
	const n = 500
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			for j := range n {
				d, err := w.hub.DraftWait(within(t), 0)
				if err != nil {
					t.Error(err)
					return
				}
				v := make([]int, 2)
				v[0], v[1] = i, j
				d.SetValue(v, nil)
				if err := m.Send(within(t), &d); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	next := make([]int, 3)
	for range 3 * n {
		msg, _, err := r.Receive(within(t))
		must(t, err)
		v, _, err := msg.Value()
		must(t, err)
		pair := v.([]int)
		if pair[1] != next[pair[0]] {
			t.Fatalf("value %v, want number %d", pair, next[pair[0]])
		}
		next[pair[0]]++
		msg.Release()
	}
	group.Wait()
}

// A value in the memory of another process, or of an earlier life, is lost: the receiver is told.
func TestValueIsLost(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		far.ask(command{Op: "value", Box: "box", Data: []byte("there")})
		m := near.receive("box")
		want(t, "taking another process's value", m.try(command{Op: "take"}), ErrValueLost)
		m.release()
		near.ask(command{Op: "value", Box: "box", Data: []byte("here")})
		m = near.receive("box")
		if a := near.ask(command{Op: "take", Msg: m.Msg}); string(a.Data) != "here" || a.N != 1 {
			t.Errorf("the value is %q", a.Data)
		}
		m.release()
	})
}

// A value of the process that is in the entry now is not taken for one of the life before, though index and generation fit.
func TestValueOfAnotherLife(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 4)
	d, err := w.hub.Draft(0)
	must(t, err)
	d.SetValue("mine", nil)
	must(t, m.TrySend(&d))
	msg, _ := m.Receiver().TryReceive()
	for name, life := range map[string]uint64{
		"no value": 0, "another life": w.hub.valueLife() + 1, "another segment": w.hub.valueLife() + 1<<32, "another process": w.hub.valueLife() + 1<<10,
	} {
		if v, ok := w.hub.takeValue(msg.Frame, life); ok {
			t.Errorf("%s: got %v", name, v)
		}
	}
	if v, ok := w.hub.takeValue(msg.Frame, msg.Header.Value); !ok || v != "mine" {
		t.Errorf("got %v, %v", v, ok)
	}
	msg.Release()
}

// A value whose message was not sent, or was closed over, is not kept.
func TestValueIsLetGo(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 2)
	kept := func() (n int) {
		for i := range w.hub.values.chunks {
			if c := w.hub.values.chunks[i].Load(); c != nil {
				for j := range c {
					if c[j].Load() != nil {
						n++
					}
				}
			}
		}
		return n
	}
	send := func() error {
		d, err := w.hub.Draft(0)
		must(t, err)
		d.SetValue("v", nil)
		return m.TrySend(&d)
	}
	must(t, send())
	must(t, send())
	want(t, "a full mailbox", send(), ErrMailboxFull)
	d, err := w.hub.Draft(0)
	must(t, err)
	d.SetValue("v", nil)
	w.hub.Discard(&d)
	if n := kept(); n != 2 {
		t.Errorf("%d values are kept, want those of the two messages", n)
	}
	m.Close(shm.Stopped)
	want(t, "a closed mailbox", send(), ErrStopped)
	if n := kept(); n != 0 {
		t.Errorf("%d values are kept of no message", n)
	}
}

// A dead letter keeps its value for who reads it in the same process.
func TestValueInDeadLetter(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	w.withLetters(4)
	m := w.create("box", 4)
	for _, how := range []string{"buried", "closed over"} {
		d, err := w.hub.Draft(0)
		must(t, err)
		d.SetValue(how, nil)
		must(t, m.TrySend(&d))
		if how == "buried" {
			msg, _ := m.Receiver().TryReceive()
			v, _, err := msg.Value()
			must(t, err)
			msg.Bury(shm.Crashed, v)
		} else {
			m.Close(shm.Stopped)
		}
		letter, ok := w.letters.TryReceive()
		if !ok {
			t.Fatal("no dead letter")
		}
		if v, _, err := letter.Value(); err != nil || v != how {
			t.Errorf("the dead letter has %v, %v", v, err)
		}
		letter.Release()
	}
}
