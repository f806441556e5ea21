//go:build shmactor_points

package mailbox

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// mortal runs f as a process that dies at its n-th access, and reports whether it got to the end.
func mortal(n int, f func()) (survived bool) {
	done := make(chan struct{})
	word.DieAt(n)
	go func() {
		defer close(done)
		f()
		survived = true
	}()
	<-done
	word.Trace(nil)
	return survived
}

// bare is the hub of a process without a waiter, which would make accesses of its own.
func (s *scene) bare() *Hub {
	s.t.Helper()
	id, err := s.w.seg.Grant("mortal")
	must(s.t, err)
	must(s.t, s.w.seg.Enter(id))
	h := &Hub{
		seg: s.w.seg, self: id, values: newValueTable(s.w.seg.Frames()), order: newOrder(s.w.seg.Frames()),
		hosted: make([]atomic.Pointer[Receiver], s.w.seg.Mailboxes()), done: make(chan struct{}), pool: s.w.seg.NewPool(id),
	}
	h.SetLetters(s.w.letters.Mailbox)
	return h
}

// A process dies at each access that receiving a message, counting its attempt and ending it makes: the message is never lost, never comes
// after what was behind it, is whole, and its attempts are those that began.
func TestDeathAtEachPointOfRedelivery(t *testing.T) {
	for name, c := range map[string]struct {
		flags shm.Owner
		most  int
		end   func(m *Message)
	}{
		"released":        {0, 2, (*Message).Release},
		"buried":          {0, 2, func(m *Message) { m.Bury(shm.HandlerFailed, nil) }},
		"put back":        {0, 2, func(m *Message) { m.PutBack() }},
		"the only time":   {0, 1, (*Message).Release},
		"replied":         {shm.IsCall, 2, func(m *Message) { _ = m.Reply([]byte("ok")) }},
		"failed":          {shm.IsCall, 2, func(m *Message) { _ = m.Fail(shm.Crashed, "ok") }},
		"a call put back": {shm.IsCall, 2, func(m *Message) { m.PutBack() }},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				survived := false
				if !t.Run(fmt.Sprint(n), func(t *testing.T) { survived = deathAt(t, n, c.flags, c.most, c.end) }) || survived {
					return
				}
			}
		})
	}
}

// deathAt is one death of a life, and what the next one finds.
func deathAt(t *testing.T, n int, flags shm.Owner, most int, end func(*Message)) (survived bool) {
	s := newScene(t)
	f := s.queued(s.hub.self, "request", flags)
	s.inRing(f)
	s.box.rec[recTail].Add(1)
	must(t, s.box.TrySendBytes([]byte("behind")))
	h := s.bare()
	box, err := h.handle(s.box.index)
	must(t, err)
	handled := 0
	survived = mortal(n, func() {
		r := box.Receiver()
		r.Redeliver(most)
		m, ok := r.TryReceive()
		if ok && r.Begin(&m) {
			handled++
			end(&m)
		}
	})
	_, err = s.hub.Sweep(h.self, text)
	must(t, err)
	if _, err := Check(s.w.seg); err != nil {
		t.Errorf("after the sweep: %v", err)
	}
	over := f.Owner().State() != shm.Queued || f.Owner().Generation() != f.Generation()
	if to, _ := f.To(); to != s.box.index {
		over = true
	}
	if handled == 0 && over && most > 1 {
		t.Errorf("it was not handled, and is %v", f.Owner())
	}
	r := s.box.Receiver()
	r.Redeliver(most)
	var got []string
	for m, ok := r.TryReceive(); ok; m, ok = r.TryReceive() {
		b, err := m.Bytes()
		must(t, err)
		got = append(got, string(b))
		if before := int(m.Header.Attempts); string(b) == "request" && (before < handled || before > 1) {
			t.Errorf("its attempts are %d, and %d began", before, handled)
		}
		if !r.Begin(&m) {
			t.Errorf("%q may not begin again", b)
		}
		if m.IsCall() {
			must(t, m.Reply([]byte("ok")))
			continue
		}
		m.Release()
	}
	want := []string{"request", "behind"}
	if over {
		want = want[1:]
	}
	if !slices.Equal(got, want) {
		t.Errorf("the next life got %q, want %q", got, want)
	}
	if flags != 0 {
		s.wantEnded(f)
	}
	s.w.takeLetters()
	return survived
}

// wantEnded fails the test unless a call of the owner has its end, and takes it.
func (s *scene) wantEnded(f shm.Frame) {
	s.t.Helper()
	r, err, ended := s.hub.ended(f, f.Owner())
	switch b, _ := r.bytesOr(err); {
	case !ended:
		s.t.Errorf("the call is %v", f.Owner())
	case b != "ok":
		s.t.Errorf("the call ended with %q, %v", b, err)
	}
	if ended && err == nil {
		r.Release()
	}
}

// bytesOr is the reply, or the text of the failure.
func (r *Reply) bytesOr(err error) (string, error) {
	if fail, ok := err.(*Failure); ok {
		return fail.Text, nil
	}
	if err != nil {
		return "", err
	}
	b, err := r.Bytes()
	return string(b), err
}
