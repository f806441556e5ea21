package mailbox

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// left is a segment in a file, with an owner that is about to die without a word.
type left struct {
	t    *testing.T
	o    shm.Options
	seg  *shm.Segment
	hub  *Hub
	gone bool
}

func newLeft(t *testing.T) *left {
	t.Helper()
	needShared(t)
	testkit.NoLeaks(t)
	o := smallOptions()
	o.File, o.MessageBytes, o.MaxMessage = filepath.Join(t.TempDir(), "segment"), 2<<20, 1<<19
	l := &left{t: t, o: o}
	l.start()
	t.Cleanup(func() {
		if !l.gone {
			l.seg.End()
			l.die()
		}
	})
	return l
}

// start makes an owner: the first, or one that takes over.
func (l *left) start() {
	l.t.Helper()
	seg, err := shm.Create(l.o)
	must(l.t, err)
	l.seg, l.hub, l.gone = seg, Join(seg, seg.Self()), false
}

// die ends the owner as a crash does: nothing is put in order.
func (l *left) die() {
	l.gone = true
	abandon(l.hub)
	if err := l.seg.Close(); err != nil {
		l.t.Error(err)
	}
}

// abandon ends a hub as a crash of its process does: nothing is put in order.
func abandon(h *Hub) {
	e := ErrSystemEnded
	h.err.Store(&e)
	close(h.done)
	h.seg.Wake(h.self.Index())
	h.stopped.Wait() // its goroutine would go on in this process
}

// next takes over what the owner before left.
func (l *left) next() {
	l.t.Helper()
	l.die()
	l.start()
	if !l.seg.Recovered() {
		l.t.Fatal("a new segment was made")
	}
}

// recovered does what a system does with a segment that it took over.
func (l *left) recovered() (letters *Receiver) {
	l.t.Helper()
	box, err := l.hub.Create(lettersName, 16, 0)
	must(l.t, err)
	l.hub.SetLetters(box)
	must(l.t, l.hub.Recover())
	return box.Receiver()
}

// end closes everything and checks what is left.
func (l *left) end(boxes ...*Mailbox) {
	l.t.Helper()
	l.hub.CloseUnclaimed()
	for _, m := range boxes {
		m.Close(shm.SystemEnded)
	}
	census, err := Check(l.seg)
	if err != nil {
		l.t.Error(err)
	}
	if n := census.Held[l.hub.Self()]; n != l.hub.Kept() {
		l.t.Errorf("%d frames are held, %d kept", n, l.hub.Kept())
	}
	for st, n := range census.States {
		if n != 0 && shm.State(st) != shm.Held {
			l.t.Errorf("%d frames are %v", n, shm.State(st))
		}
	}
}

// texts takes all that a mailbox has.
func texts(t *testing.T, r *Receiver) (all []string) {
	t.Helper()
	for {
		m, ok := r.TryReceive()
		if !ok {
			return all
		}
		b, err := m.Bytes()
		must(t, err)
		all = append(all, string(b))
		m.Release()
	}
}

