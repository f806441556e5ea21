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

// CountDead counts a message of the mailbox that became no dead letter, since there was no memory for one.
func (m *Mailbox) CountDead(why shm.Reason) { m.hub.countDead(why, m.index) }

// countDead counts a dead letter, for the system and for the mailbox that the message was for.
func (h *Hub) countDead(why shm.Reason, origin uint32) {
	h.seg.Count(why)
	if rec := h.seg.Mailbox(origin); rec != nil {
		rec[recDead].Add(1)
	}
}

// bury makes a frame that this process holds exclusively a dead letter.
func (h *Hub) bury(f shm.Frame, why shm.Reason, origin uint32) {
	h.countDead(why, origin)
	h.post(f, why, origin)
}

// post publishes a frame that this process holds exclusively as a dead letter that was counted. The reason is in the header
// before the frame can be lost: the sweep posts again what a dead process had in its hands, and a reason says that it was
// counted.
func (h *Hub) post(f shm.Frame, why shm.Reason, origin uint32) {
	letters := h.letters.Load()
	if letters == nil || origin == letters.index {
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
