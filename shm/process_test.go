package shm

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

func TestProcessTable(t *testing.T) {
	s := create(t, small())
	if p, ok := s.Process(0); !ok || p.State != ProcLive || p.ID != MakeProcessID(0, 1) || p.PID != os.Getpid() {
		t.Errorf("the owner: %+v", p)
	}
	id, err := s.Grant("worker")
	must(t, err)
	if p, _ := s.Process(id.Index()); p.State != ProcReserved || p.Name != "worker" || p.ID != id || p.PID != 0 {
		t.Errorf("granted: %+v", p)
	}
	if !s.Alive(id) || s.Release(id) {
		t.Error("a process that was granted an entry is taken for dead")
	}
	must(t, s.Enter(id))
	if p, _ := s.Process(id.Index()); p.State != ProcLive || p.PID != os.Getpid() || s.ID(id.Index()) != id {
		t.Errorf("entered: %+v", p)
	}
	if s.Release(id) || !s.Alive(id) {
		t.Error("a living process was released")
	}
	if !s.Condemn(id) || s.Alive(id) {
		t.Error("a condemned process is alive")
	}
	if !s.Condemn(id) {
		t.Error("a process cannot be condemned by a second sweep")
	}
	if !s.Release(id) || s.Release(id) || s.Condemn(id) || s.Alive(id) {
		t.Error("a process is released once")
	}
	if p, _ := s.Process(id.Index()); p.State != ProcFree {
		t.Errorf("released: %+v", p)
	}
	if err := s.Enter(id); !errors.Is(err, ErrCorrupt) {
		t.Errorf("entered an entry that was not granted: %v", err)
	}
}

// A process that was granted an entry and never came is condemned like any other.
func TestProcessThatNeverCame(t *testing.T) {
	s := create(t, small())
	id, err := s.Grant("late")
	must(t, err)
	if !s.Condemn(id) || !s.Release(id) {
		t.Error("it cannot be released")
	}
}

// An entry belongs to the process that entered it: another's Enter changes nothing of it.
func TestEnterTwice(t *testing.T) {
	s := create(t, small())
	id := enter(t, s, "worker")
	e := s.process(id.Index())
	e[procPID].Store(12345)
	e[procStart].Store(67890)
	if err := s.Enter(id); !errors.Is(err, ErrCorrupt) {
		t.Errorf("entered twice: %v", err)
	}
	if p, _ := s.Process(id.Index()); p.PID != 12345 || p.Start != 67890 || p.State != ProcLive {
		t.Errorf("the process in the entry became %+v", p)
	}
	e[procPID].Store(uint64(os.Getpid()))
}

// A process that comes when its entry was given to another is refused, and the other comes in.
func TestEnterLate(t *testing.T) {
	o := small()
	o.Processes = 2
	s := create(t, o)
	late, err := s.Grant("late")
	must(t, err)
	if !s.Condemn(late) || !s.Release(late) {
		t.Fatal("it cannot be released")
	}
	next, err := s.Grant("next")
	must(t, err)
	if next.Index() != late.Index() {
		t.Fatalf("granted %v after %v: another entry", next, late)
	}
	if err := s.Enter(late); !errors.Is(err, ErrCorrupt) {
		t.Errorf("who came late entered another's entry: %v", err)
	}
	must(t, s.Enter(next))
	if s.Entered(next.Index()) != next {
		t.Errorf("it entered as %v, not %v", s.Entered(next.Index()), next)
	}
}

// Whatever a process wrote into its entry before it died: the owner knows whom it granted what.
func TestScribbledEntry(t *testing.T) {
	for _, word := range []uint64{0, ^uint64(0), procWordOf(7, ProcLive), procWordOf(2, ProcFree), 9} {
		s := create(t, small())
		id := enter(t, s, "worker")
		s.process(id.Index())[procWord].Store(word)
		if other, err := s.Grant("other"); err != nil || other.Index() == id.Index() {
			t.Errorf("with %#x in its word its entry is granted again: %v, %v", word, other, err)
		}
		if !s.Condemn(id) || s.Alive(id) || !s.Release(id) {
			t.Errorf("with %#x in its word it cannot be swept", word)
		}
		if p, _ := s.Process(id.Index()); p.State != ProcFree || p.ID != id {
			t.Errorf("after that its entry is %+v", p)
		}
	}
}

