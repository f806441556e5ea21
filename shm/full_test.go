package shm

import (
	"errors"
	"strings"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
)

// What is used up is an error that says what to raise; what is given back can be used again, by anybody.
func TestUsedUp(t *testing.T) {
	for _, c := range []struct {
		name, says string
		take       func(s *Segment, p *Pool) (giveBack func(), err error)
	}{
		{"frames", "raise MessageBytes", func(_ *Segment, p *Pool) (func(), error) {
			f, err := p.Get(30_000)
			return func() { p.Put(f) }, err
		}},
		{"runs", "raise MessageBytes", func(_ *Segment, p *Pool) (func(), error) {
			f, err := p.Get(3 * spanSize)
			return func() { p.Put(f) }, err
		}},
		{"processes", "raise Processes", func(s *Segment, _ *Pool) (func(), error) {
			id, err := s.Grant("one")
			return func() { s.Condemn(id); s.Release(id) }, err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			s := create(t, small())
			p, other := pool(t, s, s.ID(0)), pool(t, s, enter(t, s, "other"))
			for round := range 3 {
				var back []func()
				for {
					giveBack, err := c.take(s, p)
					if err != nil {
						if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), c.says) {
							t.Fatalf("%v, want one that says %q", err, c.says)
						}
						break
					}
					back = append(back, giveBack)
				}
				if len(back) == 0 {
					t.Fatalf("round %d: nothing is left", round)
				}
				if _, err := c.take(s, other); !errors.Is(err, ErrNoSpace) {
					t.Errorf("another: %v", err)
				}
				back[0]()
				p.Flush()
				giveBack, err := c.take(s, other)
				must(t, err)
				giveBack()
				other.Flush()
				for _, b := range back[1:] {
					b()
				}
				p.Flush()
			}
		})
	}
}

// A segment that its memory cgroup cannot hold is refused: the kernel would kill for it later.
func TestMemoryCgroupTooSmall(t *testing.T) {
	limited := func(limit, used int64, ok bool) func() (int64, int64, bool) {
		return func() (int64, int64, bool) { return limit, used, ok }
	}
	const size = 10 << 20
	must(t, fitsInto(size, limited(0, 0, false)))
	must(t, fitsInto(size, limited(size+5, 5, true)))
	err := fitsInto(size, limited(size+5, 6, true))
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "memory.max") || !strings.Contains(err.Error(), "MessageBytes") {
		t.Errorf("%v, want one that names memory.max and what to lower", err)
	}
}

// The others leave one free frame, or span, to the process that has the turn; it and the reserve are not concerned.
func TestTurnForFrames(t *testing.T) {
	testkit.NoLeaks(t)
	o := small()
	o.MessageBytes = 64 * spanSize
	s := create(t, o)
	a, b := pool(t, s, s.ID(0)), pool(t, s, enter(t, s, "b"))
	const n = 60_000 // one to a span
	all := fill(t, a, n)
	if len(all) != 62 {
		t.Fatalf("%d frames, want all but the reserve of two", len(all))
	}
	reserved := func() bool {
		f, err := a.GetReserved(n)
		if err == nil {
			a.Put(f)
			a.Flush()
		}
		return err == nil
	}
	if !reserved() {
		t.Error("there is no reserve")
	}
	s.Want(b.self.Index())
	a.Put(all[0])
	if w := s.header[hdrTurn].Load(); w != turnActive|uint64(b.self.Index()) {
		t.Fatalf("the turn is %x, want that of %v", w, b.self)
	}
	if _, err := a.Get(n); !errors.Is(err, ErrNoSpace) {
		t.Errorf("the last frame is not left to who has the turn: %v", err)
	}
	a.Put(all[1])
	two := get(t, a, n) // there is another for b
	if !reserved() {
		t.Error("a turn keeps others from the reserve")
	}
	f := get(t, b, n)
	if w := s.header[hdrTurn].Load(); w&turnActive != 0 {
		t.Errorf("the turn was used, and is %x", w)
	}
	s.Want(b.self.Index())
	b.Put(f)
	for range turnLimit { // b does not use its turn for long
		if _, err := a.Get(n); err == nil {
			t.Fatal("the last frame is not left to who has the turn")
		}
	}
	all[0], all[1] = get(t, a, n), two
	a.Put(all[0]) // again b's turn, if it waits
	s.Want(b.self.Index())
	s.PassTurn(b.self) // it does not
	all[0] = get(t, a, n)
	s.EndTurn()
	for _, f := range all {
		a.Put(f)
	}
}

