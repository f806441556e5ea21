package shm

import (
	"encoding/binary"
	"unsafe"

	"github.com/shmactor/shmactor/internal/word"
)

// memory is the segment's bytes. This file is the only one that turns an offset into a pointer; it checks bounds and
// alignment itself, because the race detector and checkptr do not see mapped memory.
type memory []byte

// words returns n words from byte offset off, as atomics.
func (m memory) words(off, n int64) []word.Word {
	if off < 0 || n < 0 || off%wordSize != 0 || n > (int64(len(m))-off)/wordSize {
		panic("shm: words outside the segment: the geometry was not checked")
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*word.Word)(unsafe.Pointer(&m[off])), n)
}

// bytes returns n bytes from offset off; its capacity ends there.
func (m memory) bytes(off, n int64) []byte {
	if off < 0 || n < 0 || n > int64(len(m))-off {
		panic("shm: bytes outside the segment: the geometry was not checked")
	}
	return m[off : off+n : off+n]
}

// frameHead returns the frame header at byte offset off.
func (m memory) frameHead(off int64) *frameHead {
	return (*frameHead)(unsafe.Pointer(&m.words(off, frameHeader/wordSize)[0]))
}

// halves returns the two 32-bit words of one word, in memory order: a futex is 32 bits.
func halves(w *word.Word) *[2]word.Half {
	return (*[2]word.Half)(unsafe.Pointer(w))
}

// heapMemory returns size bytes of ordinary memory, page aligned like a mapping. The race detector sees it.
func heapMemory(size int64) memory {
	raw := make([]uint64, (size+pageSize)/wordSize)
	base := unsafe.Pointer(unsafe.SliceData(raw))
	skip := (pageSize - uintptr(base)%pageSize) % pageSize
	return unsafe.Slice((*byte)(unsafe.Add(base, skip)), size)
}

func nativeWord(b []byte) uint64       { return binary.NativeEndian.Uint64(b) }
func putNativeWord(b []byte, w uint64) { binary.NativeEndian.PutUint64(b, w) }
