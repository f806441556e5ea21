package mailbox

import (
	"fmt"
	"testing"

	"github.com/shmactor/shmactor/shm"
)

// A dead letter says why it is one and whose it was, and has the bytes of the message.
func TestDeadLetter(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		box := w.create("box", 4)
		far.send("box", "text")
		near.receive("box").must(command{Op: "bury", Reason: shm.HandlerFailed})
		letter, ok := w.letters.TryReceive()
		if !ok {
			t.Fatal("no dead letter")
		}
		b, err := letter.Bytes()
		h := letter.Header
		if err != nil || string(b) != "text" || h.Reason != shm.HandlerFailed || h.Origin != box.Index()+1 || h.Caller != far.id || letter.IsCall() {
			t.Errorf("%q, %v, %+v", b, err, h)
		}
		letter.Release()
		far.send("box", "for no reason")
		near.receive("box").must(command{Op: "bury"})
		w.wantLetters(shm.Undeliverable, "for no reason")
		if n := box.rec[recDead].Load(); n != 2 {
			t.Errorf("%d dead letters are counted, want 2", n)
		}
		counts := w.seg.DeadLetterCounts()
		if counts[shm.HandlerFailed] != 1 || counts[shm.Undeliverable] != 1 {
			t.Errorf("counts %v", counts)
		}
	})
}

// Dead letters for which there is no room are counted, and gone.
func TestDeadLettersOverflow(t *testing.T) {
	for _, b := range backings {
		t.Run(string(b), func(t *testing.T) {
			w := newWorld(t, b, smallOptions())
			w.withLetters(4)
			peer := w.peer()
			w.create("box", 16)
			for i := range 10 {
				peer.send("box", fmt.Sprint(i))
			}
			for range 10 {
				peer.receive("box").must(command{Op: "bury", Reason: shm.Crashed})
			}
			w.wantLetters(shm.Crashed, "0", "1", "2", "3")
			counts := w.seg.DeadLetterCounts()
			if counts[shm.Crashed] != 10 || counts[shm.DroppedLetters] != 6 {
				t.Errorf("counted %d crashed and %d dropped, want 10 and 6", counts[shm.Crashed], counts[shm.DroppedLetters])
			}
		})
	}
}

// Without a mailbox for them, dead letters are only counted; so is a dead letter that is buried.
func TestDeadLettersWithoutMailbox(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 4)
	r := m.Receiver()
	must(t, m.TrySendBytes([]byte("x")))
	msg, _ := r.TryReceive()
	msg.Bury(shm.Crashed, nil)
	w.withLetters(4)
	must(t, m.TrySendBytes([]byte("y")))
	msg, _ = r.TryReceive()
	msg.Bury(shm.Expired, nil)
	letter, _ := w.letters.TryReceive()
	letter.Bury(shm.Undecodable, nil)
	w.wantLetters(shm.NoReason)
	if c := w.seg.DeadLetterCounts(); c[shm.Crashed] != 1 || c[shm.Expired] != 1 || c[shm.Undecodable] != 1 {
		t.Errorf("counts %v", c)
	}
}

// A draft that cannot be sent becomes a dead letter of the mailbox that it was for.
func TestDraftIsBuried(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	w.withLetters(4)
	m := w.create("box", 4)
	d, err := w.hub.Draft(4)
	must(t, err)
	d.fill([]byte("late"))
	m.Bury(&d, shm.Undeliverable)
	w.wantLetters(shm.Undeliverable, "late")
}

// counted wants so many dead letters counted by the sweep: one that has a reason was counted by who gave it that.
func (s *scene) counted(want uint64) {
	s.t.Helper()
	var n uint64
	for _, c := range s.w.seg.DeadLetterCounts() {
		n += c
	}
	if n != want {
		s.t.Errorf("the sweep counts %d dead letters, want %d", n, want)
	}
}

// letter makes a dead letter in that state of the process that will be dead.
func (s *scene) letter(st shm.State) shm.Frame {
	f := s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
	f.SetLetter(shm.Crashed, s.box.index)
	f.SetTo(s.w.letters.index, s.w.letters.incarnation)
	f.Set(f.Word(s.dead, st))
	return f
}
