package shm

// What a span is carved into. The word changes only by CAS, and only by who holds the owner words that the change concerns:
//
//	FREE -> CLASS(c)   by who holds its frame 0, which becomes the first frame of the class
//	CLASS(c) -> FREE   by who holds all its frames
//	FREE -> RUN(n)     by who holds its frame 0, which becomes a message of n spans
//	FREE -> PART(h, g) by who holds frame h, in generation g: a further span of its message
//	RUN, PART -> FREE  by who holds that frame, before it lets go
//
//	| generation of the head 32 | index of the head frame 24 | kind 8 |   PART
//	| 0                         | n or class            24 | kind 8 |
//
// A PART whose head is in another generation, or free, is left by a process that died: it counts as free.
type spanUse uint64

const (
	spanFree spanUse = iota
	spanClass
	spanRun
	spanPart
)

func (u spanUse) kind() spanUse { return u & 0xff }
func (u spanUse) value() int64  { return int64(u >> 8 & (1<<indexBits - 1)) }

func classUse(class int) spanUse { return spanUse(class)<<8 | spanClass }
func runUse(n int64) spanUse     { return spanUse(n)<<8 | spanRun }

func partUse(head, gen uint32) spanUse {
	return spanUse(gen)<<32 | spanUse(head)<<8 | spanPart
}

// frames returns the size of the span's frames, header included, and how many there are: none in a free span.
func (u spanUse) frames() (size, n int64) {
	switch v := u.value(); u.kind() {
	case spanClass:
		if v < int64(len(classSizes)) {
			size = int64(classSizes[v])
			return size, spanSize / size
		}
	case spanRun:
		if v > 0 && v <= maxSpans {
			return v * spanSize, 1
		}
	}
	return 0, 0
}

// strangeSpan finds a span with a use that no correct program writes. Such spans are lost memory.
func (s *Segment) strangeSpan() (span int64, ok bool) {
	for span := range s.geo.spans {
		u := spanUse(s.spans[span].Load())
		if _, n := u.frames(); u.kind() > spanPart || n == 0 && (u.kind() == spanClass || u.kind() == spanRun) {
			return span, true
		}
	}
	return 0, false
}

