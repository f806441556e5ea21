package mailbox

import (
	"fmt"

	"github.com/shmactor/shmactor/shm"
)

// Message is a message in this process's hands: one that a Receiver took, or a deferred call that was claimed. It ends in
// exactly one of Answer, Reply, Fail, Defer, Release, Bury and PutBack; Lend, BuryCopy and Return are for a handler that is given up. Its
// memory is another's from then on: a second end is refused and touches nothing.
type Message struct {
	hub    *Hub
	box    *Mailbox // where it was received; nil for a claimed call
	Frame  shm.Frame
	Header shm.Header // a private copy
	body   shm.Frame  // the larger reply, while it is being written
	hand   handWord   // what names it in front of the ring; 0 without redelivery
	over   bool       // it has ended
}

// IsCall reports whether somebody waits for the end of the message.
func (m *Message) IsCall() bool { return m.Frame.Owner().Has(shm.IsCall) }

// Bytes is the payload, in place: valid until the message ends, and its sender could still change it.
func (m *Message) Bytes() ([]byte, error) { return m.hub.payload(m.Frame, m.Header.Length) }

func (h *Hub) payload(f shm.Frame, n uint32) ([]byte, error) {
	p := f.Payload()
	if int64(n) > int64(len(p)) {
		h.doubt()
		return nil, fmt.Errorf("a payload of %d bytes in a frame of %d: %w", n, len(p), shm.ErrCorrupt)
	}
	return p[:n:n], nil
}

// Value takes the Go value that the message carries instead of a payload. local is false when it carries bytes; ErrValueLost when the
// value was in the memory of another process, or of an earlier life.
func (m *Message) Value() (v any, local bool, err error) {
	if m.Header.Value == 0 {
		return nil, false, nil
	}
	v, ok := m.hub.takeValue(m.Frame, m.Header.Value)
	if !ok {
		return nil, true, ErrValueLost
	}
	return v, true, nil
}

// end marks the message as ended; it is false if it was ended before.
func (m *Message) end() bool {
	first := !m.over
	m.over = true
	return first
}

// dropBody gives the memory of a reply back that is not sent.
func (m *Message) dropBody() {
	if !m.body.IsZero() {
		m.hub.pool.Put(m.body)
		m.body = shm.Frame{}
	}
}

// Room returns memory for a reply of n bytes: the request's own if it is large enough, and then the request is overwritten;
// else, and with redelivery, a second frame. Call it again for more.
func (m *Message) Room(n int) ([]byte, error) {
	if m.over {
		return nil, ErrReplied
	}
	if m.hand == 0 && m.body.IsZero() && n <= m.Frame.Cap() {
		return m.Frame.Payload(), nil
	}
	if !m.body.IsZero() && n <= m.body.Cap() {
		return m.body.Payload(), nil
	}
	m.dropBody()
	b, err := m.hub.pool.GetReserved(n)
	if err != nil {
		return nil, err
	}
	m.body = b
	return b.Payload(), nil
}

// Answer ends a call with the reply of n bytes that was written into the memory that Room returned last. ErrReplied means
// that nobody waits for it any more.
func (m *Message) Answer(n int, codec uint8, status uint32) error {
	if !m.end() {
		return ErrReplied
	}
	m.put(n, codec, status)
	return m.finish(shm.Replied, shm.NoReason, 0)
}

// put says how long the reply is, in the header of the frame that it lies in: so a request that may be needed again stays whole.
func (m *Message) put(n int, codec uint8, status uint32) {
	if m.body.IsZero() {
		m.letGo() // it is not needed again
		m.Frame.SetReply(uint32(n), codec, status)
		return
	}
	m.body.SetReply(uint32(n), codec, status)
	m.Frame.Attach(m.body)
	m.body = shm.Frame{}
}

// Overwrite returns the request's own memory for a reply when there is no other. The request is lost: it is not received again.
func (m *Message) Overwrite() []byte {
	m.dropBody()
	m.letGo()
	return m.Frame.Payload()
}

// Reply ends a call with a copy of b.
func (m *Message) Reply(b []byte) error {
	room, err := m.Room(len(b))
	if err != nil {
		return err
	}
	return m.Answer(copy(room, b), 0, 0)
}

