package mailbox

import (
	"fmt"

	"github.com/shmactor/shmactor/shm"
)

// Swept counts what a sweep settled.
type Swept struct {
	Failed  int // calls that were told
	Buried  int // one-way messages that became dead letters
	Freed   int // frames that nobody will miss
	Skipped int // queued calls whose caller is dead
}

// Sweep mends what process dead left, and what any dead process left that an earlier sweep did not reach. Only the owner of
// the segment calls it, and only when the kernel said that the process has exited; text says how, and calls that it was handling fail
// with it. Queued messages stay. It is idempotent: one that was cut off is begun again.
func (h *Hub) Sweep(dead shm.ProcessID, text string) (Swept, error) {
	if !h.seg.Owned() {
		return Swept{}, fmt.Errorf("only the owner of a segment sweeps it")
	}
	if !h.seg.Condemn(dead) {
		return Swept{}, fmt.Errorf("process %v: %w", dead, shm.ErrNotFound)
	}
	s := sweep{hub: h, dead: dead, text: text}
	type candidate struct {
		f shm.Frame
		w shm.Owner
	}
	var candidates []candidate
	h.seg.EachFrame(func(f shm.Frame, w shm.Owner) {
		if s.concerns(f, w) {
			candidates = append(candidates, candidate{f, w})
		}
	})
	s.queued = h.inRings()
	for _, c := range candidates {
		s.settle(c.f, c.w)
	}
	h.seg.Reclaim()
	h.alarm()
	h.seg.Release(dead)
	return s.done, nil
}

type sweep struct {
	hub    *Hub
	dead   shm.ProcessID
	text   string
	queued map[uint32]bool // frames that full slots name
	done   Swept
}

// concerns reports whether a frame's holder is not alive, or its caller where nobody else would notice.
func (s *sweep) concerns(f shm.Frame, w shm.Owner) bool {
	switch w.State() {
	case shm.Attached:
		return false
	case shm.Deferred, shm.Lent:
		if p, _ := f.Caller(); w.Has(shm.IsCall) && !s.hub.seg.Alive(p) {
			return true
		}
	}
	return !s.hub.seg.Alive(w.Holder())
}

// inRings finds the frames that are named by the full slots of all mailboxes.
func (h *Hub) inRings() map[uint32]bool {
	found := map[uint32]bool{}
	h.eachMailbox(func(m *Mailbox) {
		for i := range m.ring {
			if w := load(m.ring, uint64(i)); w.full() {
				found[w.frame()] = true
			}
		}
	})
	return found
}

func (h *Hub) eachMailbox(f func(m *Mailbox)) {
	for i := range uint32(h.seg.Mailboxes()) {
		if h.seg.Mailbox(i)[recCapacity].Load() == 0 {
			continue
		}
		if m, err := h.handle(i); err == nil {
			f(m)
		}
	}
}

// settle moves one frame on, from exactly the word that was read: C19 to C22 and the one-way table.
func (s *sweep) settle(f shm.Frame, w shm.Owner) {
	h := s.hub
	switch st := w.State(); st {
	case shm.Queued:
		s.settleQueued(f, w)
	case shm.Taken, shm.Settling, shm.Deferred:
		if st == shm.Taken && s.queued[f.Index()] {
			return // its taker died before it emptied the slot: the next life takes it again
		}
		s.settleTaken(f, w)
	case shm.Lent:
		p, call := f.Caller()
		switch {
		case h.seg.Alive(w.Holder()): // its caller is dead
			f.Move(w, w.With(shm.Abandoned))
		case w.Has(shm.Abandoned) || !h.seg.Alive(p):
			s.free(f, w)
		default:
			s.fail(f, w, p, call, 0)
		}
	default:
		s.free(f, w)
	}
}

func (s *sweep) settleQueued(f shm.Frame, w shm.Owner) {
	switch head := f.Header(); {
	case s.queued[f.Index()]:
		if w.Has(shm.IsCall) && !w.Has(shm.Abandoned) && f.Move(w, w.With(shm.Abandoned)) {
			s.done.Skipped++
		}
	case head.Reason != shm.NoReason: // its holder died while it buried it
		if f.Move(w, f.Word(s.hub.self, shm.Taken)) {
			s.hub.bury(f, head.Reason, head.Origin-1)
			s.done.Buried++
		}
	default:
		s.free(f, w)
	}
}

// settleTaken ends a message whose handling process died.
func (s *sweep) settleTaken(f shm.Frame, w shm.Owner) {
	h := s.hub
	p, call := f.Caller()
	if w.Has(shm.IsCall) && (w.Has(shm.Abandoned) || !h.seg.Alive(p)) {
		s.free(f, w)
		return
	}
	mine := w.To(h.self, shm.Settling)
	if w.State() == shm.Deferred && h.seg.Alive(w.Holder()) || !f.Move(w, mine) {
		// A flag was set meanwhile, which the next look takes into account.
		if now := f.Owner(); now != w && now.State() == w.State() && now.Generation() == w.Generation() {
			s.settleTaken(f, now)
		}
		return
	}
	if !w.Has(shm.IsCall) {
		box, _ := f.To()
		h.bury(f, shm.WorkerDied, box)
		s.done.Buried++
		return
	}
	text := ""
	if w.Holder() == s.dead {
		text = s.text
	}
	h.seg.DropBody(f)
	f.SetReply(uint32(copy(f.Payload(), text)), 0, 0)
	for range ownerTries {
		now := f.Owner()
		if now.Has(shm.Abandoned) {
			s.free(f, now)
			return
		}
		if s.fail(f, now, p, call, shm.Detail) {
			return
		}
	}
}

func (s *sweep) fail(f shm.Frame, w shm.Owner, p shm.ProcessID, call uint32, detail shm.Owner) bool {
	why := w.Reason()
	if why == shm.NoReason {
		why = shm.WorkerDied
	}
	end := f.Word(p, shm.Failed).With(shm.IsCall | detail).Because(why)
	if !f.Move(w, end) {
		return false
	}
	s.done.Failed++
	_ = s.hub.handOver(f, end, call, w.Has(shm.Waiting))
	return true
}

func (s *sweep) free(f shm.Frame, w shm.Owner) {
	if f.Move(w, f.Word(s.hub.self, shm.Held)) {
		s.hub.seg.Free(f)
		s.done.Freed++
	}
}

// alarm wakes whoever may have been waiting for the dead: every receiver that has something to do, every parked caller,
// every sender that waits for room.
func (h *Hub) alarm() {
	h.eachMailbox(func(m *Mailbox) {
		m.wakeRoom()
		if m.rec[recTail].Load() != m.rec[recHead].Load() {
			h.wakeMailbox(m.Process(), m.index)
		}
	})
	for p := range uint32(h.seg.Processes()) {
		if info, _ := h.seg.Process(p); info.State == shm.ProcLive {
			h.seg.SetLook(p)
			h.seg.Ring(p)
		}
	}
}
