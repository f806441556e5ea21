package mailbox

import (
	"context"
	"errors"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// When a hub is closed, all that waits in its process ends with its error, and nothing else in the segment changes.
func TestHubCloseEndsAllWaits(t *testing.T) {
	each(t, func(t *testing.T, w *world, peer *party) {
		w.create("empty", 2)
		full := w.create("full", 2)
		busy := w.create("busy", 4)
		w.me.send("full", "a")
		w.me.send("full", "b")
		waits := map[string]<-chan answer{
			"receive": peer.later(command{Op: "receive", Box: "empty", Wait: limit}),
			"send":    peer.later(command{Op: "send", Box: "full"}),
			"call":    peer.later(command{Op: "call", Box: "busy", Data: []byte("taken")}),
			"queued":  peer.later(command{Op: "call", Box: "full"}),
		}
		m := w.me.wantText("busy", "taken")
		waitParked(t, m)
		testkit.Eventually(t, limit, "the senders wait for room", func() bool { return full.rec[recRoom].Load() != 0 })
		peer.ask(command{Op: "closehub"})
		for name, done := range waits {
			want(t, name, soon(t, name+" ends", done).err(), ErrSystemEnded)
		}
		want(t, "the late reply", m.try(command{Op: "reply"}), ErrReplied)
		want(t, "a draft afterwards", peer.try(command{Op: "draft"}), ErrSystemEnded)
		want(t, "a call afterwards", peer.try(command{Op: "call", Box: "busy"}), ErrSystemEnded)
		w.me.wantText("full", "a").release()
		w.me.wantText("full", "b").release()
		if busy.rec[recTail].Load() != 1 {
			t.Error("a call was sent after the hub was closed")
		}
	})
}

// A hub is closed once, with the first error; nil is one too.
func TestHubCloseTwice(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	for name, reason := range map[string]error{"an error": errors.New("first"), "no error": nil} {
		id, err := w.seg.Grant("w")
		must(t, err)
		must(t, w.seg.Enter(id))
		h := Join(w.seg, id.Index())
		closed := make(chan struct{})
		go func() {
			h.Close(reason)
			h.Close(errors.New("second"))
			close(closed)
		}()
		select {
		case <-closed:
		case <-within(t).Done():
			t.Fatalf("%s: Close does not end", name)
		}
		if h.Err() == nil || reason != nil && h.Err() != reason {
			t.Errorf("%s: closed with %v", name, h.Err())
		}
		if _, err := w.hub.Sweep(id, ""); err != nil {
			t.Error(err)
		}
		select {
		case <-h.Done():
		default:
			t.Errorf("%s: not done", name)
		}
	}
}

// Several processes in one, on one segment: each has its own frames, values and waiter.
func TestHubsBesideEachOther(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	w.create("box", 8)
	var ps []*party
	for range 5 {
		ps = append(ps, w.peer())
	}
	for i, p := range ps {
		next := ps[(i+1)%len(ps)]
		done := next.call("box", "hello")
		m := p.wantText("box", "hello")
		if m.From != next.id {
			t.Errorf("from %v, want %v", m.From, next.id)
		}
		m.reply("you")
		wantReply(t, done, "you")
		p.ask(command{Op: "retire", Box: "box"})
	}
}

// Whoever would wait for itself, through others, is told.
func TestWaitFor(t *testing.T) {
	each(t, func(t *testing.T, w *world, peer *party) {
		for _, name := range []string{"a", "b", "c", "d"} {
			w.create(name, 2)
		}
		waits := func(p *party, box, to string) bool {
			t.Helper()
			return p.ask(command{Op: "waitfor", Box: box, Data: []byte(to)}).N == 1
		}
		if waits(w.me, "a", "b") || waits(peer, "b", "c") || waits(w.me, "c", "d") {
			t.Error("a chain is taken for a circle")
		}
		for _, to := range []string{"a", "b", "c", "d"} {
			if !waits(peer, "d", to) {
				t.Errorf("d waits for %s, which waits for d, and is not told", to)
			}
		}
		if waits(peer, "b", "") || waits(w.me, "d", "a") {
			t.Error("the circle is still there after b stopped waiting")
		}
		if !waits(peer, "b", "c") {
			t.Error("b closes the circle and is not told")
		}
		if waits(w.me, "d", "") || waits(peer, "b", "c") {
			t.Error("the circle is still there after d stopped waiting")
		}
	})
}

// Two that begin to wait for each other at the same moment: at least one is told.
func TestWaitForEachOther(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	a, b := w.create("a", 2), w.create("b", 2)
	rounds := 5000
	if testing.Short() {
		rounds = 500
	}
	for range rounds {
		told := make(chan bool, 2)
		go func() { told <- a.WaitFor(b, 0) }()
		go func() { told <- b.WaitFor(a, 0) }()
		if one, other := <-told, <-told; !one && !other {
			t.Fatal("both wait, and nobody is told")
		}
		a.WaitFor(nil, 0)
		b.WaitFor(nil, 0)
	}
}

// Chains and circles of others, and words that name nothing, end the search.
func TestWaitForIsBounded(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	a, b, c := w.create("a", 2), w.create("b", 2), w.create("c", 2)
	b.rec[recWaitsFor].Store(uint64(c.index) + 1)
	c.rec[recWaitsFor].Store(uint64(b.index) + 1)
	if a.WaitFor(b, 0) {
		t.Error("a circle of others is a's")
	}
	for _, word := range []uint64{1000, 1 << 32, 1<<64 - 1} {
		b.rec[recWaitsFor].Store(word)
		if a.WaitFor(b, 0) {
			t.Errorf("the word %x makes a circle", word)
		}
	}
}

// A frame that was taken away from a call gives an error, and does not keep the caller past its time.
func TestCallWhoseFrameIsTakenAway(t *testing.T) {
	for name, change := range map[string]func(f shm.Frame) shm.Owner{
		"freed":          func(f shm.Frame) shm.Owner { return shm.MakeOwner(f.Generation()+1, 0, shm.Free) },
		"another's call": func(f shm.Frame) shm.Owner { return shm.MakeOwner(f.Generation()+1, 5, shm.Queued).With(shm.IsCall) },
		"handled":        func(f shm.Frame) shm.Owner { return shm.MakeOwner(f.Generation()+7, 5, shm.Taken).With(shm.IsCall) },
		"replied":        func(f shm.Frame) shm.Owner { return f.Word(5, shm.Replied) },
		"no state":       func(f shm.Frame) shm.Owner { return f.Word(5, 15) },
		"a body":         func(f shm.Frame) shm.Owner { return shm.Owner(5)<<32 | shm.Owner(shm.Attached) },
	} {
		for _, parked := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, onHeap, smallOptions())
				m := w.create("box", 4)
				d, err := w.hub.Draft(0)
				must(t, err)
				m.address(&d)
				must(t, m.publish(&d, shm.IsCall))
				f := d.Frame
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				ended := make(chan error, 1)
				me := w.hub.calls.get()
				was := f.Owner()
				if !parked {
					f.Set(change(f))
				}
				go func() {
					_, err := w.hub.await(ctx, f, me, false)
					ended <- err
				}()
				if parked {
					testkit.Eventually(t, limit, "the caller is parked", func() bool { return f.Owner().Has(shm.Waiting) })
					f.Set(change(f))
				}
				cancel() // its time is over
				select {
				case err := <-ended:
					want(t, "the call", err, shm.ErrCorrupt)
				case <-within(t).Done():
					t.Error("the caller waits past its time")
				}
				if now := f.Owner(); now != change(f) {
					t.Errorf("the caller changed another's word to %v", now)
				}
				f.Set(was.With(shm.Abandoned))
			})
		}
	}
}