// Fail ends a call without a reply: its caller gets a *Failure with the reason and the text. A text for which there is no
// memory is cut where the request's own frame ends.
func (m *Message) Fail(why shm.Reason, text string) error {
	if m.over {
		return ErrReplied
	}
	text = text[:min(len(text), m.Largest())]
	room, err := m.Room(len(text))
	if err != nil {
		room = m.Overwrite()
	}
	m.over = true
	m.put(copy(room, text), 0, 0)
	return m.finish(shm.Failed, why, shm.Detail)
}

// finish ends a call: C4 to C6, C12, C15 of the call table.
func (m *Message) finish(to shm.State, why shm.Reason, flags shm.Owner) error {
	err := m.handBack(to, why, flags)
	m.letGo()
	return err
}

// handBack is the one compare-and-swap that hands the frame to its caller.
func (m *Message) handBack(to shm.State, why shm.Reason, flags shm.Owner) error {
	h, f := m.hub, m.Frame
	for range ownerTries {
		w := f.Owner()
		if w.Generation() != f.Generation() || w.Holder() != h.self {
			return ErrReplied
		}
		if w.State() == shm.Lent {
			m.giveBack()
			return ErrReplied
		}
		if w.State() != shm.Taken {
			return ErrReplied
		}
		if w.Has(shm.Abandoned) {
			if f.Move(w, f.Word(h.self, shm.Held)) { // step: reply.late
				h.pool.Put(f)
				return ErrReplied
			}
			continue
		}
		end := f.Word(m.Header.Caller, to).With(shm.IsCall | flags).Because(why)
		h.unblock(&m.Header)
		h.order.leaves(f)
		if f.Move(w, end) { // sync: reply; step: reply.hand
			return h.handOver(f, end, m.Header.Call, w.Has(shm.Waiting))
		}
	}
	h.doubt()
	return shm.ErrCorrupt
}

// unblock says that the actor which made a call does not wait for it any more. This comes before the end of the call, so
// that whoever answered may call that actor at once: it is only about to learn that it is free. Another call that it makes
// by now, also to the same mailbox, has another number.
func (h *Hub) unblock(head *shm.Header) {
	if head.Sender == 0 {
		return
	}
	if rec := h.seg.Mailbox(head.Sender - 1); rec != nil {
		rec[recWaitsFor].CompareAndSwap(waitsFor(head.Mailbox, uint32(head.Chain)), 0) // sync: waits-for
	}
}

// handOver is what follows the compare-and-swap that gave a frame to its caller: first that, then the look at the caller's
// process entry, so that a caller's death is seen by this side or by the sweep.
func (h *Hub) handOver(f shm.Frame, end shm.Owner, call uint32, waiting bool) error {
	p := end.Holder()
	if !h.seg.Alive(p) { // sync: verdict; step: reply.verdict
		if f.Move(end, f.Word(h.self, shm.Held)) { // step: reply.revoke
			h.pool.Put(f)
		}
		return ErrReplied
	}
	if waiting {
		h.wakeCaller(p, call)
	}
	return nil
}

func (h *Hub) wakeCaller(p shm.ProcessID, call uint32) {
	if p == h.self {
		h.calls.wake(call)
		return
	}
	h.seg.SetCall(p.Index(), call)
	h.seg.Ring(p.Index())
}

// Release ends a one-way message that was handled.
func (m *Message) Release() {
	if !m.end() {
		return
	}
	m.dropBody()
	if m.Frame.Move(m.Frame.Word(m.hub.self, shm.Taken), m.Frame.Word(m.hub.self, shm.Held)) { // step: message.release
		m.hub.drop(m.Frame)
		m.letGo()
		return
	}
	m.giveBack()
}

// Largest is the largest reply that Room gives memory for.
func (m *Message) Largest() int { return m.hub.seg.MaxMessage() }

// Token names the message for Claim, once it is deferred.
func (m *Message) Token() Token { return Token{m.Frame.Index(), m.Frame.Generation()} }

// drop frees a frame that this process holds exclusively, and the value that goes with it.
func (h *Hub) drop(f shm.Frame) {
	h.takeValue(f, h.valueLife())
	h.pool.Put(f)
}

