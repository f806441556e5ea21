package mailbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

func TestMain(m *testing.M) { testkit.Run(m, roles) }

// roles are what this binary plays as the child of a test.
var roles = map[string]func(){"party": playParty}

// limit is when a test gives up on something that should happen at once.
const limit = 20 * time.Second

// must fails the test if an operation did.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want fails the test unless the error is that one.
func want(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: %v, want %v", what, err, target)
	}
}

// backing is where the memory of a test lies, and where its peers live.
type backing string

const (
	onHeap    backing = "heap"    // peers are hubs of this process; the race detector sees all
	onMapping backing = "mapping" // peers are hubs of this process, each with a mapping of its own
	asProcess backing = "process" // peers are processes
)

var backings = []backing{onHeap, onMapping, asProcess}

// world is a segment with its owner and some peers. After the test it must be whole: the check finds nothing, and every frame
// is free or in the owner's cache.
type world struct {
	t       *testing.T
	backing backing
	seg     *shm.Segment
	hub     *Hub
	me      *party
	letters *Receiver // of the dead-letter mailbox, nil without one
	peers   []*party
	boxes   map[string]*Mailbox
}

// smallOptions is a segment that is quick to make and to check.
func smallOptions() shm.Options {
	return shm.Options{Processes: 8, Mailboxes: 16, RingBytes: 64 << 10, MessageBytes: 8 << 20, MaxMessage: 1 << 20}
}

func newWorld(t *testing.T, b backing, o shm.Options) *world {
	t.Helper()
	if b != onHeap {
		needShared(t)
	}
	testkit.NoLeaks(t)
	o.Heap = b == onHeap
	seg, err := shm.Create(o)
	must(t, err)
	w := &world{t: t, backing: b, seg: seg, hub: Join(seg, 0), boxes: map[string]*Mailbox{}}
	w.me = &party{t: t, do: newAgent(w.hub).do, id: w.hub.Self(), stop: func() {}}
	t.Cleanup(w.end)
	return w
}

// each runs a test once for each backing, with one peer and a dead-letter mailbox.
func each(t *testing.T, f func(t *testing.T, w *world, peer *party)) {
	t.Helper()
	for _, b := range backings {
		t.Run(string(b), func(t *testing.T) {
			w := newWorld(t, b, smallOptions())
			w.withLetters(64)
			f(t, w, w.peer())
		})
	}
}

// create makes a mailbox that is closed with the world.
func (w *world) create(name string, capacity int) *Mailbox {
	w.t.Helper()
	m, err := w.hub.Create(name, capacity, 0)
	must(w.t, err)
	w.boxes[name] = m
	return m
}

// withLetters makes the dead-letter mailbox, which all parties use.
func (w *world) withLetters(capacity int) {
	w.t.Helper()
	m := w.create(lettersName, capacity)
	w.hub.SetLetters(m)
	w.letters = m.Receiver()
}

const lettersName = "dead letters"

// takeLetters takes all dead letters and returns their payloads and reasons.
func (w *world) takeLetters() (texts []string, why []shm.Reason) {
	w.t.Helper()
	for {
		m, ok := w.letters.TryReceive()
		if !ok {
			return texts, why
		}
		b, err := m.Bytes()
		must(w.t, err)
		texts, why = append(texts, string(b)), append(why, m.Header.Reason)
		m.Release()
	}
}

// wantLetters fails the test unless exactly these are the dead letters, in any order, all for one reason.
func (w *world) wantLetters(why shm.Reason, want ...string) {
	w.t.Helper()
	got, reasons := w.takeLetters()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("the dead letters are %q, want %q", got, want)
	}
	for _, r := range reasons {
		if r != why {
			w.t.Errorf("a dead letter because %v, want %v", r, why)
		}
	}
}

