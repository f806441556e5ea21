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
	boxes []*mailbox.Mailbox
}

// await says that a call to box begins, and reports whether it would wait for itself. counted is true when awaited has to be
// called in its end.
func (h *handling) await(box *mailbox.Mailbox) (cycle, counted bool) {
	w := &h.waits
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false, false
	}
	if h.life.box.WaitFor(box) {
		w.publish(h.life.box)
		return true, false
	}
	w.boxes = append(w.boxes, box)
	return false, true
}

// awaited says that a call to box has ended.
func (h *handling) awaited(box *mailbox.Mailbox) {
	w := &h.waits
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.boxes, box); i >= 0 {
		w.boxes = slices.Delete(w.boxes, i, i+1)
		w.publish(h.life.box)
	}
}

// publish says of which one of those that are left the actor waits.
func (w *waits) publish(own *mailbox.Mailbox) {
	if n := len(w.boxes); n > 0 {
		own.WaitFor(w.boxes[n-1])
		return
	}
	own.WaitFor(nil)
}

// endWaits says that the handler has returned, or was given up.
func (h *handling) endWaits() {
	w := &h.waits
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over = true; len(w.boxes) > 0 {
		w.boxes = nil
		h.life.box.WaitFor(nil)
	}
}
