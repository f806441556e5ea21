package shm

import (
	"fmt"

	"github.com/shmactor/shmactor/internal/word"
)

// Pool hands out frames to one process. It keeps a few of each class that were freed, so that the usual way takes no
// shared word; the kept frames stay held by the process, so its death loses none. Safe for concurrent use.
type Pool struct {
	seg     *Segment
	self    ProcessID
	classes [len(classSizes)]struct {
		word.Mutex
		kept []Frame
		hint int64 // the span where a free frame was found last
		_    [64]byte
	}
}

const (
	// keptBytes bounds the memory that a cache keeps of one class; at least one frame, at most keptFrames.
	keptBytes  = 16 << 10
	keptFrames = 32
)

// NewPool returns the pool of the process that holds entry self.
func (s *Segment) NewPool(self ProcessID) *Pool { return &Pool{seg: s, self: self} }

func keptOf(class int) int { return max(1, min(keptFrames, keptBytes/int(classSizes[class]))) }

// Get returns a frame that holds a payload of n bytes, held by the pool's process. Its header and payload hold what was
// there before. It returns ErrTooLarge, or ErrNoSpace when no frame is free now.
func (p *Pool) Get(n int) (Frame, error) {
	if n > p.seg.MaxMessage() {
		return Frame{}, fmt.Errorf("shm: %d bytes, at most %d; raise MaxMessage: %w", n, p.seg.MaxMessage(), ErrTooLarge)
	}
	if err := p.seg.writable(); err != nil {
		return Frame{}, err
	}
	class := classOf(n)
	if f, ok := p.take(class, n); ok {
		return f, nil
	}
	// Other classes may sit on spans that nobody uses, the caches of this process among them.
	p.Flush()
	p.seg.uncarve(p.self)
	if f, ok := p.take(class, n); ok {
		return f, nil
	}
	return Frame{}, fmt.Errorf("shm: no frame for %d bytes in %d bytes of message memory; raise MessageBytes: %w",
		n, p.seg.geo.spans*spanSize, ErrNoSpace)
}

func (p *Pool) take(class, n int) (Frame, bool) {
	if class == len(classSizes) {
		return p.seg.buildRun((int64(n)+frameHeader+spanSize-1)/spanSize, p.self)
	}
	c := &p.classes[class]
	c.Lock()
	defer c.Unlock()
	if last := len(c.kept) - 1; last >= 0 {
		f := c.kept[last]
		c.kept = c.kept[:last]
		return f, true
	}
	if f, ok := p.scan(class, &c.hint); ok {
		return f, true
	}
	return p.seg.carve(class, p.self)
}

// scan looks for a free frame of a class, first where one was found before.
func (p *Pool) scan(class int, hint *int64) (Frame, bool) {
	s, want := p.seg, uint64(classUse(class))
	_, n := classUse(class).frames()
	for i := range s.geo.spans {
		span := (*hint + i) % s.geo.spans
		if s.spans[span].Load() != want {
			continue
		}
		for k := range n {
			index := span*framesPerSpan + k
			own := &s.owners[index]
			w := Owner(own.Load())
			if w.State() != Free && !s.staleBody(w) {
				continue
			}
			gen := s.generation(uint32(index), w)
			if w.State() == Attached {
				gen++ // it was never let go in order
			}
			if !own.CompareAndSwap(uint64(w), uint64(MakeOwner(gen, p.self, Held))) { // step: frame.hold
				continue
			}
			if s.spans[span].Load() != want { // uncarved in between: what was taken is no frame any more
				own.Store(uint64(MakeOwner(gen+1, 0, Free)))
				break
			}
			*hint = span
			return s.frameAt(uint32(index))
		}
	}
	return Frame{}, false
}

// Put frees a frame that the pool's process holds exclusively, with its body and spans. Every name of it is stale from now
// on: to free a stale name again does nothing.
func (p *Pool) Put(f Frame) {
	if f.Owner().Generation() != f.gen {
		return
	}
	s := p.seg
	s.releaseBody(f, p.self)
	f.gen++
	if u := spanUse(s.spans[f.index/framesPerSpan].Load()); u.kind() == spanClass && u.value() < int64(len(classSizes)) {
		if !s.Wanted() && p.keep(int(u.value()), f) {
			// Who began to wait meanwhile may have looked before, and this process may have emptied its cache before.
			if s.Wanted() {
				p.Flush()
			}
			return
		}
	} else if u.kind() == spanRun {
		s.releaseRun(f.index, f.gen-1, u.value())
	}
	f.Set(MakeOwner(f.gen, 0, Free)) // step: frame.free
	if s.Wanted() {                  // first the frame, then the look
		s.offer()
	}
}