// peer adds a process.
func (w *world) peer() *party {
	w.t.Helper()
	id, err := w.seg.Grant("peer")
	must(w.t, err)
	var p *party
	if w.backing == asProcess {
		p = startParty(w.t, w.seg, id)
	} else {
		p = w.localParty(id)
	}
	w.peers = append(w.peers, p)
	return p
}

// localParty plays a peer in this process.
func (w *world) localParty(id shm.ProcessID) *party {
	w.t.Helper()
	seg := w.seg
	if w.backing == onMapping {
		f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", seg.File().Fd()), os.O_RDWR, 0)
		must(w.t, err)
		seg, err = shm.AttachFile(f)
		must(w.t, err)
	}
	must(w.t, seg.Enter(id))
	hub := joinAs(seg, id.Index())
	return &party{t: w.t, do: newAgent(hub).do, id: id, hub: hub, stop: func() {
		hub.Close(ErrSystemEnded)
		if seg != w.seg {
			if err := seg.Close(); err != nil {
				w.t.Error(err)
			}
		}
	}}
}

// joinAs is Join for a peer: it finds the dead-letter mailbox, if there is one.
func joinAs(seg *shm.Segment, entry uint32) *Hub {
	hub := Join(seg, entry)
	if m, err := hub.Open(lettersName); err == nil {
		hub.SetLetters(m)
	}
	return hub
}

// sweep does what the owner does when the kernel says that a peer has exited.
func (w *world) sweep(p *party, text string) Swept {
	w.t.Helper()
	p.swept = true
	done, err := w.hub.Sweep(p.id, text)
	must(w.t, err)
	w.audit()
	return done
}

// audit fails the test if the audit finds something: in these tests nobody scribbles.
func (w *world) audit() {
	w.t.Helper()
	if err := w.hub.Audit(); err != nil {
		w.t.Errorf("the audit of a sound segment: %v", err)
	}
}

// auditing audits all the time, beside whatever is going on, until the function that it returns is called.
func (w *world) auditing() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for ctx.Err() == nil && !w.t.Failed() {
			w.audit()
		}
	})
	return func() { cancel(); all.Wait() }
}

// end closes everything in order and checks what is left.
func (w *world) end() {
	for _, p := range w.peers {
		p.leave()
		if !p.swept {
			if _, err := w.hub.Sweep(p.id, "ended"); err != nil {
				w.t.Error(err)
			}
		}
	}
	w.audit()
	if !w.t.Failed() {
		for _, name := range slices.Sorted(maps.Keys(w.boxes)) {
			if name != lettersName {
				w.boxes[name].Close(shm.SystemEnded)
			}
		}
		if w.letters != nil {
			w.takeLetters()
		}
		w.wantWhole()
	}
	w.hub.Close(ErrSystemEnded)
	if !w.t.Failed() {
		w.wantHeld(nil)
	}
	if err := w.seg.Close(); err != nil {
		w.t.Error(err)
	}
}

// wantWhole fails the test unless the check finds nothing and the owner's cache has all frames that are not free.
func (w *world) wantWhole() {
	w.t.Helper()
	w.wantHeld(map[shm.ProcessID]int{w.hub.Self(): w.hub.Kept()})
}

// wantHeld fails the test unless frames are free or held by these processes, so many by each.
func (w *world) wantHeld(held map[shm.ProcessID]int) {
	w.t.Helper()
	census, err := Check(w.seg)
	if err != nil {
		w.t.Error(err)
	}
	maps.DeleteFunc(held, func(_ shm.ProcessID, n int) bool { return n == 0 })
	if !maps.Equal(held, census.Held) {
		w.t.Errorf("frames are held by %v, want %v", census.Held, held)
	}
	for st, n := range census.States {
		if n != 0 && shm.State(st) != shm.Held {
			w.t.Errorf("%d frames are %v", n, shm.State(st))
		}
	}
}

// within returns a context for something that should happen at once.
func within(t testing.TB) context.Context {
	t.Helper()
	return testkit.Deadline(t, limit)
}
