//go:build shmactor_points

package explore

import (
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/shmactor/shmactor/internal/word"
)

// actor is one goroutine of a scenario.
type actor struct {
	name    string
	process string
	id      uint64         // hash of the name
	daemon  bool           // it may wait when all others have ended
	bell    bool           // it is the waiter of its process
	label   unsafe.Pointer // by which its goroutine is known
	resume  chan struct{}

	parked  bool           // it waits for its turn
	op      word.Op        // what it is about to do
	addr    unsafe.Pointer // and to what; nil when it is about to start, or was woken
	sleeps  *word.Half     // the futex that it sleeps on
	lock    *word.Mutex    // the mutex that it waits for
	ended   bool
	dead    bool
	bit     uint64 // by which the search knows it
	private bool   // nobody else touches the word of its access
	meets   bool   // somebody who is there, or may come, does: another order would not be the same
	count   int    // accesses
	history uint64 // hash of all that it has seen and done
	notes   uint64 // hash of what it noted
}

// canRun reports whether the actor goes on when it is told to.
func (a *actor) canRun() bool { return a.parked && !a.dead && a.lock == nil }

// Run is one schedule of a scenario, while it runs.
type Run struct {
	search  *search
	actors  []*actor
	mu      sync.Mutex // while everything is free, actors run at once
	byLabel map[unsafe.Pointer]*actor

	current *actor // who runs, nil when the root decides
	last    *actor // who ran last
	free    bool   // nobody is held back: the scenario is being built, checked or taken down
	over    bool
	done    chan struct{} // closed when it is being taken down
	pruned  bool          // what follows was explored before
	wrong   error

	mortal  map[string]int
	onDeath map[string]func()
	ends    []func() error
	after   []func()
	held    map[*word.Mutex]*actor
	orders  map[*word.Mutex]order
	mutexes uint64 // that were held

	depth       int    // decisions made
	preemptions int    // left
	deaths      int    // left
	gone        uint64 // bits of the actors that have ended or died
	memory      uint64
	origin      uintptr
	steps       int
	trace       func(format string, args ...any) // nil when nobody listens
}

// order is who held a mutex, one after the other. It stands for the state of what the mutex guards, of which nothing else is known.
type order struct {
	process string // they are of
	several bool   // processes
	hash    uint64
}

// maxSteps is when a schedule goes on for ever.
const maxSteps = 20000

// runtime/pprof keeps a goroutine's labels in its descriptor and hands them on to the goroutines that it starts, which is
// what makes an actor of everything that it starts. The way to read them back is not public, but kept for such uses.
//
//go:linkname goroutineLabel runtime/pprof.runtime_getProfLabel
func goroutineLabel() unsafe.Pointer

func (r *Run) newActor(process, name string) *actor {
	name = r.unique(name)
	id := hashString(name)
	a := &actor{name: name, process: process, id: id, bit: r.search.bit(id), resume: make(chan struct{}, 1)}
	r.actors = append(r.actors, a)
	before := r.self()
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("actor", name)))
	a.label = goroutineLabel()
	r.mu.Lock()
	r.byLabel[a.label] = a
	r.mu.Unlock()
	r.become(before)
	return a
}

// unique is the name of another actor of that name: two are told apart.
func (r *Run) unique(name string) string {
	n := 1
	for _, a := range r.actors {
		if a.name == name || strings.HasPrefix(a.name, name+"#") {
			n++
		}
	}
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%s#%d", name, n)
}

// leave notes that an actor is gone for good. Of those that share a bit others may come.
func (r *Run) leave(a *actor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone |= a.bit &^ lateBit
}

// labels are set by the pointer that was read: the same labels made anew would have another.
//
//go:linkname setGoroutineLabel runtime/pprof.runtime_setProfLabel
func setGoroutineLabel(unsafe.Pointer)

// become makes the calling goroutine, and those that it starts from now on, known as a.
func (r *Run) become(a *actor) {
	if a == nil {
		setGoroutineLabel(nil)
		return
	}
	setGoroutineLabel(a.label)
}