// Lend settles a message whose handler is given up but still runs: a caller is told why at once. The frame stays as it is
// until the handler's goroutine calls Return, or any other ending.
func (m *Message) Lend(why shm.Reason) {
	h, f := m.hub, m.Frame
	for range ownerTries {
		w := f.Owner()
		if w.Generation() != f.Generation() || w.State() != shm.Taken || w.Holder() != h.self {
			return
		}
		to := w.To(h.self, shm.Lent).Without(shm.Waiting).Because(why)
		if !w.Has(shm.IsCall) {
			to = to.With(shm.Abandoned) // nobody waits for a one-way message
		}
		h.unblock(&m.Header)
		h.order.leaves(f)
		if f.Move(w, to) { // step: lend.lend
			m.letGo() // its handler may still run
			if w.Has(shm.IsCall | shm.Waiting) {
				h.wakeCaller(m.Header.Caller, m.Header.Call)
			}
			return
		}
	}
}

// Return ends a message that was lent: the goroutine that could still read it has come back.
func (m *Message) Return() {
	if m.end() {
		m.dropBody()
		m.giveBack()
	}
}

func (m *Message) giveBack() {
	h, f := m.hub, m.Frame
	for range ownerTries {
		w := f.Owner() // step: lend.look
		if w.Generation() != f.Generation() || w.State() != shm.Lent || w.Holder() != h.self {
			return
		}
		if !w.Has(shm.IsCall) && !w.Has(shm.Abandoned) {
			f.Set(w.To(h.self, shm.Settling).Because(w.Reason())) // of one-way messages nobody else changes the word; step: lend.settling
			h.bury(f, w.Reason(), m.Header.Mailbox)
			return
		}
		if w.Has(shm.Abandoned) {
			if f.Move(w, f.Word(h.self, shm.Held)) { // step: lend.drop
				h.drop(f)
				return
			}
			continue
		}
		end := f.Word(m.Header.Caller, shm.Failed).With(shm.IsCall).Because(w.Reason())
		if f.Move(w, end) { // step: lend.fail
			_ = h.handOver(f, end, m.Header.Call, w.Has(shm.Waiting))
			return
		}
	}
}

// Token names a deferred call. It may be passed to another goroutine, or in a message to another process; the first
// bearer that claims it answers.
type Token struct {
	Frame      uint32
	Generation uint32
}

// Defer ends the handling of a call without an answer: the bearer of its token will answer it. ErrReplied means that its
// caller has given up.
func (m *Message) Defer() error {
	if !m.end() {
		return ErrReplied
	}
	m.dropBody()
	m.letGo() // first: its bearer may have it in the same state
	h, f := m.hub, m.Frame
	for range ownerTries {
		w := f.Owner()
		if w.Generation() != f.Generation() || w.State() != shm.Taken || w.Holder() != h.self {
			break
		}
		if w.Has(shm.Abandoned) {
			if f.Move(w, f.Word(h.self, shm.Held)) {
				h.drop(f)
				break
			}
			continue
		}
		put := w.To(h.self, shm.Deferred)
		h.order.leaves(f)
		if !f.Move(w, put) { // step: defer.defer
			continue
		}
		h.unblock(&m.Header) // this actor goes on, and another may answer
		// As when a frame is handed over: the sweep of a dead caller may have passed before it was deferred.
		if !h.seg.Alive(m.Header.Caller) && f.Move(put, f.Word(h.self, shm.Held)) { // step: defer.revoke
			h.drop(f)
			break
		}
		return nil
	}
	return ErrReplied
}

// Due reports whether a deferred call still waits for its answer, or is being answered.
func (h *Hub) Due(t Token) bool {
	f, err := h.seg.FrameAt(t.Frame)
	if err != nil {
		return false
	}
	w := f.Owner()
	return w.Generation() == t.Generation && (w.State() == shm.Deferred || w.State() == shm.Taken)
}

// Claim takes a deferred call to answer it. ErrReplied when somebody claimed it before, or its caller gave up.
func (h *Hub) Claim(t Token) (Message, error) {
	f, err := h.seg.FrameAt(t.Frame)
	if err != nil {
		return Message{}, err
	}
	for range ownerTries {
		w := f.Owner()
		if w.Generation() != t.Generation || f.Generation() != t.Generation || w.State() != shm.Deferred {
			break
		}
		if f.Move(w, w.To(h.self, shm.Taken)) { // step: defer.claim
			h.order.came(f)
			return Message{hub: h, Frame: f, Header: f.Header()}, nil
		}
	}
	return Message{}, ErrReplied
}