// keep puts a frame into the cache, if there is room.
func (p *Pool) keep(class int, f Frame) bool {
	c := &p.classes[class]
	c.Lock()
	defer c.Unlock()
	if len(c.kept) >= keptOf(class) {
		return false
	}
	f.Set(f.Word(p.self, Held)) // step: frame.keep
	c.kept = append(c.kept, f)
	return true
}

// Free frees a frame that the caller holds exclusively without keeping it: the sweeper's way.
func (s *Segment) Free(f Frame) {
	s.releaseBody(f, s.ID(s.self))
	if u := spanUse(s.spans[f.index/framesPerSpan].Load()); u.kind() == spanRun {
		s.releaseRun(f.index, f.gen, u.value())
	}
	f.Set(MakeOwner(f.gen+1, 0, Free)) // step: frame.free
}

// Flush gives all kept frames back.
func (p *Pool) Flush() {
	freed := 0
	for i := range p.classes {
		c := &p.classes[i]
		c.Lock()
		for _, f := range c.kept {
			f.Set(MakeOwner(f.gen+1, 0, Free))
		}
		freed += len(c.kept)
		c.kept = c.kept[:0]
		c.Unlock()
	}
	if freed > 0 && p.seg.Wanted() {
		p.seg.offer()
	}
}

// Kept is how many frames the cache keeps.
func (p *Pool) Kept() (n int) {
	for i := range p.classes {
		c := &p.classes[i]
		c.Lock()
		n += len(c.kept)
		c.Unlock()
	}
	return n
}

// Attach makes body, which the caller holds, a part of f, which it holds too: the larger reply to f's request.
func (f Frame) Attach(body Frame) {
	body.head.detached.Store(uint64(body.gen + 1))
	f.head.body.Store(uint64(body.index + 1)) // named first: who frees f finds it; step: body.name
	body.Set(attachedTo(f.index, f.gen))      // step: body.attach
}

// Body returns the frame that is attached to f, if there is one.
func (f Frame) Body() (Frame, bool) {
	named := uint32(f.head.body.Load())
	if named == 0 {
		return Frame{}, false
	}
	b, ok := f.seg.frameAt(named - 1)
	if !ok || b.Owner() != attachedTo(f.index, f.gen) {
		return Frame{}, false
	}
	b.gen = uint32(b.head.detached.Load())
	return b, true
}

// releaseBody frees the frame that is attached to f. It is held by self first, so that a death on the way leaves a frame with
// a holder.
func (s *Segment) releaseBody(f Frame, self ProcessID) {
	b, ok := f.Body()
	if !ok {
		return
	}
	f.head.body.Store(0)
	if !b.Move(attachedTo(f.index, f.gen), b.Word(self, Held)) {
		return
	}
	if u := spanUse(s.spans[b.index/framesPerSpan].Load()); u.kind() == spanRun {
		s.releaseRun(b.index, b.gen-1, u.value())
	}
	b.Set(MakeOwner(b.gen, 0, Free)) // step: body.drop
}

// staleBody reports whether w is the word of a part whose message is gone: it counts as free.
func (s *Segment) staleBody(w Owner) bool {
	if w.State() != Attached {
		return false
	}
	if w.head() >= s.Frames() {
		return true
	}
	h := Owner(s.owners[w.head()].Load())
	return h.State() == Free || h.State() == Attached || h.Generation() != w.Generation()
}

// generation is the generation of the frame with word w: an attached frame's stands in its header.
func (s *Segment) generation(index uint32, w Owner) uint32 {
	if w.State() == Attached {
		if f, ok := s.frameAt(index); ok {
			return uint32(f.head.detached.Load()) - 1
		}
	}
	return w.Generation()
}

// DropBody frees the frame that is attached to f, which the caller holds.
func (s *Segment) DropBody(f Frame) { s.releaseBody(f, s.ID(s.self)) }
