package mailbox

import "github.com/shmactor/shmactor/shm"

// Dead letters lie in a mailbox like any other. The supervisor of the system receives from it, and keeps it below its
// capacity by dropping the oldest.

// SetLetters says where dead letters go. Before, and when the mailbox is full, a dead letter is only counted.
func (h *Hub) SetLetters(m *Mailbox) { h.letters.Store(m) }

// Bury ends a one-way message as a dead letter. v is its value, if it carried one by reference and that was taken.
func (m *Message) Bury(why shm.Reason, v any) {
	if !m.end() {
		return
	}
	m.dropBody()
	h, f, origin := m.hub, m.Frame, m.Header.Mailbox
	// Settling, not held: if this process dies now, the sweep buries it.
	if !f.Move(f.Word(h.self, shm.Taken), f.Word(h.self, shm.Settling)) { // step: letter.settling
		m.giveBack()
		return
	}
	if why == shm.NoReason {
		why = shm.Undeliverable
	}
	if m.Header.Value != 0 && v != nil {
		h.putValue(&Draft{Frame: f, value: v})
	}
	if m.hand != 0 {
		why = m.hand.because(why)
		f.SetAttempts(m.Header.Attempts)
	}
	h.bury(f, why, origin)
	m.letGo()
}

// Bury ends a draft that could not be sent as a dead letter of the mailbox that it was for; the draft is used up.
func (m *Mailbox) Bury(d *Draft, why shm.Reason) {
	m.address(d)
	m.hub.bury(d.Frame, why, m.index)
}

// BuryCopy is Lend for a one-way message: a copy of it becomes a dead letter, without the value that goes by reference, which is
// its handler's. Until the message is lent the copy is a part of it, and from then on the letter: so there is one, wherever this
// process dies. Without memory for a copy the message itself becomes the letter, when Return is called or this process is swept.
func (m *Message) BuryCopy(why shm.Reason) {
	h, f := m.hub, m.Frame
	w := f.Word(h.self, shm.Taken)
	if f.Owner() != w {
		return
	}
	lent := f.Word(h.self, shm.Lent).Because(why)
	b, copied := m.copy()
	if copied {
		f.Attach(b)
		lent = lent.With(shm.Abandoned)
	}
	h.order.leaves(f)
	f.Set(lent) // step: copy.lend
	m.letGo()   // its handler may still run
	if copied {
		b.Set(b.Word(h.self, shm.Settling).Because(why)) // step: copy.settling
		h.bury(b, why, m.Header.Mailbox)
	}
}

// copy makes a copy of a one-way message.
func (m *Message) copy() (b shm.Frame, ok bool) {
	var from []byte
	if m.Header.Value == 0 {
		from, _ = m.Bytes()
	}
	d, err := m.hub.DraftReserved(len(from))
	if err != nil {
		return b, false
	}
	head := m.Header
	head.Value, head.Length = 0, uint32(copy(d.Frame.Payload(), from))
	d.Frame.SetHeader(&head)
	return d.Frame, true
}

// countDead counts a dead letter, for the system and for the mailbox that the message was for.
func (h *Hub) countDead(why shm.Reason, origin uint32) {
	h.seg.Count(why) // step: letter.count
	if rec := h.seg.Mailbox(origin); rec != nil {
		rec[recDead].Add(1)
	}
}

// bury makes a frame that this process holds exclusively a dead letter.
func (h *Hub) bury(f shm.Frame, why shm.Reason, origin uint32) {
	h.countDead(why, origin)
	letters := h.letters.Load()
	if box, use := f.To(); letters != nil && box == letters.index && use == letters.incarnation {
		h.drop(f) // it was for the dead letters themselves; an earlier use of that mailbox may have been anybody's
		return
	}
	h.post(f, why, origin)
}

// post publishes a frame that this process holds exclusively as a dead letter that was counted. The reason is in the header
// before the frame can be lost: the sweep posts again what a dead process had in its hands, and a reason says that it was
// counted.
func (h *Hub) post(f shm.Frame, why shm.Reason, origin uint32) {
	letters := h.letters.Load()
	if letters == nil {
		h.drop(f)
		return
	}
	f.SetLetter(why, origin)
	f.SetTo(letters.index, letters.incarnation) // step: letter.header
	f.Set(f.Word(h.self, shm.Queued))           // step: letter.queue
	if err := letters.push(f.Index()); err != nil {
		h.seg.Count(shm.DroppedLetters)
		f.Set(f.Word(h.self, shm.Held))
		h.drop(f)
		return
	}
	letters.signal()
}

// reject settles a message that was taken out of a closed mailbox: a caller is told why, a one-way message is buried.
func (m *Mailbox) reject(held taken, f shm.Frame, hand handWord, why shm.Reason) {
	switch held {
	case takenAbandoned:
		m.hub.drop(f)
	case takenMessage:
		msg := m.message(f, hand)
		if msg.IsCall() {
			_ = msg.finish(shm.Failed, why, 0)
			return
		}
		v, _, _ := msg.Value()
		msg.Bury(why, v)
	}
}
