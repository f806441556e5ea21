//go:build shmactor_points

package explore

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/shmactor/shmactor/internal/word"
)

// A Run is the tracer of package word while it runs.
var _ word.Tracer = (*Run)(nil)

// Before is the point in front of an access.
func (r *Run) Before(op word.Op, addr unsafe.Pointer) {
	a := r.self()
	if a == nil {
		return
	}
	if a.dead {
		runtime.Goexit()
	}
	if r.free {
		return
	}
	r.mu.Lock() // whom the last access woke comes here at once with who made it
	r.steps++
	a.count++
	tooMany := r.steps > maxSteps
	shared, against := r.search.touch(a, op, r.place(addr))
	a.private, a.meets = !shared, against&^r.gone != 0
	r.mu.Unlock()
	if tooMany {
		r.Fail("%s goes on for ever", a.name)
	}
	if a != r.current || a.meets || shared && op != word.Load && r.deaths > 0 || r.over {
		r.point(a, op, addr)
	}
}

// place is where a word lies, from the origin of the shared memory.
func (r *Run) place(addr unsafe.Pointer) int {
	if addr == nil {
		return 1 // no word lies there
	}
	return int(uintptr(addr)) - int(r.origin)
}

// After is behind an access.
func (r *Run) After(op word.Op, addr unsafe.Pointer, old, now uint64) {
	a := r.self()
	if a == nil || r.free || a.private {
		return // what nobody else touches holds what this actor made of it
	}
	at := uint64(r.place(addr))
	r.memory ^= mix(at, old) ^ mix(at, now)
	seen := old
	if op == word.Store {
		seen = 0 // it does not say what it replaced
	}
	a.history = mix(a.history, mix(at, seen))
	a.history = mix(a.history, mix(now, uint64(op)))
	if r.trace != nil {
		r.tracef("%-12s %-8v %-34s %x -> %x", a.name, op, site(), old, now)
	}
}

// Sleep is the futex: a blocks until somebody wakes addr, unless it holds another value than v already.
func (r *Run) Sleep(addr *word.Half, v uint32) bool {
	a := r.self()
	if a == nil {
		return false
	}
	if a.dead {
		runtime.Goexit()
	}
	if addr.Peek() == v {
		r.tracef("%-12s sleeps", a.name)
		a.sleeps = addr
		r.wait(a)
	}
	return true
}

// Wake wakes one sleeper on addr: it is another's turn to decide when it goes on.
func (r *Run) Wake(addr *word.Half) bool {
	for _, a := range r.actors {
		if a.sleeps != addr {
			continue
		}
		a.sleeps = nil
		if r.free {
			a.resume <- struct{}{}
		} else {
			a.op, a.addr, a.parked = word.Load, nil, true
		}
		break
	}
	return true
}

// Lock waits until nobody holds m. Of several who waited the others find it held again. It is a point, for it stands for what the
// actors of one process share beside the words.
func (r *Run) Lock(m *word.Mutex) {
	a := r.self()
	if a != nil && !a.dead && !r.free && !r.alone(a) {
		a.count++
		a.meets = true
		a.history = mix(a.history, callers()) // which lock it is, and so which way it came
		r.point(a, word.Load, nil)
	}
	for {
		r.mu.Lock()
		holder := r.held[m]
		if holder == nil && a != nil && !a.dead && !r.free {
			r.held[m] = a
			r.follow(m, a)
		}
		r.mu.Unlock()
		if a != nil && a.dead {
			runtime.Goexit()
		}
		if a == nil || r.free {
			if holder != nil && holder.dead {
				r.Unlock(m)
				m.Break() // it died with its process, which is being taken down
			}
			return
		}
		if holder == nil {
			return
		}
		a.op, a.addr, a.lock, a.parked = word.Load, nil, m, true
		r.wait(a)
	}
}

// follow notes who came to m. It shows in the state of the schedule, and in what a does next.
func (r *Run) follow(m *word.Mutex, a *actor) {
	o, ok := r.orders[m]
	if !ok {
		r.mutexes++ // two that were held alike are two
		o = order{process: a.process, hash: mix(r.mutexes, 0)}
	} else {
		r.memory ^= o.hash
	}
	o.several = o.several || o.process != a.process
	a.history = mix(a.history, o.hash)
	o.hash = mix(o.hash, a.id)
	r.memory ^= o.hash
	r.orders[m] = o
}

// Unlock says that nobody holds m.
func (r *Run) Unlock(m *word.Mutex) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, m)
	for _, a := range r.actors {
		if a.lock == m {
			a.lock = nil
		}
	}
}

func (r *Run) tracef(format string, args ...any) {
	if r.trace != nil {
		r.trace(format, args...)
	}
}

// site is where the access is made: the functions of this module on the stack, without those that only reach for it.
func site() string {
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var names []string
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		if !strings.HasPrefix(name, "word.") && !strings.HasPrefix(name, "explore.") {
			names = append(names, fmt.Sprintf("%s:%d", name, f.Line))
		}
		if !more || len(names) == 3 {
			return strings.Join(names, " < ")
		}
	}
}

// callers is a hash of where the caller's caller was called from.
func callers() (h uint64) {
	var pcs [5]uintptr
	for _, pc := range pcs[:runtime.Callers(3, pcs[:])] {
		h = mix(h, uint64(pc))
	}
	return h
}

// mix combines two hashes, by the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(a, b uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 + b
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func hashString(s string) (h uint64) {
	for _, c := range []byte(s) {
		h = mix(h, uint64(c))
	}
	return h
}
