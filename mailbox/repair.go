package mailbox

import (
	"errors"
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
		return Swept{}, errNotOwner
	}
	h.sweeping.Lock() // also while a verdict is given: a sweep under way judges by those that stood when it began
	defer h.sweeping.Unlock()
	if !h.seg.Condemn(dead) {
		return Swept{}, fmt.Errorf("process %v: %w", dead, shm.ErrNotFound)
	}
	return h.sweep(dead, text), nil
}

// sweep is Sweep after the verdict. The caller has the sweeping lock.
func (h *Hub) sweep(dead shm.ProcessID, text string) Swept {
	done := h.mend(dead, text)
	h.seg.Release(dead)
	return done
}

// mend settles what processes hold that are not alive.
func (h *Hub) mend(dead shm.ProcessID, text string) Swept {
	s := sweep{hub: h, dead: dead, text: text}
	var candidates []shm.Frame
	h.seg.EachFrame(func(f shm.Frame, w shm.Owner) {
		if s.concerns(f, w) {
			candidates = append(candidates, f)
		}
	})
	s.queued, s.hands = h.inRings()
	for _, c := range candidates {
		s.settle(c)
	}
	h.seg.Reclaim()
	h.alarm()
	return s.done
}

var errNotOwner = errors.New("only the owner of a segment sweeps it")

type sweep struct {
	hub    *Hub
	dead   shm.ProcessID
	text   string
	queued map[uint32]bool // frames that full slots name
	hands  map[Token]inHand
	done   Swept
}

// inHand is what the word in front of a ring names.
type inHand struct {
	mailbox, incarnation uint32
	word                 handWord
}

// hand is the word that names the frame in front of the ring of the mailbox that it is for, 0 for none.
func (s *sweep) hand(f shm.Frame) handWord {
	in := s.hands[Token{f.Index(), f.Generation()}]
	if box, inc := f.To(); in.word == 0 || box != in.mailbox || inc != in.incarnation {
		return 0 // a frame on its way to the dead letters is for them
	}
	return in.word
}

// spares reports whether the next receiver of its mailbox will find the frame.
func (s *sweep) spares(f shm.Frame) bool {
	w := s.hand(f)
	return s.queued[f.Index()] || w != 0 && !w.last()
}

// concerns reports whether a frame's holder is not alive, or the caller that it would be handed to.
func (s *sweep) concerns(f shm.Frame, w shm.Owner) bool {
	seg := s.hub.seg
	switch w.State() {
	case shm.Free, shm.Attached:
		return false
	case shm.Taken, shm.Deferred, shm.Lent:
		if p, _ := f.Caller(); w.Has(shm.IsCall) && !w.Has(shm.Abandoned) && !seg.Alive(p) {
			return true
		}
	}
	return !seg.Alive(w.Holder())
}

// inRings finds the frames that are named by the full slots of all mailboxes, and by the words in front of the rings: these are
// read later, since a message goes that way.
func (h *Hub) inRings() (found map[uint32]bool, hands map[Token]inHand) {
	found, hands = map[uint32]bool{}, map[Token]inHand{}
	h.eachMailbox(func(m *Mailbox) {
		for i := range m.ring {
			if w := load(m.ring, uint64(i)); w.full() { // step: sweep.ring
				found[w.frame()] = true
			}
		}
		if w := handWord(m.rec[recHand].Load()); w.set() { // sync: in-hand
			hands[Token{w.frame(), w.generation()}] = inHand{m.index, m.incarnation, w}
		}
	})
	return found, hands
}

// eachMailbox visits all mailboxes that were ever used. Together they have no more slots than there is ring memory: those that
// claim more are passed over, so that it takes no longer for what somebody wrote into their records.
func (h *Hub) eachMailbox(f func(m *Mailbox)) {
	_, bytes := h.seg.RingBytes()
	room := uint64(bytes) / wordBytes
	for i := range uint32(h.seg.Mailboxes()) {
		if h.seg.Mailbox(i)[recCapacity].Load() == 0 {
			continue
		}
		if m, err := h.handle(i); err == nil && m.mask < room {
			room -= m.mask + 1
			f(m)
		}
	}
}

// settle ends a frame's trouble: C19 to C22 and the one-way table. A compare-and-swap that is refused means that somebody who
// lives changed the word: it is read and judged again.
func (s *sweep) settle(f shm.Frame) {
	for range ownerTries {
		w := f.Owner() // step: sweep.judge
		if w.Generation() != f.Generation() || !s.concerns(f, w) || s.step(f, w) {
			return
		}
	}
}

