package mailbox

import (
	"sync"
	"sync/atomic"

	"github.com/shmactor/shmactor/shm"
)

// Inside one process a message carries a Go value instead of bytes. The value lies in a table of this process, under the
// frame's index and generation; the frame says which life of which process holds it. The hand-over is a process-local atomic, so
// the race detector sees the edge between sender and receiver, which it cannot see in a mapping.

// Local is the place of one value on its way. A sender that is called often embeds one and saves the allocation.
type Local struct {
	gen   uint32
	value any
}

type valueTable struct {
	chunks []atomic.Pointer[[valueChunk]atomic.Pointer[Local]]
	mu     sync.Mutex
}

const valueChunk = 512

func newValueTable(frames uint32) *valueTable {
	return &valueTable{chunks: make([]atomic.Pointer[[valueChunk]atomic.Pointer[Local]], frames/valueChunk+1)}
}

func (t *valueTable) slot(index uint32, grow bool) *atomic.Pointer[Local] {
	at := &t.chunks[index/valueChunk]
	c := at.Load()
	if c == nil {
		if !grow {
			return nil
		}
		t.mu.Lock()
		if c = at.Load(); c == nil {
			c = new([valueChunk]atomic.Pointer[Local])
			at.Store(c)
		}
		t.mu.Unlock()
	}
	return &c[index%valueChunk]
}

// valueLife names this life of this process: what is kept in its memory dies with it.
func (h *Hub) valueLife() uint64 { return h.instance<<32 | 1<<31 | uint64(h.self) }

// SetValue makes the draft carry v by reference. place is where v waits; nil takes a new one. It must not be used again
// before the message was handled.
func (d *Draft) SetValue(v any, place *Local) {
	d.local, d.value, d.place = true, v, place
}

func (h *Hub) putValue(d *Draft) {
	p := d.place
	if p == nil {
		p = new(Local)
	}
	p.gen, p.value = d.Frame.Generation(), d.value
	h.values.slot(d.Frame.Index(), true).Store(p) // sync: value
}

// takeValue takes the value of a frame out of the table; ok is false when it is not there: it was of another process, or
// another life.
func (h *Hub) takeValue(f shm.Frame, life uint64) (v any, ok bool) {
	if life != h.valueLife() {
		return nil, false
	}
	at := h.values.slot(f.Index(), false)
	if at == nil {
		return nil, false
	}
	p := at.Swap(nil) // sync: value
	if p == nil || p.gen != f.Generation() {
		return nil, false
	}
	v, p.value = p.value, nil
	return v, true
}