func wantTexts(t *testing.T, what string, r *Receiver, want ...string) {
	t.Helper()
	if got := texts(t, r); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// What was queued for an actor that the next owner makes again is there, calls of the dead excepted; what was queued for the
// others becomes dead letters.
func TestRecover(t *testing.T) {
	l := newLeft(t)
	for name, kind := range map[string]uint64{"kept": 7, "other kind": 7, "other size": 7, "not made again": 7} {
		m, err := l.hub.Create(name, 8, kind)
		must(t, err)
		must(t, m.TrySendBytes([]byte(name+" 1")))
		d, err := l.hub.Draft(0)
		must(t, err)
		m.address(&d)
		must(t, m.publish(&d, shm.IsCall))
		must(t, m.TrySendBytes([]byte(name+" 2")))
	}
	l.next()
	box, err := l.hub.Create(lettersName, 16, 0)
	must(t, err)
	l.hub.SetLetters(box)
	must(t, l.hub.Recover())
	kept, err := l.hub.Create("kept", 8, 7)
	must(t, err)
	_, err = l.hub.Create("kept", 8, 7)
	want(t, "a name twice", err, shm.ErrNameTaken)
	otherKind, err := l.hub.Create("other kind", 8, 8)
	must(t, err)
	otherSize, err := l.hub.Create("other size", 16, 7)
	must(t, err)
	l.hub.CloseUnclaimed()
	wantTexts(t, "kept", kept.Receiver(), "kept 1", "kept 2")
	wantTexts(t, "other kind", otherKind.Receiver())
	wantTexts(t, "other size", otherSize.Receiver())
	if n := len(texts(t, box.Receiver())); n != 6 {
		t.Errorf("%d dead letters, want 6", n)
	}
	l.end(kept, otherKind, otherSize)
}

// Two owners die one after the other, the second before it has put in order what the first left.
func TestRecoverTwice(t *testing.T) {
	l := newLeft(t)
	m, err := l.hub.Create("kept", 8, 7)
	must(t, err)
	must(t, m.TrySendBytes([]byte("1")))
	for range 3 {
		l.next()
	}
	letters := l.recovered()
	kept, err := l.hub.Create("kept", 8, 7)
	must(t, err)
	wantTexts(t, "kept", kept.Receiver(), "1")
	wantTexts(t, "dead letters", letters)
	l.end(kept)
}

// An owner may die while it closes a mailbox, and what it had not settled is settled, whatever is made before that.
func TestRecoverHalfClosed(t *testing.T) {
	for _, sealed := range []uint64{0, 1, 3} {
		t.Run(fmt.Sprint(sealed, " slots"), func(t *testing.T) {
			l := newLeft(t)
			m, err := l.hub.Create("closing", 16, 0) // as large as the mailbox of dead letters
			must(t, err)
			for i := range 5 {
				must(t, m.TrySendBytes(fmt.Append(nil, i)))
			}
			m.rec[recState].Store(uint64(makeState(m.incarnation, 0, stateClosed)))
			for i := range sealed {
				held, f := m.take(load(m.ring, i).frame())
				swap(m.ring, i, load(m.ring, i), emptySlot(1))
				m.reject(held, f, 0, shm.Stopped)
			}
			l.next()
			letters := l.recovered()
			if n := len(texts(t, letters)); n != 5-int(sealed) {
				t.Errorf("%d dead letters, want %d", n, 5-sealed)
			}
			again, err := l.hub.Create("closing", 16, 0)
			must(t, err)
			must(t, again.TrySendBytes([]byte("x")))
			wantTexts(t, "used again", again.Receiver(), "x")
			l.end(again)
		})
	}
}

// An owner may die while it makes a mailbox.
func TestRecoverHalfMade(t *testing.T) {
	for name, step := range map[string]func(l *left, m *Mailbox){
		"a ring": func(l *left, m *Mailbox) { _, err := l.seg.NewRing(32); must(l.t, err) },
		"a place": func(l *left, m *Mailbox) {
			at, err := l.seg.NewRing(32)
			must(l.t, err)
			l.seg.Mailbox(m.index + 1)[recRing].Store(at)
		},
		"reset":  func(l *left, m *Mailbox) { m.reset(0) },
		"named":  func(l *left, m *Mailbox) { m.reset(0); must(l.t, l.seg.Insert("half", m.index)) },
		"closed": func(l *left, m *Mailbox) { must(l.t, l.seg.Insert("half", m.index)) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeft(t)
			m, err := l.hub.Create("box", 16, 0)
			must(t, err)
			m.Close(shm.Stopped)
			step(l, m)
			l.next()
			letters := l.recovered()
			_, err = l.hub.Open("half")
			want(t, "opening it", err, shm.ErrNotFound)
			half, err := l.hub.Create("half", 16, 0)
			must(t, err)
			must(t, half.TrySendBytes([]byte("x")))
			wantTexts(t, "made again", half.Receiver(), "x")
			wantTexts(t, "dead letters", letters)
			l.end(half)
		})
	}
}

// A process table that was full of the dead: the new owner has the entry of one of them, and all are swept.
func TestRecoverFullTable(t *testing.T) {
	l := newLeft(t)
	l.die()
	l.o.File, l.o.Processes = filepath.Join(t.TempDir(), "segment"), 1
	l.start()
	m, err := l.hub.Create("box", 8, 0)
	must(t, err)
	must(t, m.TrySendBytes([]byte("x")))
	must(t, m.TrySendBytes([]byte("y")))
	_, ok := m.Receiver().TryReceive()
	if _, err := l.hub.Draft(100_000); err != nil || !ok {
		t.Fatal(err, ok)
	}
	l.next()
	letters := l.recovered()
	wantTexts(t, "what was in hand", letters, "x")
	box, err := l.hub.Create("box", 8, 0)
	must(t, err)
	wantTexts(t, "what was queued", box.Receiver(), "y")
	l.end(box)
}

// The frames of the dead are free again, whatever they were in the middle of.
func TestRecoverFrames(t *testing.T) {
	l := newLeft(t)
	m, err := l.hub.Create("box", 8, 0)
	must(t, err)
	r := m.Receiver()
	for i := range 4 {
		must(t, m.TrySendBytes(fmt.Append(nil, i)))
	}
	var held []Message
	for range 3 {
		msg, _ := r.TryReceive()
		held = append(held, msg)
	}
	held[1].Lend(shm.Stopped)
	for _, n := range []int{1, 1000, 60_000, 300_000} {
		_, err := l.hub.Draft(n)
		must(t, err)
	}
	l.next()
	letters := l.recovered()
	box, err := l.hub.Create("box", 8, 0)
	must(t, err)
	wantTexts(t, "what was queued", box.Receiver(), "3")
	wantTexts(t, "what was in hand", letters, "0", "2")
	l.end(box)
}
