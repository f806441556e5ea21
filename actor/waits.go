package actor

import (
	"slices"
	"sync"

	"github.com/shmactor/shmactor/mailbox"
)

// waits are the mailboxes from which a handler awaits replies: one for each call that it, or a goroutine of it, made with its
// context and that has not ended. The actor's mailbox says of one of them that it is waited for; from what all actors say,
// package mailbox finds cycles.
type waits struct {
	mu    sync.Mutex
	over  bool // the handler has returned: its actor waits for nobody, whatever its goroutines do
	calls []waitedCall
}

// waitedCall is a call that a handler waits for. Its number, which is in the message too, tells it from a call to the same mailbox that was
// given up before: the end of that one does not end the wait for this one.
type waitedCall struct {
	box    *mailbox.Mailbox
	number uint32
}

// await says that a call to box begins, and reports whether it would wait for itself. With a number awaited has to be called in
// its end.
func (h *handling) await(box *mailbox.Mailbox) (number uint32, cycle bool) {
	w := &h.waits
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return 0, false
	}
	number = h.life.callNumber()
	if h.life.box.WaitFor(box, number) {
		w.publish(h.life.box)
		return 0, true
	}
	w.calls = append(w.calls, waitedCall{box, number})
	return number, false
}

// callNumber numbers the calls of a life's handlers, from 1, and other than the lives before it did.
func (l *Life) callNumber() uint32 {
	const bits = 24
	for {
		if n := l.calls.Add(1) & (1<<bits - 1); n != 0 {
			return l.generation<<bits | n
		}
	}
}

// awaited says that a call has ended.
func (h *handling) awaited(number uint32) {
	w := &h.waits
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.IndexFunc(w.calls, func(c waitedCall) bool { return c.number == number }); i >= 0 {
		w.calls = slices.Delete(w.calls, i, i+1)
		w.publish(h.life.box)
	}
}

// publish says of which one of those that are left the actor waits.
func (w *waits) publish(own *mailbox.Mailbox) {
	if n := len(w.calls); n > 0 {
		own.WaitFor(w.calls[n-1].box, w.calls[n-1].number)
		return
	}
	own.WaitFor(nil, 0)
}

// endWaits says that the handler has returned, or was given up.
func (h *handling) endWaits() {
	w := &h.waits
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over = true; len(w.calls) > 0 {
		w.calls = nil
		h.life.box.WaitFor(nil, 0)
	}
}
