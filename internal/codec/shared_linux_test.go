package codec

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"
)

// sharedWords is the size of the mapping in words of 4 bytes.
const sharedWords = 1024

// mapShared returns memory outside of Go's heap, as words and as bytes. The race
// detector does not watch it.
func mapShared(t testing.TB) ([]atomic.Uint32, []byte) {
	t.Helper()
	mem, err := syscall.Mmap(-1, 0, sharedWords*4,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	return unsafe.Slice((*atomic.Uint32)(unsafe.Pointer(&mem[0])), sharedWords), mem
}

// TestChangingSource decodes while another party changes the bytes, as a broken or
// hostile process could. Every result is fine but a panic, and an error that is
// not ErrMalformed.
func TestChangingSource(t *testing.T) {
	words, mem := mapShared(t)
	targets := newTargets(t)
	for _, seed := range seeds(t) {
		if len(seed) > len(mem) {
			t.Fatalf("a seed of %d bytes", len(seed))
		}
		copy(mem, seed)
		stop, flipping := make(chan struct{}), sync.WaitGroup{}
		flipping.Go(func() {
			r := rand.New(rand.NewPCG(1, 2))
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Flip and flip back, so that most of the bytes are right most of the time.
				w, bit := &words[r.IntN(len(seed)/4+1)], uint32(1)<<r.IntN(32)
				was := w.Load()
				w.Store(was ^ bit)
				for range r.IntN(1000) {
					_ = w.Load()
				}
				w.Store(was)
			}
		})
		for range 2000 {
			for _, target := range targets {
				target.try(t, mem[:len(seed)])
			}
		}
		close(stop)
		flipping.Wait()
	}
}

// FuzzChangingSource decodes a payload while another party changes the bytes that flips names, back and forth.
func FuzzChangingSource(f *testing.F) {
	targets := newTargets(f)
	for i := range targets {
		for _, payload := range seeds(f) {
			f.Add(uint8(i), payload, []byte{0, 0xff, 1, 0x20, 3, 1})
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, payload, flips []byte) {
		words, mem := mapShared(t)
		payload = mem[:copy(mem, payload)]
		stop, flipping := make(chan struct{}), sync.WaitGroup{}
		flipping.Go(func() {
			for at := 0; ; at += 2 {
				select {
				case <-stop:
					return
				default:
				}
				if at+1 >= len(flips) {
					at = 0
				}
				if at+1 < len(flips) && len(payload) > 0 {
					i := int(flips[at]) % len(payload)
					w := &words[i/4]
					w.Store(w.Load() ^ uint32(flips[at+1])<<(i%4*8))
				}
			}
		})
		for range 20 {
			targets[int(which)%len(targets)].try(t, payload)
		}
		close(stop)
		flipping.Wait()
	})
}

// TestSharedBools checks that a bool is never seen as anything but true or false,
// though the byte it is read from changes at all times.
func TestSharedBools(t *testing.T) {
	words, mem := mapShared(t)
	c := mustFor[[64]bool](t, Raw)
	stop, flipping := make(chan struct{}), sync.WaitGroup{}
	flipping.Go(func() {
		for value := uint32(0); ; value += 0x01010101 {
			select {
			case <-stop:
				return
			default:
			}
			for i := range 16 {
				words[i].Store(value & 0x03030303)
			}
		}
	})
	for range 20_000 {
		var v [64]bool
		err := c.Decode(mem[:64], &v)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		if bytes.ContainsFunc(memoryOf(&v), func(r rune) bool { return r > 1 }) {
			t.Fatalf("decoded bools of %x", memoryOf(&v))
		}
	}
	close(stop)
	flipping.Wait()
}
