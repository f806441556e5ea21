package mailbox

import (
	"errors"

	"github.com/shmactor/shmactor/shm"
)

// A segment in a file may have been left by an owner that died. The next owner keeps the mailboxes that it makes again under
// the same name, kind and capacity, with what is queued in them, and closes the others.

// takeStock finds what is in the mailbox table: all is unused in a new segment.
func (h *Hub) takeStock() {
	if !h.seg.Owned() {
		return
	}
	h.left = map[uint32]bool{}
	for ; int(h.unused) < h.seg.Mailboxes() && h.seg.Mailbox(h.unused)[recCapacity].Load() != 0; h.unused++ {
		m, err := h.handle(h.unused)
		if err != nil {
			continue // scribbled over: never used again
		}
		if m.state().open() && m.Name() != "" {
			h.left[m.index] = true
			continue
		}
		h.seg.Remove(m.index)
		h.setFree(m)
	}
}

// claim returns the mailbox that an owner that died left under the name, if it is of this kind and size; one that is not is
// closed.
func (h *Hub) claim(name string, size, kind uint64) (*Mailbox, bool) {
	i, ok := h.seg.Lookup(name)
	if !ok || !h.left[i] {
		return nil, false
	}
	delete(h.left, i)
	m, err := h.handle(i)
	if err != nil {
		return nil, false
	}
	if m.Kind() == kind && m.mask+1 == size {
		return m, true
	}
	if m.end(shm.Unknown) {
		h.setFree(m)
	}
	return nil, false
}

// Recover sweeps the processes of an owner that died. Dead letters have a place to go by now.
func (h *Hub) Recover() error {
	var wrong []error
	for _, p := range h.seg.Orphans() {
		_, err := h.Sweep(p, "its program died")
		wrong = append(wrong, err)
	}
	for _, l := range h.closed {
		for _, i := range l {
			if m, err := h.handle(i); err == nil {
				m.seal(shm.Stopped) // its closer may have been cut off
			}
		}
	}
	return errors.Join(wrong...)
}

// CloseUnclaimed closes the mailboxes of an owner that died that were not made again.
func (h *Hub) CloseUnclaimed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.left {
		if m, err := h.handle(i); err == nil && m.end(shm.Stopped) {
			h.setFree(m)
		}
	}
	clear(h.left)
}
