package shm

import (
	"fmt"
	"math"
	"testing"
	"unsafe"
)

func addressOf(m memory) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m))) }

// The accessor refuses whatever lies outside or is not aligned: neither the race detector nor checkptr would.
func TestMemoryBounds(t *testing.T) {
	m := heapMemory(pageSize)
	refused := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s was not refused", what)
			}
		}()
		f()
	}
	for _, c := range []struct{ off, n int64 }{
		{-8, 1}, {0, -1}, {4, 1}, {0, pageSize/8 + 1}, {pageSize, 1}, {pageSize - 8, 2}, {8, math.MaxInt64}, {math.MaxInt64 &^ 7, 1},
	} {
		refused(fmt.Sprintf("words at %d, %d", c.off, c.n), func() { m.words(c.off, c.n) })
	}
	for _, c := range []struct{ off, n int64 }{{-1, 1}, {0, -1}, {0, pageSize + 1}, {pageSize + 1, 0}, {1, math.MaxInt64}} {
		refused(fmt.Sprintf("bytes at %d, %d", c.off, c.n), func() { m.bytes(c.off, c.n) })
	}
	if w := m.words(pageSize-8, 1); len(w) != 1 {
		t.Error("the last word is not there")
	}
	if w := m.words(pageSize, 0); w != nil {
		t.Error("no words are not nil")
	}
	if b := m.bytes(8, 16); len(b) != 16 || cap(b) != 16 {
		t.Errorf("16 bytes have length %d and capacity %d", len(b), cap(b))
	}
}

// A futex lies in half a word: the two halves do not touch each other.
func TestHalves(t *testing.T) {
	w := &heapMemory(pageSize).words(0, 1)[0]
	h := halves(w)
	h[0].Store(1)
	h[1].Store(2)
	h[0].Add(math.MaxUint32)
	if h[0].Load() != 0 || h[1].Load() != 2 {
		t.Errorf("halves %d and %d, want 0 and 2", h[0].Load(), h[1].Load())
	}
}
