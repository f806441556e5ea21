package shm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/testkit"
)

// leftBehind makes a segment in a file, lets damage change it, and takes it over after its owner has gone without a word.
func leftBehind(t *testing.T, o Options, damage func(s *Segment)) *Segment {
	t.Helper()
	needShared(t)
	testkit.NoLeaks(t)
	o.File = filepath.Join(t.TempDir(), "segment")
	o.Heap = false
	s, err := Create(o)
	must(t, err)
	damage(s)
	must(t, s.Close())
	again, err := Create(o)
	must(t, err)
	if !again.Recovered() {
		t.Error("a new segment was made")
	}
	t.Cleanup(func() {
		again.End()
		must(t, again.Close())
	})
	return again
}

func releaseOrphans(t *testing.T, s *Segment) {
	t.Helper()
	for _, p := range s.Orphans() {
		if p.Index() != s.Self() {
			bury(t, s, p)
		}
	}
}

// The owner died while it moved the words of the index: all names are found, and the index is at rest.
func TestTakeOverTornIndex(t *testing.T) {
	s := leftBehind(t, fileOptions(""), func(s *Segment) {
		for m, name := range sameSlot(uint64(s.geo.indexSlots), s.Mailboxes()) {
			must(t, s.Insert(name, uint32(m)))
		}
		s.header[hdrDirectory].Add(1)
		for at := range s.index { // two words on their way
			if w := s.index[at].Load(); w == indexWord(Hash(s.Name(2)), 2) || w == indexWord(Hash(s.Name(5)), 5) {
				s.index[at].Store(slotEmpty)
			}
		}
	})
	for m, name := range sameSlot(uint64(s.geo.indexSlots), s.Mailboxes()) {
		if got, ok := s.Lookup(name); !ok || got != uint32(m) {
			t.Errorf("%q: %d, %v, want %d", name, got, ok, m)
		}
	}
	releaseOrphans(t, s)
	wantClean(t, s)
}

// A process table that is full of the dead has room for the next owner.
func TestTakeOverFullTable(t *testing.T) {
	o := small()
	o.Processes = 3
	s := leftBehind(t, o, func(s *Segment) {
		enter(t, s, "a")
		get(t, s.NewPool(enter(t, s, "b")), 100)
		get(t, s.NewPool(s.ID(0)), 100)
	})
	if id := s.ID(s.Self()); !s.Alive(id) {
		t.Errorf("the owner is %v, and not alive", id)
	}
	for _, p := range s.Orphans() {
		if s.Alive(p) {
			t.Errorf("process %v is alive", p)
		}
	}
	releaseOrphans(t, s)
	wantClean(t, s)
	wantAll(t, s)
	if _, err := s.Grant("next"); err != nil {
		t.Error(err)
	}
}

// idle is a process that has nothing to do with anything.
func idle() {
	fmt.Println("ready")
	waitStdin()
	fmt.Println("done")
}

// The processes of the old table are ended; one that only has the number of such a process is not, and neither is one of
// which no more than the number is known.
func TestTakeOverEndsProcesses(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	type process struct {
		cmd    *exec.Cmd
		out    *bufio.Reader
		stdin  io.WriteCloser
		change func(start uint64) uint64
		open   int // how it has the segment open
		state  ProcessState
		ended  bool
	}
	same := func(start uint64) uint64 { return start }
	all := map[string]*process{
		"worker":    {change: same, state: ProcLive, open: os.O_RDWR, ended: true},
		"stranger":  {change: func(start uint64) uint64 { return start + 1 }, state: ProcLive, open: os.O_RDWR},
		"late":      {change: func(uint64) uint64 { return 0 }, state: ProcReserved, open: os.O_RDWR},
		"bystander": {change: same, state: ProcLive, open: -1}, // the table names it, for the table holds what somebody wrote
		"reader":    {change: same, state: ProcLive, open: os.O_RDONLY},
	}
	s := leftBehind(t, fileOptions(""), func(s *Segment) {
		for name, p := range all {
			p.cmd = testkit.Command(t, "idle")
			stdout, err := p.cmd.StdoutPipe()
			must(t, err)
			p.stdin, err = p.cmd.StdinPipe()
			must(t, err)
			p.out = bufio.NewReader(stdout)
			if p.open >= 0 {
				f, err := os.OpenFile(s.File().Name(), p.open, 0)
				must(t, err)
				defer closeFile(f)
				p.cmd.ExtraFiles = []*os.File{f}
			}
			must(t, p.cmd.Start())
			_, err = p.out.ReadString('\n')
			must(t, err)
			start, err := sys.StartTime(p.cmd.Process.Pid)
			must(t, err)
			e := s.process(enter(t, s, name).Index())
			e[procPID].Store(uint64(p.cmd.Process.Pid))
			e[procStart].Store(p.change(start))
			life, _ := splitProc(e[procWord].Load())
			e[procWord].Store(procWordOf(life, p.state))
		}
	})
	for name, p := range all {
		must(t, p.stdin.Close())
		line, _ := p.out.ReadString('\n')
		_ = p.cmd.Wait()
		if ended := line == ""; ended != p.ended {
			t.Errorf("the %s was ended: %v, want %v", name, ended, p.ended)
		}
	}
	releaseOrphans(t, s)
}
