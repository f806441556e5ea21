package mailbox

import "github.com/shmactor/shmactor/shm"

// A message whose handler is cut off, by a crash or the death of its process, is received again by the next receiver, if this
// one asked for it: R1 to R15 of the protocol.

// Redeliver makes messages that this receiver does not end be received again by the next one, before what is queued, until their
// handler was begun so many times; 0, as it is at first, is never. It is called before the first message is received. Such a
// receiver has one message at a time, and says with Begin when its handler begins.
func (r *Receiver) Redeliver(attempts int) { r.most = min(max(0, attempts), MaxAttempts) }

// Begin counts an attempt to handle the message: from now on the handler may have run. It is false when the attempts are used up:
// then the message is to be ended with the reason Exhausted. Of a receiver without redelivery it is true.
func (r *Receiver) Begin(m *Message) bool {
	if m.hand == 0 {
		return true
	}
	most := max(1, r.most)
	n := m.hand.attempts() + 1
	if m.hand.last() || n > most {
		return false
	}
	m.hand = makeHand(m.Frame, n, most)
	m.Header.Attempts = uint8(n)
	r.rec[recHand].Store(uint64(m.hand)) // sync: in-hand
	return true
}

// names reports whether the word names the message in frame f, whose owner word is w: it was for that use of that mailbox, and was
// not ended.
func (hand handWord) names(f shm.Frame, w shm.Owner, mailbox, incarnation uint32) bool {
	box, inc := f.To()
	return hand.set() && w.Generation() == hand.generation() && box == mailbox && inc == incarnation &&
		(w.State() == shm.Queued || w.State() == shm.Taken)
}

// inHand is the word of the message that the last receiver had in hand; 0 when the slot at head still has that message.
func (m *Mailbox) inHand(head uint64) handWord {
	w := handWord(m.rec[recHand].Load()) // sync: in-hand
	if !w.set() {
		return 0
	}
	if s := load(m.ring, head&m.mask); s.full() && s.ahead(head>>m.shift) == 0 && s.frame() == w.frame() {
		return 0
	}
	return w
}

// takeInHand is R11: it makes the message in hand this process's. It takes nothing when that was ended.
func (m *Mailbox) takeInHand(w handWord) (taken, shm.Frame) {
	f, err := m.hub.seg.FrameAt(w.frame())
	if err != nil || f.Generation() != w.generation() {
		return takenNothing, f
	}
	held, f := m.takeFrame(f)
	if held != takenNothing {
		m.hub.pool.DropBody(f) // of a reply that was not given
	}
	return held, f
}

// resume receives what the receiver before had in hand.
func (r *Receiver) resume() (msg Message, ok bool) {
	w := r.again
	r.again = 0
	held, f := r.takeInHand(w)
	if held == takenMessage {
		return r.message(f, w), true
	}
	r.rec[recHand].Store(0)
	if held == takenAbandoned {
		r.rec[recAbandoned].Add(1)
		r.hub.drop(f)
	}
	return msg, false
}

// message is a message that was taken, with the word that names it in front of the ring.
func (m *Mailbox) message(f shm.Frame, hand handWord) Message {
	msg := Message{hub: m.hub, box: m, Frame: f, Header: f.Header(), hand: hand}
	if hand != 0 {
		msg.Header.Attempts = uint8(hand.attempts())
	}
	return msg
}

// PutBack leaves a message whose handler crashed to the next receiver. It is false, and nothing is done, when there is no
// redelivery, this attempt was the last, or the request was given up for a reply: then no word names it.
func (m *Message) PutBack() bool {
	if m.hand == 0 || m.hand.last() || m.box.rec[recHand].Load() != uint64(m.hand) || !m.end() {
		return false
	}
	m.dropBody()
	h, f := m.hub, m.Frame
	for range ownerTries {
		w := f.Owner()
		switch {
		case w.Generation() != f.Generation() || w.State() != shm.Taken || w.Holder() != h.self:
			m.giveBack()
			return true
		case w.Has(shm.Abandoned):
			if f.Move(w, f.Word(h.self, shm.Held)) {
				h.drop(f)
				m.letGo()
				return true
			}
			continue
		}
		p := h.self
		if w.Has(shm.IsCall) {
			p = m.Header.Caller
		}
		h.order.leaves(f)
		if f.Move(w, w.To(p, shm.Queued)) {
			return true
		}
	}
	return true
}

// letGo says that the message is not in hand any more. The word may be another message's by now: of the next life, while a
// handler that was given up comes back.
func (m *Message) letGo() {
	if m.hand != 0 {
		m.box.rec[recHand].CompareAndSwap(uint64(m.hand), 0) // sync: in-hand
	}
}

// because is why a message became a dead letter when its last attempt was cut off: if it is not the only one, too many were.
func (w handWord) because(why shm.Reason) shm.Reason {
	if w.last() && w.attempts() > 1 && (why == shm.Crashed || why == shm.WorkerDied) {
		return shm.Exhausted
	}
	return why
}
