package mailbox

import (
	"errors"
	"fmt"

	"github.com/shmactor/shmactor/shm"
)

// Check verifies every invariant of a quiet segment: those of shm.Segment.Check, and that rings and frames agree. "Quiet"
// means that no operation is under way in any process; queued messages are no operation. It works on a read-only mapping.
func Check(seg *shm.Segment) (shm.Census, error) {
	census, err := seg.Check()
	c := ringCheck{hub: &Hub{seg: seg}, named: map[uint32]string{}, wrong: []error{err}}
	c.hub.eachMailbox(c.ring)
	c.memory()
	seg.EachFrame(func(f shm.Frame, w shm.Owner) {
		if w.State() == shm.Queued && c.named[f.Index()] == "" {
			c.add("frame %d is %v, and in no ring", f.Index(), w)
		}
	})
	return census, errors.Join(c.wrong...)
}

type ringCheck struct {
	hub   *Hub
	named map[uint32]string
	wrong []error
}

func (c *ringCheck) add(format string, args ...any) {
	const most = 50
	if len(c.wrong) < most {
		c.wrong = append(c.wrong, fmt.Errorf("%w: "+format, append([]any{shm.ErrCorrupt}, args...)...))
	}
}

// memory checks that all ring memory that was handed out is some mailbox's.
func (c *ringCheck) memory() {
	var words uint64
	for i := range uint32(c.hub.seg.Mailboxes()) {
		words += placeIn(c.hub.seg.Mailbox(i)).size
	}
	if used, _ := c.hub.seg.RingBytes(); uint64(used) != words*8 {
		c.add("%d bytes of ring memory are handed out, and mailboxes have %d", used, words*8)
	}
}

// ring checks one mailbox: from head, full slots of this lap, then empty ones.
func (c *ringCheck) ring(m *Mailbox) {
	name := fmt.Sprintf("mailbox %d (%q)", m.index, m.Name())
	if open, named := m.state().open(), m.Name() != ""; open != named {
		c.add("%s: open %v, named %v", name, open, named)
	}
	head, depth, ended := m.recoverHead(), uint64(0), false
	if w := m.inHand(head); w != 0 {
		c.hand(m, name, w)
	}
	for i := range m.mask + 1 {
		pos := head + i
		w := load(m.ring, pos&m.mask)
		if w.ahead(pos>>m.shift) != 0 {
			c.add("%s: the slot of position %d is %d laps off", name, pos, w.ahead(pos>>m.shift))
			continue
		}
		if !w.full() {
			ended = true
			continue
		}
		if ended {
			c.add("%s: position %d is full behind an empty one", name, pos)
		}
		depth++
		c.slot(m, name, pos, w.frame())
	}
	if tail := m.rec[recTail].Load(); tail > head+depth {
		c.add("%s: tail %d is beyond %d, where the next message goes", name, tail, head+depth)
	}
	if !m.state().open() && depth > 0 {
		c.add("%s is closed and holds %d messages", name, depth)
	}
}

// hand checks what is in hand; a word that names a message that was ended says nothing.
func (c *ringCheck) hand(m *Mailbox, name string, hand handWord) {
	f, err := m.hub.seg.FrameAt(hand.frame())
	if err != nil {
		return // its memory is part of another frame by now
	}
	if w := f.Owner(); !hand.names(f, w, m.index, m.incarnation) {
		return
	} else if !m.state().open() {
		c.add("%s is closed and has frame %d in hand, which is %v", name, f.Index(), w)
	}
	if hand.last() && hand.attempts() == 0 {
		c.add("%s: frame %d in hand is at its last attempt of none", name, f.Index())
	}
	c.named[f.Index()] = name
}

func (c *ringCheck) slot(m *Mailbox, name string, pos uint64, frame uint32) {
	f, err := m.hub.seg.FrameAt(frame)
	if err != nil {
		c.add("%s: position %d: %v", name, pos, err)
		return
	}
	if other := c.named[frame]; other != "" {
		c.add("%s: position %d names frame %d, as does %s", name, pos, frame, other)
	}
	c.named[frame] = name
	w := f.Owner()
	if box, inc := f.To(); w.State() != shm.Queued || box != m.index || inc != m.incarnation {
		c.add("%s: position %d names frame %d, which is %v for mailbox %d/%d", name, pos, frame, w, box, inc)
	}
}