// classOf returns the smallest class whose frames hold a payload of n bytes, or len(classSizes) when only a run does.
func classOf(n int) int {
	lo, hi := 0, len(classSizes)
	for lo < hi {
		mid := (lo + hi) / 2
		if int64(classSizes[mid])-frameHeader >= int64(n) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// Class numbers the sizes of frames: messages of one class use the same ones. All that need several spans are of one.
func Class(n int) int { return classOf(n) }

// holdFirst takes frame 0 of a span that is not carved, which is the right to carve it.
func (s *Segment) holdFirst(span int64, self ProcessID) (gen uint32, ok bool) {
	own := &s.owners[span*framesPerSpan]
	w := Owner(own.Load())
	if w.State() != Free || !own.CompareAndSwap(uint64(w), uint64(MakeOwner(w.Generation(), self, Held))) {
		return 0, false
	}
	return w.Generation(), true
}

// dropFirst gives frame 0 back. Who looked for memory while it was held found none here.
func (s *Segment) dropFirst(span int64, gen uint32) {
	s.owners[span*framesPerSpan].Store(uint64(MakeOwner(gen+1, 0, Free)))
	s.freed()
}

// carve turns a free span into frames of a class and returns its frame 0, held.
func (s *Segment) carve(class int, self ProcessID, r region) (Frame, bool) {
	for span := r.from; span < r.to; span++ {
		u := spanUse(s.spans[span].Load())
		if !s.countsAsFree(u) {
			continue
		}
		if r.leave {
			r.leave = false
			continue
		}
		gen, ok := s.holdFirst(span, self)
		if !ok {
			continue
		}
		if !s.spans[span].CompareAndSwap(uint64(u), uint64(classUse(class))) {
			s.dropFirst(span, gen)
			continue
		}
		return s.frameAt(uint32(span * framesPerSpan))
	}
	return Frame{}, false
}

// countsAsFree reports whether a span may be carved: it is free, or part of a message that is gone.
func (s *Segment) countsAsFree(u spanUse) bool {
	if u.kind() != spanPart {
		return u.kind() == spanFree
	}
	head := uint32(u.value())
	if head >= s.Frames() {
		return true
	}
	w := Owner(s.owners[head].Load())
	return w.State() == Free || s.staleBody(w) || s.generation(head, w) != uint32(u>>32)
}

// uncarve frees spans whose frames are all free, so that they can be carved for another class. It returns how many.
func (s *Segment) uncarve(self ProcessID) (freed int) {
	for span := range s.geo.spans {
		u := spanUse(s.spans[span].Load())
		_, n := u.frames()
		if u.kind() != spanClass || !s.holdAll(span, n, self) {
			continue
		}
		s.spans[span].CompareAndSwap(uint64(u), uint64(spanFree))
		s.dropAll(span, n)
		freed++
	}
	return freed
}

// holdAll takes all n frames of a span, or none. It looks at all of them before it takes the first: as long as one is in use nobody who
// looks for a frame misses another, and nobody is woken for that.
func (s *Segment) holdAll(span, n int64, self ProcessID) bool {
	at := span * framesPerSpan
	for i := range n {
		if Owner(s.owners[at+i].Load()).State() != Free {
			return false
		}
	}
	for i := range n {
		own := &s.owners[at+i]
		w := Owner(own.Load())
		if w.State() != Free || !own.CompareAndSwap(uint64(w), uint64(MakeOwner(w.Generation(), self, Held))) {
			s.dropAll(span, i)
			return false
		}
	}
	return true
}

// dropAll gives the first n frames of a span back. Who looked for memory while they were held found none here.
func (s *Segment) dropAll(span, n int64) {
	at := span * framesPerSpan
	for i := range n {
		w := Owner(s.owners[at+i].Load())
		s.owners[at+i].Store(uint64(MakeOwner(w.Generation()+1, 0, Free)))
	}
	if n > 0 {
		s.freed()
	}
}

// buildRun takes n adjoining spans for one message, from the far end, where runs do not cut up the space of small frames.
// The head is built first: until it is let go, all parts are found through it.
func (s *Segment) buildRun(n int64, self ProcessID, r region) (Frame, bool) {
	for start := r.to - n; start >= r.from; start-- {
		if busy := s.busyIn(start, n); busy >= 0 {
			start = busy - n + 1 // and one less: no run across that span
			continue
		}
		if r.leave {
			r.leave = false
			continue
		}
		u := spanUse(s.spans[start].Load())
		gen, ok := s.holdFirst(start, self)
		if !ok {
			continue
		}
		if !s.countsAsFree(u) || !s.spans[start].CompareAndSwap(uint64(u), uint64(runUse(n))) {
			s.dropFirst(start, gen)
			continue
		}
		head := uint32(start * framesPerSpan)
		if s.takeParts(start, n, partUse(head, gen)) {
			return s.frameAt(head)
		}
		s.releaseRun(head, gen, n)
		s.dropFirst(start, gen)
	}
	return Frame{}, false
}

// busyIn is the first span of n that is not free, -1 if all are.
func (s *Segment) busyIn(start, n int64) int64 {
	for span := start; span < start+n; span++ {
		if !s.countsAsFree(spanUse(s.spans[span].Load())) {
			return span
		}
	}
	return -1
}

func (s *Segment) takeParts(start, n int64, part spanUse) bool {
	for i := int64(1); i < n; i++ {
		u := spanUse(s.spans[start+i].Load())
		if !s.countsAsFree(u) || !s.spans[start+i].CompareAndSwap(uint64(u), uint64(part)) {
			return false
		}
	}
	return true
}

// releaseRun frees the spans of a message of n spans. The caller holds its head and lets go of it afterwards, so a death in
// between leaves the head to the sweep, which comes here again.
func (s *Segment) releaseRun(head, gen uint32, n int64) {
	start := int64(head / framesPerSpan)
	part := partUse(head, gen)
	for i := int64(1); i < n && start+i < s.geo.spans; i++ {
		s.spans[start+i].CompareAndSwap(uint64(part), uint64(spanFree))
	}
	s.spans[start].CompareAndSwap(uint64(runUse(n)), uint64(spanFree))
}
