package shm

import (
	"errors"
	"testing"
)

// bury does to frames and spans what the sweep does after a process died: the sweep itself is package mailbox's.
func bury(t testing.TB, s *Segment, dead ProcessID) {
	t.Helper()
	if !s.Condemn(dead) {
		t.Fatalf("process %v cannot be condemned", dead)
	}
	for range 2 { // the second time finds nothing to do
		s.EachFrame(func(f Frame, w Owner) {
			if w.State() != Attached && !s.Alive(w.Holder()) && f.Move(w, f.Word(s.ID(s.Self()), Held)) {
				s.Free(f)
			}
		})
		s.Reclaim()
	}
	if !s.Release(dead) {
		t.Fatalf("the entry of process %v is not released", dead)
	}
}

// wantAll fails the test unless every byte of the message memory can be used.
func wantAll(t testing.TB, s *Segment) {
	t.Helper()
	p := s.NewPool(s.ID(s.Self()))
	for _, n := range []int{classFrame(0), 8 * spanSize / 2, classFrame(len(classSizes) - 1)} {
		all := fill(t, p, n)
		free := int64(0)
		for _, f := range all {
			free += f.size + frameHeader
			p.Put(f)
		}
		if free < (s.geo.spans-1)*spanSize*15/16 {
			t.Errorf("%d of %d bytes can be used for messages of %d bytes", free, s.geo.spans*spanSize, n)
		}
	}
	p.Flush()
	p.seg.uncarve(p.self)
	for span := range s.geo.spans {
		if u := spanUse(s.spans[span].Load()); u != spanFree {
			t.Errorf("span %d is %x with no frame in use", span, uint64(u))
		}
	}
}

// classFrame is the largest payload of a class.
func classFrame(class int) int { return int(classSizes[class]) - frameHeader }

