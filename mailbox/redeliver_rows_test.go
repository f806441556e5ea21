package mailbox

import (
	"strings"
	"testing"

	"github.com/shmactor/shmactor/shm"
)

// What is left when a party dies right after a step of redelivery, row by row as in rows_test.go.

// most is how often a message of these tests is handled.
const most = 3

// inHand is R2 or R4 by the dying process: the word names f, with so many attempts.
func (s *scene) inHand(f shm.Frame, attempts int) shm.Frame {
	s.box.rec[recHand].Store(uint64(makeHand(f, attempts, most)))
	return f
}

// begun is a one-way message of the owner in the hands of the dying process, whose handler was begun so many times.
func (s *scene) begun(text string, attempts int) shm.Frame {
	s.t.Helper()
	return s.inHand(s.taken(s.inRing(s.queued(s.hub.self, text, 0)), true), attempts)
}

// begunCall is such a call, with its caller waiting.
func (s *scene) begunCall(attempts int) shm.Frame {
	s.t.Helper()
	return s.inHand(s.await(s.call(shm.Taken, 0)), attempts)
}

// onItsWay leaves a message in hand as one that is on its way to the dead letters.
func (s *scene) onItsWay(f shm.Frame) shm.Frame {
	f.SetLetter(shm.HandlerFailed, s.box.index)
	f.SetTo(s.w.letters.index, s.w.letters.incarnation)
	f.Set(f.Word(s.dead, shm.Queued))
	return f
}

