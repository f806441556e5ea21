package shm

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Each kind of damage is found, and named.
func TestCheckFinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(s *Segment, f, run, body Frame)
		want   string
	}{
		{"nothing", func(*Segment, Frame, Frame, Frame) {}, ""},
		{"process state", func(s *Segment, _, _, _ Frame) { s.process(3)[procWord].Store(9) }, "process 3 is in the unknown state 9"},
		{"no pid", func(s *Segment, _, _, _ Frame) { s.process(0)[procPID].Store(0) }, "process 0 is live and has no pid"},
		{"span use", func(s *Segment, _, _, _ Frame) { s.spans[5].Store(0xee) }, "span 5 has the unknown use"},
		{"class", func(s *Segment, _, _, _ Frame) { s.spans[5].Store(uint64(classUse(28))) }, "span 5 is carved for class 28 of 28"},
		{"run without a head", func(s *Segment, _, _, _ Frame) { s.spans[5].Store(uint64(runUse(2))) }, "span 5 starts a run of 2 spans that is free"},
		{"run of nothing", func(s *Segment, _, run, _ Frame) { s.spans[13].Store(uint64(runUse(0))) }, "span 13 starts a run of 0 spans"},
		{"run over the end", func(s *Segment, _, _, _ Frame) { s.spans[13].Store(uint64(runUse(4))) }, "span 13 starts a run of 4 spans"},
		{"part of nothing", func(s *Segment, _, _, _ Frame) { s.spans[5].Store(uint64(partUse(1<<24-1, 0))) }, "span 5 is a part of frame 16777215, which is gone"},
		{"stale part", func(s *Segment, _, run, _ Frame) { s.spans[5].Store(uint64(partUse(run.index, run.gen+1))) }, "span 5 is a part of frame 4433, which is gone"},
		{"lost part", func(s *Segment, _, _, _ Frame) { s.spans[14].Store(uint64(spanFree)) }, "span 14 is not a part of the run at 13"},
		{"frame beyond", func(s *Segment, f, _, _ Frame) { s.owners[340].Store(uint64(f.Word(s.ID(0), Held))) }, "and frame 340 of it is held"},
		{"frame state", func(s *Segment, f, _, _ Frame) { f.Set(f.Owner() | 15) }, "is in the unknown state 15"},
		{"holder", func(s *Segment, f, _, _ Frame) { f.Set(f.Word(MakeProcessID(5, 5), Replied)) }, "is replied(process 5.5, generation 0), and that process is not alive"},
		{"no such process", func(s *Segment, f, _, _ Frame) { f.Set(f.Word(MakeProcessID(1000, 5), Taken)) }, "and that process is not alive"},
		{"body of nothing", func(s *Segment, f, _, body Frame) { body.Set(attachedTo(1<<24-1, 0)) }, "which is gone"},
		{"stale body", func(s *Segment, f, _, body Frame) { body.Set(attachedTo(f.index, f.gen+1)) }, "which is gone"},
		{"body not named", func(s *Segment, f, _, _ Frame) { f.head.body.Store(0) }, "which does not name it"},
		{"slot of no mailbox", func(s *Segment, _, _, _ Frame) { s.index[freeIndex(s)].Store(1<<32 | 9) }, "names mailbox 8, of 8"},
		{"slot of a strange hash", func(s *Segment, _, _, _ Frame) { s.index[freeIndex(s)].Store(1<<40 | 2) }, "and the name \"\" of mailbox 1 do not fit"},
		{"two slots", func(s *Segment, _, _, _ Frame) { s.index[freeIndex(s)].Store(indexWord(Hash("a"), 0)) }, "or a second time"},
		{"name in the wrong slot", func(s *Segment, _, _, _ Frame) {
			at, _ := s.freeSlot(Hash("b"), "b")
			s.index[(at+uint64(s.geo.indexSlots)-1)%uint64(s.geo.indexSlots)].Store(0)
			s.writeName(2, Hash("b"), "b")
			s.index[(at+2)%uint64(s.geo.indexSlots)].Store(indexWord(Hash("b"), 2))
		}, "of mailbox 2 is not found"},
		{"name without a slot", func(s *Segment, _, _, _ Frame) { s.writeName(3, Hash("x"), "x") }, "mailbox 3 has the name \"x\" and no slot"},
		{"unfinished name", func(s *Segment, _, _, _ Frame) { s.nameWord(4, nameVersion).Add(1) }, "the name of mailbox 4 is being written"},
		{"version", func(s *Segment, _, _, _ Frame) { s.header[hdrDirectory].Add(1) }, "the directory is being changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Create(small())
			must(t, err)
			p := s.NewPool(s.ID(0))
			f, run, body := get(t, p, 100), get(t, p, 3*spanSize-frameHeader), get(t, p, 100)
			f.SetHeader(&Header{})
			f.Attach(body)
			must(t, s.Insert("a", 0))
			c.damage(s, f, run, body)
			census, err := s.Check()
			if c.want == "" {
				if err != nil || census.States != [states]int{Held: 2, Attached: 1} || census.Held[s.ID(0)] != 2 {
					t.Errorf("%+v, %v", census, err)
				}
				return
			}
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found: %v\nwant: %s", err, c.want)
			}
		})
	}
}

// freeIndex is an empty slot of the index.
func freeIndex(s *Segment) int {
	for at := range s.index {
		if s.index[at].Load() == slotEmpty {
			return at
		}
	}
	return -1
}

// A segment that is wrong everywhere gives a report that can be read.
func TestCheckIsBounded(t *testing.T) {
	s, err := Create(small())
	must(t, err)
	for i := range s.owners {
		s.owners[i].Store(1<<64 - 1)
	}
	for i := range s.spans {
		s.spans[i].Store(uint64(classUse(0)))
	}
	_, err = s.Check()
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != maxFindings {
		t.Errorf("%d findings, want %d", n, maxFindings)
	}
}