// Each state that a process can leave frames and spans in when it dies in the middle of an operation, and what is left after
// the sweep: nothing.
func TestDeathInEveryStep(t *testing.T) {
	const class = 26 // two frames a span
	run := func(s *Segment, id ProcessID, n, parts int64) (head, gen uint32) {
		start := s.geo.spans - n
		gen, _ = s.holdFirst(start, id)
		s.spans[start].Store(uint64(runUse(n)))
		head = uint32(start * framesPerSpan)
		for i := int64(1); i <= parts; i++ {
			s.spans[start+i].Store(uint64(partUse(head, gen)))
		}
		return head, gen
	}
	for _, c := range []struct {
		name  string
		leave func(t *testing.T, s *Segment, id ProcessID)
	}{
		{"carve: frame 0 is held", func(t *testing.T, s *Segment, id ProcessID) { s.holdFirst(3, id) }},
		{"carve: carved", func(t *testing.T, s *Segment, id ProcessID) { s.carve(class, id, region{0, s.geo.spans, false}) }},
		{"uncarve: a frame is held", func(t *testing.T, s *Segment, id ProcessID) {
			f, _ := s.carve(class, id, region{0, s.geo.spans, false})
			f.Set(MakeOwner(f.gen+1, 0, Free))
			s.holdAll(0, 1, id)
		}},
		{"uncarve: all are held", func(t *testing.T, s *Segment, id ProcessID) {
			f, _ := s.carve(class, id, region{0, s.geo.spans, false})
			f.Set(MakeOwner(f.gen+1, 0, Free))
			s.holdAll(0, 2, id)
		}},
		{"uncarve: the span is free", func(t *testing.T, s *Segment, id ProcessID) {
			s.holdAll(0, 2, id)
		}},
		{"uncarve: the first frame is free", func(t *testing.T, s *Segment, id ProcessID) {
			s.holdAll(0, 2, id)
			s.dropAll(0, 1)
		}},
		{"uncarve: the span was carved again by another", func(t *testing.T, s *Segment, id ProcessID) {
			s.holdAll(0, framesPerSpan, id)
			s.dropAll(0, 1)
			f, _ := s.carve(class, s.ID(0), region{0, s.geo.spans, false})
			f.Set(MakeOwner(f.gen+1, 0, Free))
		}},
		{"scan: the span was carved for fewer frames", func(t *testing.T, s *Segment, id ProcessID) {
			s.owners[200].Store(uint64(MakeOwner(7, id, Held)))
			f, _ := s.carve(class, s.ID(0), region{0, s.geo.spans, false})
			f.Set(MakeOwner(f.gen+1, 0, Free))
		}},
		{"run: the head is held", func(t *testing.T, s *Segment, id ProcessID) { s.holdFirst(s.geo.spans-3, id) }},
		{"run: no part", func(t *testing.T, s *Segment, id ProcessID) { run(s, id, 3, 0) }},
		{"run: one part", func(t *testing.T, s *Segment, id ProcessID) { run(s, id, 3, 1) }},
		{"run: all parts", func(t *testing.T, s *Segment, id ProcessID) { run(s, id, 3, 2) }},
		{"run: released but for the head", func(t *testing.T, s *Segment, id ProcessID) {
			head, gen := run(s, id, 3, 2)
			s.releaseRun(head, gen, 3)
		}},
		{"run: the head is free, its parts are not", func(t *testing.T, s *Segment, id ProcessID) {
			head, gen := run(s, id, 3, 2)
			s.spans[head/framesPerSpan].Store(uint64(spanFree))
			s.dropFirst(int64(head/framesPerSpan), gen)
		}},
		{"head of a run inside another's", func(t *testing.T, s *Segment, id ProcessID) {
			s.holdFirst(s.geo.spans-2, id)
			p := s.NewPool(s.ID(0))
			f := get(t, p, 2*spanSize)
			t.Cleanup(func() { p.Put(f) })
		}},
		{"body: held", func(t *testing.T, s *Segment, id ProcessID) {
			p := s.NewPool(id)
			f, b := get(t, p, 10), get(t, p, 3*spanSize)
			f.SetHeader(&Header{})
			f.head.body.Store(uint64(b.index + 1))
		}},
		{"body: attached", func(t *testing.T, s *Segment, id ProcessID) {
			p := s.NewPool(id)
			f, b := get(t, p, 10), get(t, p, 3*spanSize)
			f.SetHeader(&Header{})
			f.Attach(b)
		}},
		{"body: no longer named", func(t *testing.T, s *Segment, id ProcessID) {
			p := s.NewPool(id)
			f, b := get(t, p, 10), get(t, p, 3*spanSize)
			f.SetHeader(&Header{})
			f.Attach(b)
			f.head.body.Store(0)
		}},
		{"body: no longer named, and its parts are free", func(t *testing.T, s *Segment, id ProcessID) {
			p := s.NewPool(id)
			f, b := get(t, p, 10), get(t, p, 3*spanSize)
			f.SetHeader(&Header{})
			f.Attach(b)
			f.head.body.Store(0)
			s.releaseRun(b.index, b.gen, 3)
		}},
		{"small body: no longer named", func(t *testing.T, s *Segment, id ProcessID) {
			p := s.NewPool(id)
			f, b := get(t, p, 10), get(t, p, 300)
			f.SetHeader(&Header{})
			f.Attach(b)
			f.head.body.Store(0)
		}},
		{"cache", func(t *testing.T, s *Segment, id ProcessID) {
			p := s.NewPool(id)
			for _, n := range []int{1, 1000, 30_000, 60_000} {
				a, b := get(t, p, n), get(t, p, n)
				p.Put(a)
				p.Put(b)
			}
			p.Put(get(t, p, 100_000))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Create(small())
			must(t, err)
			t.Cleanup(func() { // after what the case itself cleans up
				wantClean(t, s)
				wantAll(t, s)
			})
			id := enter(t, s, "dying")
			c.leave(t, s, id)
			bury(t, s, id)
			if _, err := s.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a dead process left of a message can be taken before the sweep, and the sweep then leaves it to its new holder.
func TestStalePartsAreReused(t *testing.T) {
	s := create(t, small())
	dying, live := enter(t, s, "dying"), enter(t, s, "live")
	p := s.NewPool(dying)
	f, b := get(t, p, 10), get(t, p, 300)
	f.SetHeader(&Header{})
	f.Attach(b)
	f.head.body.Store(0)
	f.Set(MakeOwner(f.gen+1, 0, Free)) // the body is stale now
	q := pool(t, s, live)
	var frames []Frame
	for range spanSize / int(classSizes[classOf(300)]) {
		frames = append(frames, get(t, q, 300))
	}
	if len(frames) == 0 || frames[b.Index()%framesPerSpan].Index() != b.Index() {
		t.Error("the stale body was not taken")
	}
	bury(t, s, dying)
	for _, f := range frames {
		if f.Owner() != f.Word(live, Held) {
			t.Errorf("frame %d is %v", f.Index(), f.Owner())
		}
		q.Put(f)
	}
}

// A part of a run whose head died is free for a run of another, before the sweep too.
func TestStaleSpansAreReused(t *testing.T) {
	s := create(t, small())
	id := enter(t, s, "dying")
	head := uint32(8 * framesPerSpan)
	for span := int64(9); span < 16; span++ {
		s.spans[span].Store(uint64(partUse(head, 5))) // the head is in generation 0
	}
	p := pool(t, s, s.ID(0))
	f := get(t, p, 8*spanSize-frameHeader)
	if f.Index() != head {
		t.Errorf("the run starts at frame %d, want %d", f.Index(), head)
	}
	bury(t, s, id)
	if _, err := s.Check(); err != nil {
		t.Error(err)
	}
	p.Put(f)
	if _, err := p.Get(8 * spanSize); errors.Is(err, ErrNoSpace) {
		t.Error(err)
	} else {
		p.Put(fill(t, p, 8*spanSize-2*spanSize)[0])
	}
	wantLeft(t, s, 1)
	s.EachFrame(func(f Frame, w Owner) { p.Put(f) })
}

// wantLeft fails the test unless so many frames are not free.
func wantLeft(t testing.TB, s *Segment, want int) {
	t.Helper()
	n := 0
	s.EachFrame(func(Frame, Owner) { n++ })
	if n != want {
		t.Errorf("%d frames are in use, want %d", n, want)
	}
}
