package mailbox

import (
	"testing"

	"github.com/shmactor/shmactor/shm"
)

// A one-way message whose handler is given up becomes one dead letter, wherever its process dies.
func TestDeathInEveryRowGivenUp(t *testing.T) {
	for _, r := range []row{
		{name: "lent, the copy is a part", letters: []string{"x"}, why: shm.Stopped, done: Swept{Buried: 1}, build: func(s *scene) {
			s.givenUp()
		}, then: func(s *scene) { s.counted(1) }},
		{name: "a part, not lent", letters: []string{"x"}, done: Swept{Buried: 1}, build: func(s *scene) {
			f, _ := s.givenUp()
			f.Set(f.Word(s.dead, shm.Taken))
		}, then: func(s *scene) { s.counted(1) }},
		{name: "the copy settles", letters: []string{"x"}, why: shm.Stopped, done: Swept{Buried: 1, Freed: 1}, build: func(s *scene) {
			_, b := s.givenUp()
			b.Set(b.Word(s.dead, shm.Settling).Because(shm.Stopped))
		}, then: func(s *scene) { s.counted(1) }},
		{name: "the copy has its reason", letters: []string{"x"}, why: shm.Stopped, done: Swept{Buried: 1, Freed: 1}, build: func(s *scene) {
			_, b := s.givenUp()
			b.Set(b.Word(s.dead, shm.Settling).Because(shm.Stopped))
			b.SetLetter(shm.Stopped, s.box.index)
		}, then: func(s *scene) { s.counted(0) }},
		{name: "no memory for a copy", letters: []string{"x"}, why: shm.Stopped, done: Swept{Buried: 1}, build: func(s *scene) {
			f := s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
			f.Set(f.Word(s.dead, shm.Lent).Because(shm.Stopped))
		}, then: func(s *scene) { s.counted(1) }},
	} {
		t.Run(r.name, r.run)
	}
}

// givenUp is a one-way message in the middle of BuryCopy: it is lent, and its copy is a part of it.
func (s *scene) givenUp() (f, b shm.Frame) {
	s.t.Helper()
	f = s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
	b = s.frame(s.dead, "x")
	f.Attach(b)
	f.Set(f.Word(s.dead, shm.Lent).With(shm.Abandoned).Because(shm.Stopped))
	return f, b
}

// Without memory for a copy the message itself is the letter, when its handler comes back.
func TestBuryCopyWithoutMemory(t *testing.T) {
	s := newScene(t)
	must(t, s.box.TrySendBytes([]byte("x")))
	rx := s.box.Receiver()
	defer rx.Close()
	m, _ := rx.TryReceive()
	var held []Draft
	for {
		d, err := s.hub.DraftReserved(1)
		if err != nil {
			break
		}
		held = append(held, d)
	}
	m.BuryCopy(shm.Stopped)
	letters := s.w.letters.Receiver()
	defer letters.Close()
	wantTexts(t, "letters while it runs", letters)
	m.Return()
	wantTexts(t, "letters when it is back", letters, "x")
	for _, d := range held {
		s.hub.pool.Put(d.Frame)
	}
	s.settled(t)
}

// With memory there is a letter at once, and the message is freed later.
func TestBuryCopy(t *testing.T) {
	s := newScene(t)
	must(t, s.box.TrySendBytes([]byte("x")))
	rx := s.box.Receiver()
	defer rx.Close()
	m, _ := rx.TryReceive()
	m.BuryCopy(shm.Stopped)
	letters := s.w.letters.Receiver()
	defer letters.Close()
	wantTexts(t, "letters while it runs", letters, "x")
	m.Return()
	wantTexts(t, "letters when it is back", letters)
	s.settled(t)
}

func (s *scene) settled(t *testing.T) {
	t.Helper()
	if n := s.w.seg.DeadLetterCounts()[shm.Stopped]; n != 1 {
		t.Errorf("%d dead letters are counted, want 1", n)
	}
	if _, err := s.hub.Sweep(s.dead, text); err != nil {
		t.Error(err)
	}
	if _, err := Check(s.w.seg); err != nil {
		t.Error(err)
	}
}

// What a closer took and did not settle, out of a mailbox that the dead letters use next, is a letter like any other.
func TestDeadLettersUseTheMailboxAgain(t *testing.T) {
	s := newScene(t)
	s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
	s.box.rec[recHead].Store(1)
	s.box.Close(shm.Stopped)
	letters := s.w.create("letters again", 4)
	if letters.index != s.box.index {
		t.Fatal("the mailbox is not used again")
	}
	s.hub.SetLetters(letters)
	_, err := s.hub.Sweep(s.dead, text)
	must(t, err)
	rx := letters.Receiver()
	defer rx.Close()
	wantTexts(t, "letters", rx, "x")
}
