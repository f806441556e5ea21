package shm

import "errors"

// The audit is the check of a segment at work: what it looks for holds at every moment, so each finding says that somebody
// scribbled over the segment. It costs about as much as a sweep, and a system makes it before every sweep.

// auditFindings bounds what the error of an audit tells.
const auditFindings = 4

// Audit looks for what cannot be, while others work. Only the owner calls it: it compares with what the owner knows by its own
// account. A nil error does not say that all is well: bytes of messages, for one, may be anything.
func (s *Segment) Audit() error {
	if err := s.owned(); err != nil {
		return err
	}
	s.mu.Lock() // nobody else changes the directory, nor grants an entry or takes it back
	defer s.mu.Unlock()
	c := checker{s: s, most: auditFindings}
	c.auditHeader()
	c.auditProcesses()
	c.checkDirectory()
	for span := range s.geo.spans {
		c.auditSpan(span)
	}
	return errors.Join(c.wrong...)
}

// constant reports whether a word of the header never changes once it was written.
func constant(word int) bool {
	return word < hdrDirectory && word != hdrRingsUsed && word != hdrEnded
}

// stampHeader remembers the header for the audit.
func (s *Segment) stampHeader() {
	for w := range s.stamp {
		s.stamp[w] = s.header[w].Load()
	}
}

func (c *checker) auditHeader() {
	for w, is := range c.s.stamp {
		if now := c.s.header[w].Load(); constant(w) && now != is {
			c.add("word %d of the header is %#x, not %#x", w, now, is)
		}
	}
	if used := c.s.header[hdrRingsUsed].Load(); used != c.s.ringsUsed {
		c.add("the header says that %d words of ring memory are in use, not %d", used, c.s.ringsUsed)
	}
}

func (c *checker) auditProcesses() {
	for i, seat := range c.s.seats {
		life, st := splitProc(c.s.process(uint32(i))[procWord].Load())
		fits := st == ProcFree
		switch {
		case seat.dead:
			fits = st == ProcDead
		case seat.taken:
			fits = st == ProcReserved || st == ProcLive
		}
		if !fits || life != seat.life&(1<<lifeBits-1) {
			c.add("entry %d of the process table is %v in life %d, in life %d it was granted to", i, st, life, seat.life)
		}
	}
}

func (c *checker) auditSpan(span int64) {
	s := c.s
	u := spanUse(s.spans[span].Load())
	fits := false
	switch v := u.value(); u.kind() {
	case spanFree:
		fits = u == spanFree
	case spanClass:
		fits = v < int64(len(classSizes))
	case spanRun:
		fits = v > 0 && v <= s.geo.spans-span
	case spanPart:
		fits = v < int64(s.Frames())
	}
	if !fits {
		c.add("span %d has the use %#x", span, uint64(u))
	}
	at := span * framesPerSpan
	for k := range int64(framesPerSpan) {
		if w := Owner(s.owners[at+k].Load()); !c.possible(w) {
			c.add("frame %d is %v (%#x)", at+k, w, uint64(w))
		}
	}
}

// possible reports whether an owner word could stand in a segment that is sound. What a process writes about itself names a
// process that is there: the sweep leaves no word of one that is not. An end of a call may for a moment be handed to a
// caller that is gone.
func (c *checker) possible(w Owner) bool {
	s := c.s
	switch st := w.State(); st {
	case Free:
		return w == MakeOwner(w.Generation(), 0, Free)
	case Attached:
		return w.head() < s.Frames() && w == attachedTo(w.head(), w.Generation())
	case Held, Queued, Taken, Deferred, Lent, Settling:
		return s.seatOf(w.Holder()) != nil
	case Replied, Failed:
		return int64(w.Holder().Index()) < s.geo.processes
	}
	return false
}
