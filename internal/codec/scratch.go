package codec

import "sync"

// scratchPool keeps the private copies that decoders work on.
var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

// scratch is one private copy of bytes that lie in shared memory.
type scratch struct {
	buf []byte
}

// privateCopy reads src once, by one copy, into memory that no other process
// can change. The caller gives it back with release.
func privateCopy(src []byte) *scratch {
	s := scratchPool.Get().(*scratch)
	s.buf = append(s.buf[:0], src...)
	return s
}

// release gives the copy back for the next Decode.
func (s *scratch) release() {
	if cap(s.buf) > maxPooledBytes {
		s.buf = nil
	}
	scratchPool.Put(s)
}
