package shm

// When a process finds no free frame it says so in one word of the header: bit = process index mod 64. As long as the word
// is not 0, nobody keeps freed frames for itself, and who frees one wakes those whose bit is set. Bits count nothing: a
// bit that a dead process left costs one spurious wake.

// Want says that process p waits for a frame, and wakes everybody, so that they give back what they keep. The caller looks
// for a frame once more before it sleeps.
func (s *Segment) Want(p uint32) {
	bit := uint64(1) << (p % 64)
	if s.header[hdrWanted].Or(bit)&bit == 0 { // sync: wanted
		s.WakeAll()
	}
}

// Wanted reports whether somebody waits for a frame.
func (s *Segment) Wanted() bool { return s.header[hdrWanted].Load() != 0 } // sync: wanted

// offer wakes those who wait for a frame, after one was freed.
func (s *Segment) offer() {
	set := s.header[hdrWanted].Swap(0)
	for p := uint32(0); set != 0 && int64(p) < s.geo.processes; p++ {
		if set>>(p%64)&1 != 0 {
			s.SetLook(p)
			s.Ring(p)
		}
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
