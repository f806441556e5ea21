package mailbox

import (
	"context"
	"fmt"

	"github.com/shmactor/shmactor/shm"
)

// Reply is the answer to a call, in the hands of its caller until Release.
type Reply struct {
	hub    *Hub
	frame  shm.Frame
	body   shm.Frame
	length uint32
	Codec  uint8
	Status uint32
}

// Bytes is the payload of the reply, in place: valid until Release.
func (r *Reply) Bytes() ([]byte, error) {
	if r.body.IsZero() {
		return r.hub.payload(r.frame, r.length)
	}
	return r.hub.payload(r.body, r.length)
}

// Release gives the reply's memory back.
func (r *Reply) Release() { r.hub.drop(r.frame) }

// Call sends a request and waits for its end: a reply, a *Failure when its receiver could not answer, or the end of the context. With
// an error the request may have been handled, unless the error is ErrMailboxFull, ErrStopped from a mailbox that was
// closed before, or one of the draft itself. It is safe for any goroutine.
func (m *Mailbox) Call(ctx context.Context, d *Draft) (Reply, error) {
	h := m.hub
	w := h.calls.get()
	defer h.calls.put(w)
	d.Header.Call = w.number
	m.address(d)
	if err := m.publishWait(ctx, d, shm.IsCall); err != nil {
		h.Discard(d)
		return Reply{}, err
	}
	return h.await(ctx, d.Frame, w, m.Process() != h.self)
}

// CallBytes calls with a copy of b and returns a copy of the reply.
func (m *Mailbox) CallBytes(ctx context.Context, b []byte) ([]byte, error) {
	d, err := m.hub.DraftWait(ctx, len(b))
	if err != nil {
		return nil, err
	}
	d.fill(b)
	r, err := m.Call(ctx, &d)
	if err != nil {
		return nil, err
	}
	defer r.Release()
	in, err := r.Bytes()
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), in...), nil
}

// await is C7 to C11 and C17 of the call table: it watches the owner word until the call has ended.
func (h *Hub) await(ctx context.Context, f shm.Frame, me *waiter, remote bool) (Reply, error) {
	if remote {
		h.spin(func() bool { return !pending(f, f.Owner()) })
	}
	for tries := 0; ; tries++ {
		w := f.Owner()           // sync: reply; step: call.watch
		if tries == awaitTries { // a call passes through few states; this word changes all the time
			return Reply{}, h.lost(w)
		}
		if !pending(f, w) {
			r, err, ended := h.ended(f, w)
			if ended {
				return r, err
			}
			continue
		}
		if !w.Has(shm.Waiting) && !f.Move(w, w.With(shm.Waiting)) { // sync: call; step: call.waiting
			continue
		}
		select {
		case <-me.wake:
			tries = 0
		case <-ctx.Done():
			if h.giveUp(f) {
				return Reply{}, context.Cause(ctx)
			}
		case <-h.done:
			if h.giveUp(f) {
				return Reply{}, h.Err()
			}
		}
	}
}

// awaitTries bounds how often in a row the word of a call changes under its caller.
const awaitTries = 1 << 10

// pending reports whether the call in frame f goes on.
func pending(f shm.Frame, w shm.Owner) bool {
	switch w.State() {
	case shm.Queued, shm.Taken, shm.Deferred, shm.Settling:
		return w.Generation() == f.Generation()
	}
	return false
}

// ended reads the end of a call from its owner word; it is false when the word changed meanwhile.
func (h *Hub) ended(f shm.Frame, w shm.Owner) (r Reply, err error, ended bool) {
	if w.Generation() != f.Generation() {
		return r, h.lost(w), true
	}
	h.order.came(f)
	switch st := w.State(); {
	case st == shm.Replied && w.Holder() == h.self:
		return h.replyIn(f), nil, true
	case st == shm.Failed && w.Holder() == h.self:
		fail := &Failure{Reason: w.Reason()}
		if w.Has(shm.Detail) {
			detail := h.replyIn(f)
			if text, err := detail.Bytes(); err == nil {
				fail.Text = string(text)
			}
		}
		h.drop(f)
		return r, fail, true
	case st == shm.Lent:
		if !f.Move(w, w.With(shm.Abandoned)) { // step: call.forget
			return r, nil, false // the borrower came back just now
		}
		return r, &Failure{Reason: w.Reason()}, true
	}
	return r, h.lost(w), true
}

// lost is the end of a call whose frame is not the caller's any more: this process has let go of the segment, or somebody
// scribbled over it.
func (h *Hub) lost(w shm.Owner) error {
	if err := h.Err(); err != nil {
		return err
	}
	h.doubt()
	return fmt.Errorf("the frame of a call was taken away: it is %v: %w", w, shm.ErrCorrupt)
}

// replyIn is the reply in a frame that this process holds.
func (h *Hub) replyIn(f shm.Frame) Reply {
	r := Reply{hub: h, frame: f}
	in := f
	if body, ok := f.Body(); ok {
		r.body, in = body, body
	}
	head := in.Header()
	r.length, r.Codec, r.Status = head.Length, head.Codec, head.Status
	return r
}

// giveUp abandons a call: no reply can arrive after it returned true. It returns false when the call has ended after all.
func (h *Hub) giveUp(f shm.Frame) bool {
	for range ownerTries {
		w := f.Owner()
		switch {
		case !pending(f, w):
			return false
		case w.State() == shm.Deferred:
			if f.Move(w, f.Word(h.self, shm.Held)) { // step: call.take-back
				h.drop(f)
				return true
			}
		case f.Move(w, w.With(shm.Abandoned).Without(shm.Waiting)): // step: call.abandon
			return true
		}
	}
	return false
}
