package shm

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
)

// A file that a dead owner left is taken over by the next start with the same sizes: its processes are ended and awaited, its
// names kept, its frames left to the sweep. Another boot, ABI, layout or size: the file is set aside under a name of its own,
// never read and never deleted.

// takeOver opens the file at path if it holds a segment of this boot with exactly this geometry.
func takeOver(path string, g *geometry) (*os.File, bool) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, false
	}
	found, boot, err := readHeader(f)
	if err != nil || *found != *g || boot != Hash(sys.BootID()) {
		closeFile(f)
		return nil, false
	}
	return f, true
}

// recover makes a segment that a dead owner left this process's own: nobody else is at work in it when it returns. The dead
// processes stay in the table, condemned, until they are swept.
func (s *Segment) recover(name string) error {
	for i := range uint32(s.geo.processes) {
		p, _ := s.Process(i)
		s.seats[i].life = p.ID.Life()
		if p.State == ProcFree {
			continue
		}
		if err := endProcess(p, s.file); err != nil {
			return err
		}
		s.process(i)[procWord].Store(procWordOf(p.ID.Life(), ProcDead))
		s.seats[i] = seat{life: p.ID.Life(), taken: true, dead: true}
		s.orphans = append(s.orphans, p.ID)
	}
	if len(s.orphans) == int(s.geo.processes) { // no entry is free: the new owner begins another life of the first
		first := s.orphans[0]
		s.process(first.Index())[procWord].Store(procWordOf(first.Life(), ProcFree))
		s.seats[first.Index()] = seat{life: first.Life()}
	}
	s.ringsUsed = min(s.header[hdrRingsUsed].Load(), uint64(s.geo.ringWords))
	s.header[hdrEnded].Store(0)
	s.header[hdrWanted].Store(0)
	s.writeHeader(name)
	return s.reindex()
}

// maxPID is the largest process number that Linux gives.
const maxPID = 1 << 22

// endTime is how long a process of a dead owner may take to die of SIGKILL.
const endTime = 10 * time.Second

// endProcess kills a process of the old table, if it is still there, and waits for its end. One that had not said when it
// started had not entered, and its number may be another's by now. What the table says may be anything: a process counts only
// if the kernel says that it has the segment open for writing.
func endProcess(p ProcessInfo, segment *os.File) error {
	if p.PID <= 1 || p.PID > maxPID || p.Start == 0 || p.PID == os.Getpid() || !sys.HoldsForWriting(p.PID, segment) {
		return nil
	}
	h, err := sys.OpenProcess(p.PID, p.Start)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	late := time.AfterFunc(endTime, func() { _ = h.Close() })
	err = errors.Join(h.Kill(), h.Wait())
	if !late.Stop() {
		return fmt.Errorf("shm: process %d of the last owner does not end: %w", p.PID, ErrInUse)
	}
	return errors.Join(err, h.Close())
}

// reindex builds the index of names anew: its owner may have died between two words of it. A name that is torn, or there
// twice, is dropped; the others stay as they are, so that the next owner finds them if this one dies in the middle.
func (s *Segment) reindex() error {
	version := &s.header[hdrDirectory]
	version.Store((version.Load() + 1) &^ 1)
	for i := range s.index {
		s.index[i].Store(slotEmpty)
	}
	for m := range uint32(s.geo.mailboxes) {
		name := s.wholeName(m)
		if name == "" {
			s.clearName(m)
			continue
		}
		hash := Hash(name)
		at, err := s.freeSlot(hash, name)
		switch {
		case errors.Is(err, ErrNameTaken):
			s.clearName(m)
		case err != nil:
			return err
		default:
			s.index[at].Store(indexWord(hash, m))
		}
	}
	return nil
}

// wholeName is the name of a mailbox, empty when its owner died while it wrote it.
func (s *Segment) wholeName(m uint32) string {
	if s.nameWord(m, nameVersion).Load()%2 != 0 {
		return ""
	}
	name := s.Name(m)
	if CheckName(name) != nil || s.nameWord(m, nameHash).Load() != Hash(name) {
		return ""
	}
	return name
}

func (s *Segment) clearName(m uint32) {
	v := s.nameWord(m, nameVersion)
	v.Store((v.Load() + 1) &^ 1)
	s.writeName(m, 0, "")
}

// Orphans are the processes of the last owner, for the sweep; none in a segment that is new.
func (s *Segment) Orphans() []ProcessID { return s.orphans }

// Recovered reports whether the segment was left by an owner that died.
func (s *Segment) Recovered() bool { return s.left }
