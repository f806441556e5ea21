package shm

import (
	"fmt"

	"github.com/shmactor/shmactor/internal/word"
)

// Pool hands out frames to one process. It keeps a few of each class that were freed, so that the usual way looks at no
// word that others write; the kept frames stay held by the process, so its death loses none. Safe for concurrent use.
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
func (p *Pool) Get(n int) (Frame, error) { return p.get(n, false) }

// GetReserved is Get for what is sent by who has a message in hand: a reply, or what is needed for one. It may use the reserve, so that
// messages that wait to be handled never fill all memory: they can be answered, and then theirs is free.
func (p *Pool) GetReserved(n int) (Frame, error) { return p.get(n, true) }

func (p *Pool) get(n int, reserved bool) (Frame, error) {
	s := p.seg
	if n > s.MaxMessage() {
		return Frame{}, fmt.Errorf("shm: %d bytes, at most %d; raise MaxMessage: %w", n, s.MaxMessage(), ErrTooLarge)
	}
	if err := s.writable(); err != nil {
		return Frame{}, err
	}
	class := classOf(n)
	for again := range 2 {
		if again == 1 { // other classes may sit on spans that nobody uses, the caches of this process among them
			p.Flush()
			s.uncarve(p.self)
		}
		if f, ok := p.take(class, n, region{0, s.reserve(), !reserved && s.leavesFrame(p.self)}); ok {
			if s.usedTurn(p.self) {
				s.freed() // who left a frame may have left another one
			}
			return p.fitting(f, n)
		}
		if !reserved {
			continue
		}
		if f, ok := p.take(class, n, region{s.reserve(), s.geo.spans, false}); ok {
			return p.fitting(f, n)
		}
	}
	if !reserved {
		s.refusedByTurn(p.self)
	}
	if span, ok := p.seg.strangeSpan(); ok {
		return Frame{}, fmt.Errorf("shm: no frame for %d bytes: span %d has a use that does not exist: %w", n, span, ErrCorrupt)
	}
	return Frame{}, fmt.Errorf("shm: no frame for %d bytes in %d bytes of message memory; raise MessageBytes: %w",
		n, s.geo.spans*spanSize, ErrNoSpace)
}

// region is where a frame is looked for.
type region struct {
	from, to int64 // spans
	leave    bool  // the first free frame that is found, or span, is somebody else's
}

// reserve is the first of the spans at the end of message memory that are kept for those who have a message in hand.
func (s *Segment) reserve() int64 { return s.geo.spans - s.geo.spans/reserveShare }

// reserveShare is which part of message memory the reserve is; a segment of fewer spans has none.
const reserveShare = 32

// fitting gives a frame back whose size is another than what its span was carved for a moment ago.
func (p *Pool) fitting(f Frame, n int) (Frame, error) {
	if f.Cap() >= n {
		return f, nil
	}
	f.Set(MakeOwner(f.gen+1, 0, Free))
	return Frame{}, fmt.Errorf("shm: frame %d holds %d bytes, not %d: %w", f.index, f.Cap(), n, ErrCorrupt)
}

func (p *Pool) take(class, n int, r region) (Frame, bool) {
	if class == len(classSizes) {
		return p.seg.buildRun((int64(n)+frameHeader+spanSize-1)/spanSize, p.self, r)
	}
	c := &p.classes[class]
	c.Lock()
	defer c.Unlock()
	if last := len(c.kept) - 1; last >= 0 {
		f := c.kept[last]
		c.kept = c.kept[:last]
		return f, true
	}
	if f, ok := p.scan(class, &c.hint, r); ok {
		return f, true
	}
	return p.seg.carve(class, p.self, r)
}

// scan looks for a free frame of a class, first where one was found before.
func (p *Pool) scan(class int, hint *int64, r region) (Frame, bool) {
	s, want := p.seg, uint64(classUse(class))
	_, n := classUse(class).frames()
	size := r.to - r.from
	for i := range size {
		span := r.from + (*hint+i)%size
		if s.spans[span].Load() != want {
			continue
		}
		for k := range n {
			index := span*framesPerSpan + k
			own := &s.owners[index]
			w := Owner(own.Load()) // step: frame.look
			if w.State() != Free && !s.staleBody(w) {
				continue
			}
			if r.leave {
				r.leave = false
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
				s.freed() // who looked meanwhile could not carve the span
				break
			}
			*hint = span - r.from
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
	if u := spanUse(s.spans[f.index/framesPerSpan].Load()); u.kind() == spanClass && u.value() < int64(len(classSizes)) &&
		int64(classSizes[u.value()]) == f.size+frameHeader {
		if !s.Wanted() && int64(f.index/framesPerSpan) < s.reserve() && p.keep(int(u.value()), f) {
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
	s.freed()                        // first the frame, then the look
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
	if freed > 0 {
		p.seg.freed()
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
	body.head.detached.Store(uint64(body.gen + 1)) // step: body.detached
	f.head.body.Store(uint64(body.index + 1))      // named first: who frees f finds it; step: body.name
	body.Set(attachedTo(f.index, f.gen))           // step: body.attach
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
	if !b.Move(attachedTo(f.index, f.gen), b.Word(self, Held)) { // step: body.take
		return
	}
	f.head.body.Store(0) // step: body.forget
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
	h := Owner(s.owners[w.head()].Load()) // step: body.stale
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

// DropBody frees the frame that is attached to f, which the pool's process holds.
func (p *Pool) DropBody(f Frame) {
	p.seg.releaseBody(f, p.self)
	p.seg.freed()
}