func TestProcessesOutside(t *testing.T) {
	s := create(t, small())
	for _, i := range []uint32{8, 1023, 1 << 31, 1<<32 - 1} {
		id := MakeProcessID(i, 1)
		if _, ok := s.Process(i); ok || s.ID(i) != 0 || s.Enter(ProcessID(i)) == nil {
			t.Errorf("entry %d is there", i)
		}
		if i < MaxProcesses && (s.Alive(id) || s.Condemn(id) || s.Release(id)) {
			t.Errorf("process %v is there", id)
		}
		s.SetCall(i, 1)
		s.SetLook(i)
		s.SetReady(i, 1)
		s.Ring(i)
		if s.Listen(i) != nil {
			t.Errorf("entry %d has a bell", i)
		}
	}
	if s.Alive(0) {
		t.Error("no process is alive")
	}
}

func TestProcessTableFull(t *testing.T) {
	s := create(t, small())
	var ids []ProcessID
	for range s.Processes() - 1 {
		ids = append(ids, enter(t, s, "w"))
	}
	if _, err := s.Grant("one more"); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "raise Processes") {
		t.Errorf("a full table: %v", err)
	}
	s.Condemn(ids[3])
	if _, err := s.Grant("one more"); !errors.Is(err, ErrNoSpace) {
		t.Errorf("the entry of a dead process was granted before its sweep: %v", err)
	}
	s.Release(ids[3])
	id, err := s.Grant("one more")
	must(t, err)
	if id.Index() != ids[3].Index() || id == ids[3] {
		t.Errorf("granted %v after %v", id, ids[3])
	}
}

// The number of a life comes round after 1,024 uses of an entry, not before, and only one life at a time is alive.
func TestLivesComeRound(t *testing.T) {
	o := small()
	o.Processes = 2
	s := create(t, o)
	first := enter(t, s, "w")
	last := first
	for range 1023 {
		s.Condemn(last)
		s.Release(last)
		id := enter(t, s, "w")
		if id == first || id.Index() != 1 || s.Alive(last) || !s.Alive(id) || s.Condemn(last) {
			t.Fatalf("after %v came %v", last, id)
		}
		last = id
	}
	s.Condemn(last)
	s.Release(last)
	if id := enter(t, s, "w"); id != first {
		t.Errorf("life 1024 is %v, the first was %v", id, first)
	}
}

// Nothing that was said to an entry's last holder reaches the next.
func TestGrantClearsSignals(t *testing.T) {
	s := create(t, small())
	id := enter(t, s, "w")
	i := id.Index()
	s.SetReady(i, 3)
	s.SetCall(i, 4000)
	s.SetLook(i)
	s.Condemn(id)
	s.Release(id)
	_, err := s.Grant("next")
	must(t, err)
	for n := 0; s.ID(i).Life() != id.Life()+1; n++ { // entries are granted in turn
		if n > s.Processes() {
			t.Fatal("the entry is not granted again")
		}
		_, err = s.Grant("next")
		must(t, err)
	}
	l := s.Listen(i)
	none := func(uint32) { t.Error("a bit is set") }
	if l.Look() || l.Ready(none) || l.Calls(none) {
		t.Error("something was said")
	}
}

func TestProcessNames(t *testing.T) {
	s := create(t, small())
	for _, name := range []string{"", "w", strings.Repeat("n", 64), strings.Repeat("n", 65), "short"} {
		id := enter(t, s, name)
		if p, _ := s.Process(id.Index()); p.Name != name[:min(len(name), 64)] {
			t.Errorf("%q is shown as %q", name, p.Name)
		}
		s.Condemn(id)
		s.Release(id)
	}
	s.process(0)[procNameLen].Store(1 << 40)
	if p, _ := s.Process(0); len(p.Name) != 64 {
		t.Errorf("a name of %d bytes", len(p.Name))
	}
}

// The table may be read while entries are granted.
func TestProcessesBesideGrants(t *testing.T) {
	s := create(t, small())
	ended := make(chan struct{})
	var stop atomic.Bool
	go func() {
		defer close(ended)
		for !stop.Load() {
			for i := range uint32(s.Processes()) {
				if p, _ := s.Process(i); len(p.Name) > 64 || p.State > ProcDead {
					t.Errorf("%+v", p)
				}
			}
		}
	}()
	for i := range 2000 {
		id := enter(t, s, fmt.Sprint("worker ", i))
		s.Condemn(id)
		s.Release(id)
	}
	stop.Store(true)
	<-ended
}
