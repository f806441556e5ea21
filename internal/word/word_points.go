//go:build shmactor_points

package word

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/shmactor/shmactor/internal/sys"
)

// Points reports whether this build has crash points.
const Points = true

// Op is what an access does.
type Op uint8

// The operations.
const (
	Load Op = iota
	Store
	Swap
	CompareAndSwap
	Add
	Or
	And
	Sleeping // the futex
	Waking
)

// String names the operation as its method is named.
func (o Op) String() string {
	return [...]string{"Load", "Store", "Swap", "CompareAndSwap", "Add", "Or", "And", "Sleep", "Wake"}[o]
}

// Tracer sees every access to shared words. Its methods are called on the goroutine that makes the access.
type Tracer interface {
	// Before is called in front of the access. It may block, or never return.
	Before(op Op, addr unsafe.Pointer)
	// After is called behind it, with the value before and after: the same when nothing changed.
	After(op Op, addr unsafe.Pointer, old, now uint64)
	// Sleep stands for the futex's wait; false leaves it to the kernel.
	Sleep(addr *Half, v uint32) bool
	// Wake stands for the futex's wake-up; false leaves it to the kernel.
	Wake(addr *Half) bool
	// Lock is called in front of a Mutex's Lock, and may block.
	Lock(m *Mutex)
	// Unlock is called behind a Mutex's Unlock.
	Unlock(m *Mutex)
}

type none struct{}

func (none) Before(Op, unsafe.Pointer)                {}
func (none) After(Op, unsafe.Pointer, uint64, uint64) {}
func (none) Sleep(*Half, uint32) bool                 { return false }
func (none) Wake(*Half) bool                          { return false }
func (none) Lock(*Mutex)                              {}
func (none) Unlock(*Mutex)                            {}

var tracer Tracer = none{}

// Trace makes t see every access from now on; nil ends that. It is called while no access is made.
func Trace(t Tracer) {
	if t == nil {
		t = none{}
	}
	tracer = t
}

// Word is a word of the segment.
type Word struct{ v atomic.Uint64 }

// Load is sync/atomic's, as are the other methods.
func (w *Word) Load() uint64 {
	tracer.Before(Load, unsafe.Pointer(w))
	v := w.v.Load()
	tracer.After(Load, unsafe.Pointer(w), v, v)
	return v
}

// Store stores v.
func (w *Word) Store(v uint64) {
	tracer.Before(Store, unsafe.Pointer(w))
	old := w.v.Swap(v)
	tracer.After(Store, unsafe.Pointer(w), old, v)
}

// Swap stores v and returns what was there.
func (w *Word) Swap(v uint64) uint64 {
	tracer.Before(Swap, unsafe.Pointer(w))
	old := w.v.Swap(v)
	tracer.After(Swap, unsafe.Pointer(w), old, v)
	return old
}

// CompareAndSwap stores v if old is there.
func (w *Word) CompareAndSwap(old, v uint64) bool {
	tracer.Before(CompareAndSwap, unsafe.Pointer(w))
	ok := w.v.CompareAndSwap(old, v)
	if !ok {
		v = w.v.Load()
		old = v
	}
	tracer.After(CompareAndSwap, unsafe.Pointer(w), old, v)
	return ok
}

// Add adds d and returns the sum.
func (w *Word) Add(d uint64) uint64 {
	tracer.Before(Add, unsafe.Pointer(w))
	v := w.v.Add(d)
	tracer.After(Add, unsafe.Pointer(w), v-d, v)
	return v
}

// Or sets bits and returns what was there.
func (w *Word) Or(bits uint64) uint64 {
	tracer.Before(Or, unsafe.Pointer(w))
	old := w.v.Or(bits)
	tracer.After(Or, unsafe.Pointer(w), old, old|bits)
	return old
}

// And keeps bits and returns what was there.
func (w *Word) And(bits uint64) uint64 {
	tracer.Before(And, unsafe.Pointer(w))
	old := w.v.And(bits)
	tracer.After(And, unsafe.Pointer(w), old, old&bits)
	return old
}

// Half is half a word: what a futex sleeps on.
type Half struct{ v atomic.Uint32 }

// Load is sync/atomic's, as are the other methods.
func (h *Half) Load() uint32 {
	tracer.Before(Load, unsafe.Pointer(h))
	v := h.v.Load()
	tracer.After(Load, unsafe.Pointer(h), uint64(v), uint64(v))
	return v
}

// Store stores v.
func (h *Half) Store(v uint32) {
	tracer.Before(Store, unsafe.Pointer(h))
	old := h.v.Swap(v)
	tracer.After(Store, unsafe.Pointer(h), uint64(old), uint64(v))
}

// Add adds d and returns the sum.
func (h *Half) Add(d uint32) uint32 {
	tracer.Before(Add, unsafe.Pointer(h))
	v := h.v.Add(d)
	tracer.After(Add, unsafe.Pointer(h), uint64(v-d), uint64(v))
	return v
}

// Sleep waits until addr no longer holds v. It may return early.
func Sleep(addr *Half, v uint32) {
	tracer.Before(Sleeping, unsafe.Pointer(addr))
	if !tracer.Sleep(addr, v) {
		sys.FutexWait(&addr.v, v, -1)
	}
}

// Wake wakes one sleeper on addr, in any process.
func Wake(addr *Half) {
	tracer.Before(Waking, unsafe.Pointer(addr))
	if !tracer.Wake(addr) {
		sys.FutexWake(&addr.v, 1)
	}
}

// Mutex orders goroutines of one process that touch shared words while they hold it.
type Mutex struct{ m sync.Mutex }

// Lock locks m.
func (m *Mutex) Lock() {
	tracer.Lock(m)
	m.m.Lock()
}

// Unlock unlocks m.
func (m *Mutex) Unlock() {
	m.m.Unlock()
	tracer.Unlock(m)
}
