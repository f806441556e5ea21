package shm

import "math/bits"

// When a process finds no free frame it says so in one word of the header: bit = process index mod 64. As long as the word
// is not 0, nobody keeps freed frames for itself, and who frees one wakes those whose bit is set. Bits count nothing: a
// bit that a dead process left costs one spurious wake.
//
// So that nobody waits for ever while others take what is freed, there is a turn, as for the room in a mailbox: who frees a frame gives it to
// one of the processes that wait, to each in its time. As long as a process has the turn, the others leave one free frame, or free
// span, to it. The turn ends with the frame that it gets, when nobody waits there any more, with its death, and after
// turnLimit refusals. A process that is stopped meanwhile holds up nobody: there is one frame less for the others, as if it had taken it.
// A message of several spans needs them side by side: it is woken like the others, and nothing is left to it.
//
//	turn word: | refusals 32 | ... | active 1 | bit 8 |
const (
	turnActive  = 1 << 8
	turnBits    = 1<<8 - 1
	turnRefused = 1 << 32
	turnLimit   = 1 << 12
)

// leavesFrame reports whether a process has to leave a frame to the one that has the turn.
func (s *Segment) leavesFrame(p ProcessID) bool {
	w := s.header[hdrTurn].Load() // sync: turn-for-frames
	return w&turnActive != 0 && w&turnBits != uint64(p.Index()%64) && w/turnRefused < turnLimit
}

// refusedByTurn counts what a turn has cost the others.
func (s *Segment) refusedByTurn(p ProcessID) {
	if w := s.header[hdrTurn].Load(); s.leavesFrame(p) {
		s.header[hdrTurn].CompareAndSwap(w, w+turnRefused)
	}
}

// usedTurn ends the turn of a process that has got a frame; it is false if it is another's. Others may count what it costs them
// meanwhile, at most turnLimit times in one turn.
func (s *Segment) usedTurn(p ProcessID) bool { return s.endTurnOf(uint64(p.Index() % 64)) }

func (s *Segment) endTurnOf(bit uint64) bool {
	for range 2 * turnLimit {
		w := s.header[hdrTurn].Load()
		if w&turnActive == 0 || w&turnBits != bit {
			return false
		}
		if s.header[hdrTurn].CompareAndSwap(w, w&turnBits) {
			return true
		}
	}
	return false
}

// PassTurn gives back the turn of a process in which nobody waits for a frame, and wakes those who left one to it.
func (s *Segment) PassTurn(p ProcessID) {
	if s.usedTurn(p) {
		s.offer()
	}
}

// EndTurn ends the turn of whoever has it, and forgets who waits, since the dead one may be among them: for the sweep, which wakes
// everybody afterwards. Who lives says again that it waits.
func (s *Segment) EndTurn() {
	s.header[hdrWanted].Store(0) // sync: wanted
	s.header[hdrTurn].And(turnBits)
}

// giveTurn gives the turn to the next of the processes that wait, when nobody has it or it was not used in time.
func (s *Segment) giveTurn(set uint64) {
	w := s.header[hdrTurn].Load()
	if set == 0 || w&turnActive != 0 && w/turnRefused < turnLimit {
		return
	}
	last := int(w & turnBits % 64)
	next := (last + 1 + bits.TrailingZeros64(bits.RotateLeft64(set, -last-1))) % 64
	// First the turn, then the look: who waits was read before, and the sweep that ended the turns of the dead may have passed.
	if s.header[hdrTurn].CompareAndSwap(w, turnActive|uint64(next)) && !s.AnyAlive(uint32(next)) { // sync: turn-for-frames
		s.endTurnOf(uint64(next))
	}
}

// Want says that process p waits for a frame, and wakes everybody, so that they give back what they keep. The caller looks
// for a frame once more before it sleeps.
func (s *Segment) Want(p uint32) {
	bit := uint64(1) << (p % 64)
	if s.header[hdrWanted].Or(bit)&bit == 0 { // sync: wanted
		s.WakeAll()
	}
}

// freed wakes those who wait for a frame, if there are any. It is called after a frame was let go: a waiter that looked before has said
// that it waits before it looked.
func (s *Segment) freed() {
	if s.Wanted() {
		s.offer()
	}
}

// Wanted reports whether somebody waits for a frame.
func (s *Segment) Wanted() bool { return s.header[hdrWanted].Load() != 0 } // sync: wanted

// offer wakes those who wait for a frame, after one was freed.
func (s *Segment) offer() {
	s.giveTurn(s.header[hdrWanted].Load()) // before they are woken
	set := s.header[hdrWanted].Swap(0)
	for p := uint32(0); set != 0 && int64(p) < s.geo.processes; p++ {
		if set>>(p%64)&1 != 0 {
			s.SetLook(p)
			s.Ring(p)
		}
	}
}

// Alarm is WakeAll for the sweep, which believes nobody: it wakes every entry, whatever that says of its state and its sleep.
func (s *Segment) Alarm() {
	for p := range uint32(s.geo.processes) {
		s.SetLook(p)
		s.Wake(p)
	}
}

// WakeAll says to every process: look at everything.
func (s *Segment) WakeAll() {
	for p := range uint32(s.geo.processes) {
		if _, st := splitProc(s.process(p)[procWord].Load()); st == ProcLive {
			s.SetLook(p)
			s.Ring(p)
		}
	}
}
