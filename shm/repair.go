package shm

// What a death leaves in frames and spans. The sweep itself, which also knows the rings, is package mailbox's.

// EachFrame calls visit for every frame that is not free, with the owner word it had.
func (s *Segment) EachFrame(visit func(f Frame, w Owner)) {
	for span := range s.geo.spans {
		_, n := spanUse(s.spans[span].Load()).frames()
		for k := range n {
			index := uint32(span*framesPerSpan + k)
			if Owner(s.owners[index].Load()).State() == Free {
				continue
			}
			f, ok := s.frameAt(index)
			if !ok {
				continue
			}
			w := f.Owner()
			f.gen = s.generation(index, w)
			visit(f, w)
		}
	}
}

// Reclaim frees what only a death leaves: frames and spans attached to a message that is gone, and frame 0 of a span that
// was never carved. It is idempotent.
func (s *Segment) Reclaim() {
	for span := range s.geo.spans {
		u := spanUse(s.spans[span].Load())
		if u.kind() == spanPart && s.countsAsFree(u) {
			s.spans[span].CompareAndSwap(uint64(u), uint64(spanFree))
		}
		if size, _ := u.frames(); size == 0 {
			own := &s.owners[span*framesPerSpan]
			w := Owner(own.Load())
			if w.State() == Held && !s.Alive(w.Holder()) {
				own.CompareAndSwap(uint64(w), uint64(MakeOwner(w.Generation()+1, 0, Free)))
			}
		}
	}
	s.EachFrame(func(f Frame, w Owner) {
		if s.staleBody(w) {
			f.Move(w, MakeOwner(f.gen+1, 0, Free))
		}
	})
}
