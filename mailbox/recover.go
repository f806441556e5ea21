package mailbox

import "github.com/shmactor/shmactor/shm"

// A segment in a file may have been left by an owner that died. The next owner keeps the mailboxes that it makes again under
// the same name, kind and capacity, with what is queued in them, and closes the others.

// takeStock finds what is in the mailbox table: all is unused in a new segment.
func (h *Hub) takeStock() {
	if !h.seg.Owned() {
		return
	}
	h.left = map[uint32]bool{}
	var end uint64 // of the ring memory that has a mailbox
	for ; int(h.unused) < h.seg.Mailboxes() && h.seg.Mailbox(h.unused)[recCapacity].Load() != 0; h.unused++ {
		m, err := h.handle(h.unused)
		place := placeIn(h.seg.Mailbox(h.unused))
		h.rings = append(h.rings, place)
		end = max(end, place.at+place.size)
		if err != nil {
			continue // scribbled over: never used again
		}
		if m.state().open() && m.Name() != "" {
			h.left[m.index] = true
			continue
		}
		h.seg.Remove(m.index)
		if m.sealed() {
			h.setFree(m)
		} else {
			h.cutOff = append(h.cutOff, m) // nobody uses it before Recover has settled what is in it
		}
	}
	h.seg.KeepRings(end)
}

// sealed reports whether the ring of a closed mailbox is empty and its hints are right.
func (m *Mailbox) sealed() bool {
	head := m.rec[recHead].Load()
	for i := range m.mask + 1 {
		pos := head + i
		if w := load(m.ring, pos&m.mask); w.full() || w.ahead(pos>>m.shift) != 0 {
			return false
		}
	}
	return m.rec[recTail].Load() == head &&
		m.rec[recHand].Load() == 0
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
	if !h.seg.Owned() {
		return errNotOwner
	}
	h.sweeping.Lock()
	for _, p := range h.seg.Orphans() {
		h.seg.Condemn(p) // refused where this process has begun the entry's next life
		h.sweep(p, "its program died")
	}
	if h.seg.Recovered() && len(h.seg.Orphans()) == 0 {
		h.mend(0, "") // the entry of the last was free again when its owner died, and what it held is still there
	}
	h.sweeping.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.cutOff {
		if !m.end(shm.Stopped) { // open only if its name was torn
			m.seal(shm.Stopped)
		}
		h.setFree(m)
	}
	h.cutOff = nil
	return nil
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
