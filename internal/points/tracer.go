//go:build shmactor_points

package points

import (
	"maps"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/shmactor/shmactor/internal/word"
)

// Tracer finds the point of every access that this process makes while it is on.
type Tracer struct {
	visit func(p *Point, times int)

	mu      sync.Mutex
	list    *List
	resolve *Resolver
	on      bool
	seen    []int          // times each point was reached
	order   []int          // the points in the order in which they were reached
	strays  map[string]int // accesses without a point
}

// NewTracer makes a tracer that is off. Before each access it calls visit, on the goroutine that makes the access, with its
// point and how many times this process has come there: from 1.
func NewTracer(l *List, visit func(p *Point, times int)) *Tracer {
	return &Tracer{visit: visit, list: l, resolve: NewResolver(l), seen: make([]int, len(l.Points)), strays: map[string]int{}}
}

// Turn switches the tracer on or off, for all goroutines of the process.
func (t *Tracer) Turn(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on = on
}

// Reached returns the points in the order in which they were reached, as indexes of the list.
func (t *Tracer) Reached() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.order)
}

// Strays are accesses in code that has points for which the list has none.
func (t *Tracer) Strays() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.strays))
}

// Before is a method of word.Tracer.
func (t *Tracer) Before(word.Op, unsafe.Pointer) {
	if p, times := t.count(); p != nil {
		t.visit(p, times)
	}
}

func (t *Tracer) count() (p *Point, times int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.on {
		return nil, 0
	}
	var pcs stack
	n := runtime.Callers(skipped, pcs[:])
	s := t.resolve.find(pcs, n)
	if s.point < 0 {
		if !s.outside {
			t.strays[s.where]++
		}
		return nil, 0
	}
	t.seen[s.point]++
	t.order = append(t.order, s.point)
	return &t.list.Points[s.point], t.seen[s.point]
}

// skipped are the frames above those in package word: runtime.Callers, count, Before.
const skipped = 3

// After is a method of word.Tracer, as are those below: they leave everything as it is.
func (t *Tracer) After(word.Op, unsafe.Pointer, uint64, uint64) {}

// Sleep leaves it to the kernel.
func (t *Tracer) Sleep(*word.Half, uint32) bool { return false }

// Wake leaves it to the kernel.
func (t *Tracer) Wake(*word.Half) bool { return false }

// Lock does nothing.
func (t *Tracer) Lock(*word.Mutex) {}

// Unlock does nothing.
func (t *Tracer) Unlock(*word.Mutex) {}
