package shm

import (
	"errors"
	"fmt"
)

// Census counts the frames that are not free.
type Census struct {
	States [states]int
	Held   map[ProcessID]int // frames in the state Held, by holder: caches, and what is being read or filled
}

// Check verifies every invariant of a quiet segment that does not concern rings: spans and owner words fit each other, every
// holder is alive, the directory and the names agree, the process table makes sense. "Quiet" means that no operation is
// under way in any process. All that is wrong is in the error.
func (s *Segment) Check() (Census, error) {
	c := checker{s: s, most: maxFindings, census: Census{Held: map[ProcessID]int{}}}
	c.checkProcesses()
	c.checkSpans()
	c.checkFrames()
	c.checkDirectory()
	return c.census, errors.Join(c.wrong...)
}

type checker struct {
	s      *Segment
	census Census
	most   int // findings
	wrong  []error
}

// maxFindings bounds the report of a segment that is wrong everywhere.
const maxFindings = 50

func (c *checker) add(format string, args ...any) {
	if len(c.wrong) < c.most {
		c.wrong = append(c.wrong, fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...))
	}
}

func (c *checker) checkProcesses() {
	for i := range uint32(c.s.geo.processes) {
		p, _ := c.s.Process(i)
		switch {
		case p.State > ProcDead:
			c.add("process %d is in the unknown state %d", i, p.State)
		case p.State == ProcLive && p.PID == 0:
			c.add("process %d is live and has no pid", i)
		}
	}
}

func (c *checker) checkSpans() {
	s := c.s
	for span := range s.geo.spans {
		u := spanUse(s.spans[span].Load())
		_, n := u.frames()
		switch u.kind() {
		case spanFree:
		case spanClass:
			if n == 0 {
				c.add("span %d is carved for class %d of %d", span, u.value(), len(classSizes))
			}
		case spanRun:
			c.checkRun(span, u.value())
		case spanPart:
			if s.countsAsFree(u) {
				c.add("span %d is a part of frame %d, which is gone", span, u.value())
			}
		default:
			c.add("span %d has the unknown use %d", span, u.kind())
		}
		for k := n; k < framesPerSpan; k++ {
			if w := Owner(s.owners[span*framesPerSpan+k].Load()); w.State() != Free {
				c.add("span %d has %d frames, and frame %d of it is %v", span, n, k, w)
			}
		}
	}
}

func (c *checker) checkRun(span, n int64) {
	s, head := c.s, uint32(span*framesPerSpan)
	w := Owner(s.owners[head].Load())
	if w.State() == Free || n < 1 || n > s.geo.spans-span {
		c.add("span %d starts a run of %d spans that is %v", span, n, w)
		return
	}
	for i := int64(1); i < n; i++ {
		if u := spanUse(s.spans[span+i].Load()); u != partUse(head, s.generation(head, w)) {
			c.add("span %d is not a part of the run at %d", span+i, span)
		}
	}
}

func (c *checker) checkFrames() {
	s := c.s
	s.EachFrame(func(f Frame, w Owner) {
		st := w.State()
		if st >= states {
			c.add("frame %d is in the unknown state %d", f.index, st)
			return
		}
		c.census.States[st]++
		if st == Held {
			c.census.Held[w.Holder()]++
		}
		if st == Attached {
			if s.staleBody(w) {
				c.add("frame %d is attached to frame %d, which is gone", f.index, w.head())
			} else if b, ok := s.bodyOf(w.head()); !ok || b.index != f.index {
				c.add("frame %d is attached to frame %d, which does not name it", f.index, w.head())
			}
			return
		}
		if !s.Alive(w.Holder()) {
			c.add("frame %d is %v, and that process is not alive", f.index, w)
		}
	})
}

func (s *Segment) bodyOf(head uint32) (Frame, bool) {
	f, ok := s.frameAt(head)
	if !ok {
		return f, false
	}
	return f.Body()
}

func (c *checker) checkDirectory() {
	s, seen := c.s, map[uint32]bool{}
	if v := s.header[hdrDirectory].Load(); v%2 != 0 {
		c.add("the directory is being changed: its version is %d", v)
	}
	for at := range s.geo.indexSlots {
		w := s.index[at].Load()
		if w == slotEmpty {
			continue
		}
		m := uint32(w) - slotFirst
		name := s.Name(m)
		switch {
		case int64(m) >= s.geo.mailboxes || seen[m]:
			c.add("slot %d of the directory names mailbox %d, of %d or a second time", at, m, s.geo.mailboxes)
		case name == "" || Hash(name)>>32 != w>>32:
			c.add("slot %d of the directory and the name %q of mailbox %d do not fit", at, name, m)
		default:
			seen[m] = true
			if found, ok := s.Lookup(name); !ok || found != m {
				c.add("the name %q of mailbox %d is not found", name, m)
			}
		}
	}
	for m := range uint32(s.geo.mailboxes) {
		if v := s.nameWord(m, nameVersion).Load(); v%2 != 0 {
			c.add("the name of mailbox %d is being written: its version is %d", m, v)
		}
		if name := s.Name(m); name != "" && !seen[m] {
			c.add("mailbox %d has the name %q and no slot in the directory", m, name)
		}
	}
}
