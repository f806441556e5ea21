package shm

import (
	"errors"
	"fmt"
	"os"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/word"
)

// The process word: life in bits 4..13, the state in bits 0..3.
//
//	FREE --owner--> RESERVED --the process itself--> LIVE --owner, when the kernel says it exited--> DEAD --owner, swept--> FREE

// ProcessState is the state of an entry of the process table.
type ProcessState uint8

// The states of an entry.
const (
	ProcFree     ProcessState = iota // nobody
	ProcReserved                     // granted to a process that has not attached yet
	ProcLive
	ProcDead // exited; its sweep has not ended
)

// String names the state.
func (p ProcessState) String() string {
	return [...]string{"free", "reserved", "live", "dead", "?"}[min(p, 4)]
}

const procLifeShift = 4

func procWordOf(life uint32, st ProcessState) uint64 {
	return uint64(life&(1<<lifeBits-1))<<procLifeShift | uint64(st)
}

func splitProc(w uint64) (life uint32, st ProcessState) {
	return uint32(w>>procLifeShift) & (1<<lifeBits - 1), ProcessState(w & 15)
}

func (s *Segment) process(i uint32) []word.Word {
	if int64(i) >= s.geo.processes {
		return nil
	}
	at := int64(i) * procWords
	return s.processes[at : at+procWords : at+procWords]
}

// seat is what the owner knows of an entry of the process table: the shared copy is for the others, and one of them may
// scribble over it.
type seat struct {
	life        uint32
	taken, dead bool
}

// seatOf returns the seat of a process that was granted and not released. The caller holds mu.
func (s *Segment) seatOf(id ProcessID) *seat {
	if i := int(id.Index()); i < len(s.seats) && s.seats[i].taken && s.seats[i].life == id.Life() {
		return &s.seats[i]
	}
	return nil
}

// Grant reserves an entry of the process table for a process that will Enter it, and names it for people. Only the owner
// calls it.
func (s *Segment) Grant(name string) (ProcessID, error) {
	if err := errors.Join(s.writable(), s.owned()); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range uint32(s.geo.processes) {
		i := (s.granted + n) % uint32(s.geo.processes) // in turn: a life's number comes round as late as it can
		p := s.process(i)
		seat := &s.seats[i]
		if seat.taken {
			continue
		}
		name = name[:min(len(name), MaxSystemName)]
		var text [MaxSystemName]byte
		copy(text[:], name)
		for w := range MaxSystemName / wordSize {
			p[procName+w].Store(nativeWord(text[w*wordSize:]))
		}
		p[procNameLen].Store(uint64(len(name)))
		p[procPID].Store(0)
		p[procStart].Store(0)
		s.clearSignals(i)
		id := MakeProcessID(i, seat.life+1)
		seat.life, seat.taken, seat.dead = id.Life(), true, false
		p[procWord].Store(procWordOf(id.Life(), ProcReserved))
		s.granted = i + 1
		return id, nil
	}
	return 0, fmt.Errorf("shm: all %d entries of the process table are in use; raise Processes: %w", s.geo.processes, ErrNoSpace)
}

// Enter makes this process the one that its owner granted an entry to. One that comes late, when the entry was given to
// somebody else, is refused.
func (s *Segment) Enter(id ProcessID) error {
	if err := s.writable(); err != nil {
		return err
	}
	p := s.process(id.Index())
	if p == nil {
		return fmt.Errorf("shm: cannot enter as process %v of %d: %w", id, s.geo.processes, ErrCorrupt)
	}
	reserved := procWordOf(id.Life(), ProcReserved)
	notGranted := fmt.Errorf("shm: process %v is not granted to this process, or not any more: %w", id, ErrCorrupt)
	if p[procWord].Load() != reserved {
		return notGranted
	}
	start, err := sys.OwnStartTime()
	if err != nil && s.Shared() {
		return err
	}
	p[procPID].Store(uint64(os.Getpid()))
	p[procStart].Store(start)
	if !p[procWord].CompareAndSwap(reserved, procWordOf(id.Life(), ProcLive)) {
		return notGranted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entered == nil {
		s.entered = map[uint32]ProcessID{}
	}
	s.entered[id.Index()] = id
	return nil
}

// Entered is the ID under which this process entered entry i through this mapping: its own copy, which no other process can
// change.
func (s *Segment) Entered(i uint32) ProcessID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.entered[i]; ok {
		return id
	}
	return s.ID(i)
}

// ID is the ID of the process that is in entry i now.
func (s *Segment) ID(i uint32) ProcessID {
	p := s.process(i)
	if p == nil {
		return 0
	}
	life, _ := splitProc(p[procWord].Load())
	return MakeProcessID(i, life)
}

// Alive reports whether id names a process that has not been declared dead.
func (s *Segment) Alive(id ProcessID) bool {
	p := s.process(id.Index())
	if p == nil {
		return false
	}
	life, st := splitProc(p[procWord].Load()) // sync: verdict
	return life == id.Life() && (st == ProcLive || st == ProcReserved)
}

// AnyAlive reports whether a process is alive whose index is bit mod 64: one of those that a bit of a hint stands for.
func (s *Segment) AnyAlive(bit uint32) bool {
	for i := bit; int64(i) < s.geo.processes; i += 64 {
		if s.Alive(s.ID(i)) {
			return true
		}
	}
	return false
}

// Condemn declares a process dead. Only the owner calls it, and only when the kernel said that the process has exited. The
// caller then sweeps, and calls Release.
func (s *Segment) Condemn(id ProcessID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	seat := s.seatOf(id)
	if seat == nil {
		return false
	}
	seat.dead = true
	s.process(id.Index())[procWord].Store(procWordOf(id.Life(), ProcDead)) // sync: verdict; step: verdict.dead
	return true
}

// Release frees the entry of a process that was condemned and swept.
func (s *Segment) Release(id ProcessID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	seat := s.seatOf(id)
	if seat == nil || !seat.dead {
		return false
	}
	seat.taken, seat.dead = false, false
	s.process(id.Index())[procWord].Store(procWordOf(id.Life(), ProcFree)) // step: verdict.gone
	return true
}

// ProcessInfo is what the table says about one process.
type ProcessInfo struct {
	ID    ProcessID
	State ProcessState
	Name  string
	PID   int
	Start uint64 // ticks since boot
}

// Process reads entry i; ok is false when there is no such entry.
func (s *Segment) Process(i uint32) (info ProcessInfo, ok bool) {
	p := s.process(i)
	if p == nil {
		return info, false
	}
	life, st := splitProc(p[procWord].Load())
	var name [MaxSystemName]byte
	for w := range MaxSystemName / wordSize {
		putNativeWord(name[w*wordSize:], p[procName+w].Load())
	}
	return ProcessInfo{
		ID: MakeProcessID(i, life), State: st,
		PID:   int(p[procPID].Load()),
		Start: p[procStart].Load(),
		Name:  string(name[:min(p[procNameLen].Load(), MaxSystemName)]),
	}, true
}