// Who leaves a frame to the process that has the turn is woken when that was used: what was left may be another frame than that which
// was taken.
func TestWhoLeftAFrameIsWoken(t *testing.T) {
	testkit.NoLeaks(t)
	s := create(t, small())
	owner, a, b := pool(t, s, s.ID(0)), pool(t, s, enter(t, s, "a")), pool(t, s, enter(t, s, "b"))
	one := get(t, owner, 10)
	spans := fill(t, owner, 60_000)
	rest := fill(t, owner, 10)
	owner.Put(one)
	owner.Put(spans[0])
	owner.Flush()
	s.Want(a.self.Index())
	s.Want(b.self.Index())
	s.offer()
	if w := s.header[hdrTurn].Load(); w != turnActive|uint64(a.self.Index()) {
		t.Fatalf("the turn is %x, want that of %v", w, a.self)
	}
	l := s.Listen(b.self.Index())
	l.Look()
	s.Want(b.self.Index())
	l.Look()
	if _, err := b.Get(10); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("nothing is left to who has the turn: %v", err)
	}
	one = get(t, a, 10)
	if !l.Look() {
		t.Error("who left a frame is not told that the turn was used")
	}
	b.Put(get(t, b, 10))
	for _, f := range append(append(rest, spans[1:]...), one) {
		owner.Put(f)
	}
}

// Who lets go of what it held for a moment wakes those who looked meanwhile, and found nothing.
func TestWhatWasHeldForAMoment(t *testing.T) {
	s := create(t, small())
	p, id := pool(t, s, s.ID(0)), enter(t, s, "waiter")
	l := s.Listen(id.Index())
	for name, f := range map[string]func(){
		"the first frame of a span": func() {
			gen, _ := s.holdFirst(3, p.self)
			s.dropFirst(3, gen)
		},
		"all frames of a span": func() {
			f, _ := s.carve(0, p.self, region{0, s.geo.spans, false})
			f.Set(MakeOwner(f.gen+1, 0, Free))
			s.uncarve(p.self)
		},
		"a body": func() {
			f := get(t, p, 10)
			f.SetHeader(&Header{})
			f.Attach(get(t, p, 2*spanSize))
			l.Look()
			s.Want(id.Index())
			p.DropBody(f)
			f.Set(MakeOwner(f.gen+1, 0, Free))
		},
	} {
		l.Look()
		s.Want(id.Index())
		l.Look()
		f()
		if !l.Look() {
			t.Errorf("%s was let go, and who waits is not told", name)
		}
		s.EndTurn()
	}
}

// A sweep forgets who waits for a frame, since the dead one may be among them: nothing is left to it.
func TestSweepForgetsWhoWaits(t *testing.T) {
	s := create(t, small())
	p, dead := pool(t, s, s.ID(0)), enter(t, s, "dead")
	all := fill(t, p, 60_000)
	s.Want(dead.Index())
	s.EndTurn()
	p.Put(all[0])
	all[0] = get(t, p, 60_000)
	for _, f := range all {
		p.Put(f)
	}
}

// Who gives a turn may have read who waits before one of them died and was swept: that one gets no turn.
func TestNoTurnForTheDead(t *testing.T) {
	testkit.NoLeaks(t)
	s := create(t, small())
	dead := enter(t, s, "dead")
	s.Want(dead.Index())
	set := s.header[hdrWanted].Load()
	s.Condemn(dead)
	s.EndTurn()
	s.giveTurn(set)
	if w := s.header[hdrTurn].Load(); w&turnActive != 0 {
		t.Errorf("the turn is %x, that of a process that died", w)
	}
	s.Release(dead)
	live := enter(t, s, "live")
	s.giveTurn(1 << (live.Index() % 64))
	if w := s.header[hdrTurn].Load(); w != turnActive|uint64(live.Index()) {
		t.Errorf("the turn is %x, want that of %v", w, live)
	}
}
