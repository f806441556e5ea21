package shm

// What a death leaves in frames and spans. The sweep itself, which also knows the rings, is package mailbox's.

// EachFrame calls visit for every frame that is not free, with the owner word it had, and named by the generation there.
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
			w := f.Owner()         // step: sweep.candidate
			f.gen = w.Generation() // its head's, of an attached frame
			visit(f, w)
		}
	}
}

// Reclaim frees what only a death leaves: frames and spans attached to a message that is gone, and owner words of frames
// that their span is not carved into. It is idempotent.
func (s *Segment) Reclaim() {
	for span := range s.geo.spans {
		u := spanUse(s.spans[span].Load())
		if u.kind() == spanPart && s.countsAsFree(u) {
			s.spans[span].CompareAndSwap(uint64(u), uint64(spanFree))
		}
		_, n := u.frames()
		for k := n; k < framesPerSpan; k++ {
			own := &s.owners[span*framesPerSpan+k]
			// In any state: who frees a run gives the spans back before the frame.
			if w := Owner(own.Load()); w.State() != Free && w.State() != Attached && !s.Alive(w.Holder()) {
				own.CompareAndSwap(uint64(w), uint64(MakeOwner(w.Generation()+1, 0, Free)))
			}
		}
	}
	s.EachFrame(func(f Frame, w Owner) {
		// Taken first, from exactly the word that was stale: its holder may have let go of it in order meanwhile.
		if s.staleBody(w) && f.Move(w, f.Word(s.ID(s.self), Held)) { // step: body.reclaim
			f.gen = uint32(f.head.detached.Load()) - 1
			s.Free(f)
		}
	})
}
