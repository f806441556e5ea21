package codec

import "sync/atomic"

// hint is a decaying maximum of the sizes seen: it follows a larger message at
// once and smaller ones slowly. Updates may overwrite each other; any of them is
// a good hint. Messages of one size leave it alone, so that encoders on many
// cores do not fight for its cache line.
type hint struct {
	bytes atomic.Int64
}

// start sets the hint for a type of which nothing was encoded yet.
func (h *hint) start(typeBytes uintptr) {
	h.bytes.Store(max(initialHintBytes, int64(typeBytes)))
}

// saw takes the size of one more message into account.
func (h *hint) saw(n int) {
	size, was := int64(n), h.bytes.Load()
	if size > was {
		h.bytes.Store(size)
	} else if step := (was - size) >> hintDecayShift; step > 0 {
		h.bytes.Store(was - step)
	}
}

// size returns the number of bytes to have ready for the next message.
func (h *hint) size() int { return int(h.bytes.Load()) }