// self is the actor that calls, nil for the root.
func (r *Run) self() *actor {
	l := goroutineLabel()
	if l == nil {
		return nil
	}
	if a := r.current; a != nil && a.label == l {
		return a
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byLabel[l]
}

// Go starts an actor of a process. The scenario ends well only if f returns, or the process dies.
func (r *Run) Go(process, name string, f func()) {
	a := r.newActor(process, name)
	a.op, a.parked = word.Load, true
	go func() {
		r.become(a)
		defer func() {
			a.ended = true
			r.leave(a)
			if p := recover(); p != nil && !a.dead {
				r.Fail("%s panics: %v", name, p)
			}
		}()
		r.wait(a)
		f()
	}()
}

// Serve starts an actor of a process that may wait when all others have ended.
func (r *Run) Serve(process, name string, f func()) {
	r.Go(process, name, f)
	r.actors[len(r.actors)-1].daemon = true
}

// Daemon calls f, and makes the goroutine that f starts an actor of a process, which need not end. It is for the waiter of
// a process.
func (r *Run) Daemon(process, name string, f func()) {
	caller := r.self()
	a := r.newActor(process, name)
	a.daemon, a.bell = true, true
	r.become(a)
	defer r.become(caller)
	f()
}

// Shared says that the shared memory of this schedule is that around w: the same word in each. It is called before any actor is made.
func (r *Run) Shared(w *word.Word) { r.origin = uintptr(unsafe.Pointer(w)) }

// Mortal lets a process die, if the bound on deaths allows. onDeath runs when it did: it starts who mends that, and the
// process's next life, under a name of its own.
func (r *Run) Mortal(process string, onDeath func()) {
	r.mortal[process] = 1
	r.onDeath[process] = onDeath
}

// Kill ends another process from inside of the scenario, beside the bounds.
func (r *Run) Kill(process string) {
	if r.free {
		return
	}
	r.deaths++
	r.mortal[process]++
	r.kill(process)
}

// End has f check what is left when every actor has ended.
func (r *Run) End(f func() error) { r.ends = append(r.ends, f) }

// Done is closed when the schedule is being taken down: an actor that waits for something of the scenario's own waits for this too.
func (r *Run) Done() <-chan struct{} { return r.done }

// Cleanup has f take down what the scenario built, in any case.
func (r *Run) Cleanup(f func()) { r.after = append(r.after, f) }

// Fail reports a violation.
func (r *Run) Fail(format string, args ...any) {
	if a := r.self(); a != nil && a.dead {
		return // it is being taken down
	}
	if r.wrong == nil {
		r.wrong = fmt.Errorf(format, args...)
	}
	r.over = true
}

// Note notes something that the scenario's checks will ask for, outside of the shared words: two states that differ in it are
// not the same. Whatever an actor keeps for itself while it goes on need not be noted.
func (r *Run) Note(what string) {
	if a := r.self(); a != nil {
		a.notes = mix(a.notes, hashString(what))
	}
}

// point waits until it is a's turn.
func (r *Run) point(a *actor, op word.Op, addr unsafe.Pointer) {
	if r.free {
		return
	}
	a.op, a.addr, a.parked = op, addr, true
	if a == r.current && !r.over {
		synctest.Wait() // whom the last access woke has come to a point of its own
		if r.decide(a) == a {
			a.parked = false
			return
		}
	}
	r.wait(a)
}

// wait blocks until a is resumed.
func (r *Run) wait(a *actor) {
	<-a.resume
	a.parked = false
	if a.dead {
		runtime.Goexit()
	}
}

// switchTo makes next the actor that runs; nil leaves the decision to the root, which waits until nobody runs.
func (r *Run) switchTo(next *actor) {
	r.current = next
	if next != nil {
		r.last = next
		next.resume <- struct{}{}
	}
}

// kill ends a process where it stands.
func (r *Run) kill(process string) {
	r.tracef("         %s dies", process)
	r.deaths--
	r.mortal[process]--
	for _, a := range r.actors {
		if a.process != process || a.ended {
			continue
		}
		a.dead = true
		r.leave(a)
		r.release(a)
	}
	for m, o := range r.orders {
		if o.process == process && !o.several { // nobody sees what it guarded
			r.memory ^= o.hash
			delete(r.orders, m)
		}
	}
	synctest.Wait()
	caller := r.self()
	r.become(nil)
	if f := r.onDeath[process]; f != nil {
		f()
	}
	r.become(caller)
}

// release lets a blocked actor that is dead come to its end.
func (r *Run) release(a *actor) {
	if a.parked || a.sleeps != nil {
		a.sleeps, a.lock = nil, nil
		a.resume <- struct{}{}
	}
}

// walk runs the schedule from the root goroutine of the bubble, which decides when nobody runs.
func (r *Run) walk(build func(r *Run)) {
	r.free, r.done = true, make(chan struct{})
	build(r)
	synctest.Wait()
	r.free = false
	for !r.over {
		time.Sleep(1) // of the bubble's time, which passes when everybody is blocked
		if r.over {
			break
		}
		r.current = nil
		r.decide(nil)
	}
	synctest.Wait()
	r.free = true
	if r.wrong == nil && !r.pruned {
		r.finish()
	}
	for _, a := range r.actors {
		a.dead = true
		r.release(a)
	}
	close(r.done)
	synctest.Wait()
	for _, f := range r.after {
		f()
	}
}

// finish checks what the schedule left.
func (r *Run) finish() {
	for _, f := range r.ends {
		if r.wrong = f(); r.wrong != nil {
			return
		}
	}
}
