package shm

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// Each kind of damage that cannot be anybody's work in progress is found, and named.
func TestAuditFinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(s *Segment, f Frame)
		want   string
	}{
		{"nothing", func(*Segment, Frame) {}, ""},
		{"header", func(s *Segment, _ Frame) { s.header[hdrSpans].Add(1) }, "of the header is"},
		{"name", func(s *Segment, _ Frame) { s.header[hdrName].Store(1) }, "of the header is"},
		{"ring memory", func(s *Segment, _ Frame) { s.header[hdrRingsUsed].Store(1 << 40) }, "words of ring memory"},
		{"process state", func(s *Segment, _ Frame) { s.process(3)[procWord].Store(9) }, "entry 3 of the process table"},
		{"process life", func(s *Segment, _ Frame) { s.process(0)[procWord].Add(16) }, "entry 0 of the process table"},
		{"a process that is gone", func(s *Segment, _ Frame) { s.process(0)[procWord].Store(0) }, "entry 0 of the process table"},
		{"a process from nowhere", func(s *Segment, _ Frame) { s.process(3)[procWord].Store(procWordOf(0, ProcLive)) }, "entry 3 of the process table"},
		{"directory", func(s *Segment, _ Frame) { s.index[freeIndex(s)].Store(1<<32 | 9) }, "names mailbox 8"},
		{"span use", func(s *Segment, _ Frame) { s.spans[5].Store(0xee) }, "span 5 has the use"},
		{"free span", func(s *Segment, _ Frame) { s.spans[5].Store(0x100) }, "span 5 has the use"},
		{"class", func(s *Segment, _ Frame) { s.spans[5].Store(uint64(classUse(28))) }, "span 5 has the use"},
		{"run of nothing", func(s *Segment, _ Frame) { s.spans[5].Store(uint64(runUse(0))) }, "span 5 has the use"},
		{"run over the end", func(s *Segment, _ Frame) { s.spans[5].Store(uint64(runUse(4096))) }, "span 5 has the use"},
		{"part of nothing", func(s *Segment, _ Frame) { s.spans[5].Store(uint64(partUse(1<<24-1, 0))) }, "span 5 has the use"},
		{"state", func(s *Segment, f Frame) { f.Set(f.Owner() | 15) }, "state 15"},
		{"free with a holder", func(s *Segment, f Frame) { f.Set(f.Word(s.ID(0), Free)) }, "is free"},
		{"holder", func(s *Segment, f Frame) { f.Set(f.Word(MakeProcessID(5, 5), Held)) }, "held(process 5.5"},
		{"life of the holder", func(s *Segment, f Frame) { f.Set(f.Word(MakeProcessID(0, 2), Taken)) }, "taken(process 0.2"},
		{"caller", func(s *Segment, f Frame) { f.Set(f.Word(MakeProcessID(1000, 2), Replied)) }, "replied(process 1000.2"},
		{"part of no frame", func(s *Segment, f Frame) { f.Set(attachedTo(1<<24-1, 0)) }, "attached(frame 16777215"},
		{"beyond the frames", func(s *Segment, f Frame) { s.owners[340].Store(1 << 12) }, "frame 340 is free"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Create(small())
			must(t, err)
			p := s.NewPool(s.ID(0))
			f := get(t, p, 100)
			f.SetHeader(&Header{})
			must(t, s.Insert("a", 0))
			c.damage(s, f)
			err = s.Audit()
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A process comes, works, dies and is swept: at no moment is anything of that a finding.
func TestAuditOfLife(t *testing.T) {
	s := create(t, small())
	sound := func(when string) {
		t.Helper()
		if err := s.Audit(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	id, err := s.Grant("worker")
	must(t, err)
	sound("granted")
	must(t, s.Enter(id))
	p := s.NewPool(id)
	f, run := get(t, p, 100), get(t, p, 2*spanSize)
	f.Attach(get(t, p, 1000))
	sound("at work")
	f.Set(f.Word(id, Taken))
	s.Condemn(id)
	sound("dead")
	bury(t, s, id)
	sound("swept")
	_ = run
}

// Whoever attached cannot tell: he does not know what the owner knows.
func TestAuditIsTheOwners(t *testing.T) {
	needShared(t)
	s := sharedSegment(t)
	there, err := AttachFile(reopen(t, s, os.O_RDWR))
	must(t, err)
	defer func() { must(t, there.Close()) }()
	if err := there.Audit(); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
}
