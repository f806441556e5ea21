package mailbox

import (
	"errors"
	"fmt"

	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// ringPlace is where the ring of a mailbox lies, for ever.
type ringPlace struct{ at, size uint64 }

func placeIn(rec []word.Word) (place ringPlace) {
	place.at = rec[recRing].Load()
	place.size = rec[recCapacity].Load()
	return place
}

// doubt says that something here makes no sense: an audit would be in place.
func (h *Hub) doubt() { poke(h.doubts) }

// Doubts is sent to when this process has read what no correct program writes. The owner answers with an Audit.
func (h *Hub) Doubts() <-chan struct{} { return h.doubts }

// Audit looks for what cannot be, while everybody works: in the mailboxes, and with shm.Segment.Audit in all the rest. The
// error wraps shm.ErrCorrupt: somebody scribbled over the segment, and nothing in it is to be relied on. Only the owner calls it.
func (h *Hub) Audit() error {
	if !h.seg.Owned() {
		return errNotOwner
	}
	h.sweeping.Lock() // no holder of a frame is forgotten meanwhile
	defer h.sweeping.Unlock()
	wrong := []error{h.seg.Audit()}
	h.mu.Lock()
	rings := h.rings
	h.mu.Unlock()
	for i, place := range rings {
		if err := h.auditMailbox(uint32(i), place); err != nil && len(wrong) <= auditFindings {
			wrong = append(wrong, fmt.Errorf("mailbox %d: %w: %w", i, shm.ErrCorrupt, err))
		}
	}
	return errors.Join(wrong...)
}

// auditFindings bounds what the error of an audit tells.
const auditFindings = 4

func (h *Hub) auditMailbox(i uint32, place ringPlace) error {
	rec := h.seg.Mailbox(i)
	if now := placeIn(rec); now != place {
		return fmt.Errorf("its ring is %d words at %d, not %d at %d", now.size, now.at, place.size, place.at)
	}
	if w := stateWord(rec[recState].Load()); !w.open() && w&0xff != stateClosed {
		return fmt.Errorf("its state word is %#x", uint64(w))
	}
	c := consumerWord(rec[recConsumer].Load())
	if int(c.process().Index()) >= h.seg.Processes() || c != makeConsumer(c.epoch(), c.process())|c&parkedBit {
		return fmt.Errorf("its consumer word is %#x", uint64(c))
	}
	m, err := h.handle(i)
	if err != nil { // it was left like that by an owner that died, and is not used
		return nil
	}
	return m.auditRing()
}

// auditRing compares slots and tail with the head. All of them go on while they are read, but only forward: nothing is behind what the
// head was before, nor further beyond what it is afterwards than a ring, or two while it is being closed.
func (m *Mailbox) auditRing() error {
	head := m.rec[recHead].Load()
	slots := make([]slotWord, m.mask+1)
	for i := range slots {
		slots[i] = load(m.ring, uint64(i))
	}
	tail := m.rec[recTail].Load()
	past := int64(m.rec[recHead].Load()-head) + 2*int64(m.mask+1)
	if off := int64(tail - head); off < -1 || off > past {
		return fmt.Errorf("its tail is %d, its head %d", tail, head)
	}
	for i, w := range slots {
		lap := head >> m.shift
		off := w.ahead(lap)<<m.shift + int64(i) - int64(head&m.mask)
		if off < 0 || off > past || w.full() && w.frame() >= m.hub.seg.Frames() {
			return fmt.Errorf("slot %d is %#x, its head %d", i, uint64(w), head)
		}
	}
	return nil
}
