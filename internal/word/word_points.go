//go:build shmactor_points

package word

import (
	"runtime"
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

// DieAt makes the goroutine end that makes the n-th access from now on, or a later one: that is where its process died. It is
// called while no access is made, and ended by Trace.
func DieAt(n int) { Trace(&reaper{left: n}) }

type reaper struct {
	none
	left int
}

// Before is called in front of each access. What is deferred dies as well.
func (r *reaper) Before(Op, unsafe.Pointer) {
	if r.left--; r.left <= 0 {
		runtime.Goexit()
	}
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

// Half is half a word: what a futex sleeps on. A tracer sees the whole word.
type Half struct{ v atomic.Uint32 }

// whole returns the word that h is a half of, and where in it the half lies.
func (h *Half) whole() (w *Word, shift uint) {
	at := uintptr(unsafe.Pointer(h)) & 7
	probe := [2]uint32{1}
	low := *(*uint64)(unsafe.Pointer(&probe)) == 1
	if (at == 0) != low {
		shift = 32
	}
	return (*Word)(unsafe.Add(unsafe.Pointer(h), -int(at))), shift
}

// change makes an access by do, which returns what the half was before.
func (h *Half) change(op Op, do func() uint32) (old uint32) {
	w, shift := h.whole()
	tracer.Before(op, unsafe.Pointer(w))
	old = do()
	now := w.v.Load()
	tracer.After(op, unsafe.Pointer(w), now&^((1<<32-1)<<shift)|uint64(old)<<shift, now)
	return old
}

// Load is sync/atomic's, as are the other methods.
func (h *Half) Load() uint32 { return h.change(Load, h.v.Load) }

// Store stores v.
func (h *Half) Store(v uint32) { h.change(Store, func() uint32 { return h.v.Swap(v) }) }

// Add adds d and returns the sum.
func (h *Half) Add(d uint32) uint32 {
	return d + h.change(Add, func() uint32 { return h.v.Add(d) - d })
}

// Peek loads the half without a point: for a tracer.
func (h *Half) Peek() uint32 { return h.v.Load() }

// Sleep waits until addr no longer holds v. It may return early.
func Sleep(addr *Half, v uint32) {
	w, _ := addr.whole()
	tracer.Before(Sleeping, unsafe.Pointer(w))
	if !tracer.Sleep(addr, v) {
		sys.FutexWait(&addr.v, v, -1)
	}
}

// Wake wakes one sleeper on addr, in any process.
func Wake(addr *Half) {
	w, _ := addr.whole()
	tracer.Before(Waking, unsafe.Pointer(w))
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

// Break unlocks m for a holder that will never do it.
func (m *Mutex) Break() { m.m.Unlock() }