func TestDeathInEveryRowRedelivery(t *testing.T) {
	for _, r := range []row{
		{name: "R1: taken, in the ring", deliver: []string{"x"}, attempts: []int{0}, build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), false)
		}},
		{name: "R2: named and in the ring", deliver: []string{"x", "y"}, attempts: []int{0, 0}, build: func(s *scene) {
			s.inHand(s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), false), 0)
			must(s.t, s.box.TrySendBytes([]byte("y")))
		}},
		{name: "R2: a call", deliver: []string{"request"}, attempts: []int{0}, build: func(s *scene) {
			f := s.await(s.inRing(s.queued(s.hub.self, "request", shm.IsCall)))
			s.inHand(s.taken(f, false), 0)
		}},
		{name: "R3: not begun, head lags", deliver: []string{"x", "y"}, attempts: []int{0, 0}, build: func(s *scene) {
			s.begun("x", 0)
			must(s.t, s.box.TrySendBytes([]byte("y")))
		}},
		{name: "R3: not begun", deliver: []string{"x", "y"}, attempts: []int{0, 0}, build: func(s *scene) {
			s.begun("x", 0)
			s.box.rec[recHead].Add(1)
			must(s.t, s.box.TrySendBytes([]byte("y")))
		}},
		{name: "R3: a call", deliver: []string{"request"}, attempts: []int{0}, build: func(s *scene) { s.begunCall(0) }},
		{name: "R4, R5: begun", deliver: []string{"x", "y"}, attempts: []int{1, 0}, build: func(s *scene) {
			s.begun("x", 1)
			must(s.t, s.box.TrySendBytes([]byte("y")))
		}},
		{name: "R4, R5: begun, a call", deliver: []string{"request"}, attempts: []int{2}, build: func(s *scene) { s.begunCall(2) }},
		{name: "R4: the last time", letters: []string{"x"}, why: shm.Exhausted, done: Swept{Buried: 1}, build: func(s *scene) {
			s.begun("x", most)
		}},
		{name: "R4: the last time, a call", told: ErrWorkerDied, says: text, done: Swept{Failed: 1}, build: func(s *scene) { s.begunCall(most) }},
		{name: "R6: a reply is written", deliver: []string{"request"}, attempts: []int{1}, done: Swept{Freed: 1}, build: func(s *scene) {
			s.replied(s.begunCall(1), strings.Repeat("r", large), false)
		}},
		{name: "R6: a reply is attached", deliver: []string{"request"}, attempts: []int{1}, build: func(s *scene) {
			s.replied(s.begunCall(1), strings.Repeat("r", large), true)
		}},
		{name: "R7: replied", told: errReply, says: "reply", build: func(s *scene) {
			f := s.begunCall(1)
			s.replied(f, "reply", false)
			f.Set(f.Word(s.hub.self, shm.Replied).With(shm.IsCall))
		}},
		{name: "R7: freed", done: Swept{Freed: 1}, build: func(s *scene) { s.pool.Put(s.begun("x", 1)) }},
		{name: "R7: freed and used again in the same mailbox", deliver: []string{"y"}, attempts: []int{0}, build: func(s *scene) {
			s.reused(s.begun("x", 1), s.hub.self, true)
		}},
		{name: "R7: freed and used again, in no ring", done: Swept{Freed: 1}, build: func(s *scene) {
			s.reused(s.begun("x", 1), s.dead, false)
		}},
		{name: "R7: settling", letters: []string{"x"}, done: Swept{Buried: 1}, build: func(s *scene) {
			f := s.begun("x", 1)
			f.Set(f.Word(s.dead, shm.Settling))
		}},
		{name: "R7: a dead letter in no ring", letters: []string{"x"}, why: shm.HandlerFailed, done: Swept{Buried: 1}, build: func(s *scene) {
			s.onItsWay(s.begun("x", 1))
		}},
		{name: "R7: a dead letter", letters: []string{"x"}, why: shm.HandlerFailed, build: func(s *scene) {
			must(s.t, s.w.letters.push(s.onItsWay(s.begun("x", 1)).Index()))
		}},
		{name: "R7: deferred", told: ErrWorkerDied, says: text, done: Swept{Failed: 1}, build: func(s *scene) {
			f := s.begunCall(1)
			s.box.rec[recHand].Store(0)
			f.Set(f.Owner().To(s.dead, shm.Deferred))
		}},
		{name: "R11: abandoned", build: func(s *scene) { s.inHand(s.call(shm.Taken, shm.Abandoned), 1) }},
		{name: "R11: of a caller that died too", done: Swept{Skipped: 1}, build: func(s *scene) {
			s.inHand(s.taken(s.inRing(s.queued(s.dead, "x", shm.IsCall)), true), 1)
		}},
		{name: "R11: taken by a successor that died before", deliver: []string{"x"}, attempts: []int{1}, build: func(s *scene) {
			f := s.begun("x", 1)
			f.Set(f.Word(s.gone, shm.Taken))
		}},
		{name: "R12: another build allowed more", deliver: []string{"x"}, attempts: []int{most}, build: func(s *scene) {
			f := s.begun("x", 0)
			s.box.rec[recHand].Store(uint64(makeHand(f, most, most+1)))
		}},
		{name: "R13: put back", deliver: []string{"x", "y"}, attempts: []int{1, 0}, build: func(s *scene) {
			f := s.begun("x", 1)
			f.Set(f.Word(s.dead, shm.Queued))
			must(s.t, s.box.TrySendBytes([]byte("y")))
		}},
		{name: "R13: put back, a call", deliver: []string{"request"}, attempts: []int{1}, build: func(s *scene) {
			f := s.begunCall(1)
			f.Set(f.Owner().To(s.hub.self, shm.Queued))
		}},
		{name: "R13: put back, and its caller died", done: Swept{Skipped: 1}, build: func(s *scene) {
			f := s.inHand(s.taken(s.inRing(s.queued(s.dead, "x", shm.IsCall)), true), 1)
			f.Set(f.Owner().To(s.dead, shm.Queued))
		}},
		{name: "R14: closed", letters: []string{"x", "y"}, why: shm.Stopped, build: func(s *scene) {
			s.begun("x", 1)
			must(s.t, s.box.TrySendBytes([]byte("y")))
		}, then: func(s *scene) { s.closeAndMakeAgain() }},
		{name: "R14: closed, named and in the ring", letters: []string{"x"}, why: shm.Stopped, build: func(s *scene) {
			s.inHand(s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), false), 0)
		}, then: func(s *scene) { s.closeAndMakeAgain() }},
		{name: "R14: closed, a call", build: func(s *scene) { s.begunCall(1) }, then: func(s *scene) {
			s.closeAndMakeAgain()
			s.wantTold(ErrStopped, "")
		}},
		{name: "R15: a sweep was cut off", deliver: []string{"x"}, attempts: []int{2}, build: func(s *scene) {
			f := s.begun("x", 2)
			f.Set(f.Word(s.hub.self, shm.Queued))
		}},
	} {
		t.Run(r.name, r.run)
	}
}

// reused is a frame that was freed and is another message's by now.
func (s *scene) reused(f shm.Frame, by shm.ProcessID, inRing bool) {
	s.t.Helper()
	f.Set(shm.MakeOwner(f.Generation()+1, by, shm.Queued))
	f, err := s.w.seg.FrameAt(f.Index())
	must(s.t, err)
	f.SetHeader(&shm.Header{Length: uint32(copy(f.Payload(), "y")), Caller: by, Mailbox: s.box.index, Incarnation: s.box.incarnation})
	if inRing {
		s.inRing(f)
	}
}

func (s *scene) closeAndMakeAgain() {
	s.t.Helper()
	s.box.Close(shm.Stopped)
	s.box = s.w.create("box", 4)
}

// receiver is the next receiver of a row's mailbox, with redelivery if the row speaks of attempts.
func (r row) receiver(s *scene) *Receiver {
	rx := s.box.Receiver()
	if r.attempts != nil {
		rx.Redeliver(most)
	}
	return rx
}

// begin begins the handler of the i-th message, unless its attempts are used up.
func (r row) begin(t *testing.T, rx *Receiver, i int, m *Message) {
	t.Helper()
	if r.attempts == nil {
		return
	}
	before := r.attempts[i]
	if n := int(m.Header.Attempts); n != before || rx.Begin(m) != (before < most) {
		t.Errorf("message %d was begun %d times before, want %d", i, n, before)
	}
}