// step moves a frame on from exactly the word w; it is false when the word was another.
func (s *sweep) step(f shm.Frame, w shm.Owner) bool {
	seg := s.hub.seg
	p, call := f.Caller()
	noCaller := w.Has(shm.Abandoned) || !seg.Alive(p)
	switch st := w.State(); {
	case st == shm.Queued:
		return s.stepQueued(f, w, p)
	case st == shm.Taken && s.spares(f) && !seg.Alive(w.Holder()):
		return s.stepQueued(f, w, p) // the next life takes it again
	case st == shm.Lent && seg.Alive(w.Holder()), st == shm.Taken && seg.Alive(w.Holder()):
		return f.Move(w, w.With(shm.Abandoned)) // its caller is dead: its holder frees it; step: sweep.abandon
	case st == shm.Lent && !w.Has(shm.IsCall) && unburied(f, w):
		return s.stepTaken(f, w, p, call)
	case st == shm.Lent && !noCaller:
		return s.fail(f, w, p, call, 0)
	case w.Has(shm.IsCall) && noCaller, st == shm.Held, st == shm.Replied, st == shm.Failed, st == shm.Lent:
		return s.free(f, w)
	}
	return s.stepTaken(f, w, p, call)
}

// unburied reports whether a one-way message that was lent has not become a dead letter: no copy was made, or it still is a part.
func unburied(f shm.Frame, w shm.Owner) bool {
	_, attached := f.Body() // step: copy.attached
	return attached || !w.Has(shm.Abandoned)
}

// stepQueued deals with what a dead process queued, or took and left in the ring or in hand. What lies there stays, and changes
// hands: no word may name a life that is over, since its number comes round again.
func (s *sweep) stepQueued(f shm.Frame, w shm.Owner, caller shm.ProcessID) bool {
	h := s.hub
	if s.spares(f) {
		mine := w.To(h.self, shm.Queued)
		skipped := w.Has(shm.IsCall) && !h.seg.Alive(caller)
		switch {
		case skipped:
			mine = mine.With(shm.Abandoned)
		case w.Has(shm.IsCall):
			mine = w.To(caller, shm.Queued)
		}
		moved := f.Move(w, mine) // step: sweep.adopt
		if moved && skipped {
			s.done.Skipped++
		}
		return moved
	}
	head := f.Header()
	if head.Reason == shm.NoReason {
		return s.free(f, w) // it was never accepted
	}
	if !f.Move(w, f.Word(h.self, shm.Settling)) { // its holder died while it buried it; step: sweep.rebury
		return false
	}
	h.post(f, head.Reason, head.Origin-1)
	s.done.Buried++
	return true
}

// stepTaken ends a message whose handling process died.
func (s *sweep) stepTaken(f shm.Frame, w shm.Owner, p shm.ProcessID, call uint32) bool {
	h := s.hub
	if !f.Move(w, w.To(h.self, shm.Settling).Because(w.Reason())) { // step: sweep.settle
		return false
	}
	if !w.Has(shm.IsCall) {
		head := f.Header()
		if head.Reason != shm.NoReason { // its holder died while it buried it, or read it
			h.post(f, head.Reason, head.Origin-1)
			s.done.Buried++
			return true
		}
		h.pool.DropBody(f) // a copy
		why := w.Reason()
		if why == shm.NoReason {
			why = shm.WorkerDied
		}
		if hand := s.hand(f); hand != 0 {
			why = hand.because(why)
			f.SetAttempts(uint8(hand.attempts()))
		}
		h.bury(f, why, head.Mailbox)
		s.done.Buried++
		return true
	}
	text := ""
	if w.Holder() == s.dead {
		text = s.text
	}
	h.pool.DropBody(f)
	f.SetReply(uint32(copy(f.Payload(), text)), 0, 0)
	for range ownerTries {
		now := f.Owner()
		if now.Has(shm.Abandoned) {
			return s.free(f, now)
		}
		if s.fail(f, now, p, call, shm.Detail) {
			break
		}
	}
	return true
}

func (s *sweep) fail(f shm.Frame, w shm.Owner, p shm.ProcessID, call uint32, detail shm.Owner) bool {
	why := w.Reason()
	if why == shm.NoReason {
		why = shm.WorkerDied
	}
	end := f.Word(p, shm.Failed).With(shm.IsCall | detail).Because(why)
	head := f.Header()
	s.hub.unblock(&head)
	if !f.Move(w, end) { // step: sweep.fail
		return false
	}
	s.done.Failed++
	_ = s.hub.handOver(f, end, call, w.Has(shm.Waiting))
	return true
}

func (s *sweep) free(f shm.Frame, w shm.Owner) bool {
	if !f.Move(w, f.Word(s.hub.self, shm.Held)) { // step: sweep.free
		return false
	}
	s.hub.seg.Free(f)
	s.done.Freed++
	return true
}

// alarm wakes whoever may have been waiting for the dead: every receiver that has something to do, every parked caller,
// every sender that waits for room.
func (h *Hub) alarm() {
	h.seg.EndTurn()
	h.eachMailbox(func(m *Mailbox) {
		m.rec[recLine].Store(0) // the dead one may be in it; who lives is in line again when it is woken; step: sweep.line
		m.rec[recTurn].Store(0) // step: sweep.turn
		m.wakeRoom()
		tail := m.rec[recTail].Load()
		if tail != m.rec[recHead].Load() {
			h.wakeMailbox(m.Process(), m.index)
		}
	})
	h.seg.Alarm() // step: sweep.alarm
}
