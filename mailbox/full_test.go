package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// waiters is how many senders of a hub wait for room in a mailbox, or for a frame.
func (h *Hub) waiters(queue uint32) int {
	h.room.mu.Lock()
	defer h.room.mu.Unlock()
	return len(h.room.waiting[queue])
}

// waitFirst starts senders, each of which waits before the next one comes.
func waitFirst(t *testing.T, h *Hub, m *Mailbox, texts ...string) <-chan error {
	t.Helper()
	sent := make(chan error, len(texts))
	before := h.waiters(m.index)
	for i, text := range texts {
		go func() { sent <- m.SendBytes(within(t), []byte(text)) }()
		testkit.Eventually(t, limit, "a sender waits for room", func() bool { return h.waiters(m.index) == before+i+1 })
	}
	return sent
}

func fillUp(t *testing.T, m *Mailbox) (n int) {
	t.Helper()
	for m.TrySendBytes([]byte("filling")) == nil {
		n++
	}
	return n
}

// Those who wait for room in one process are served in the order in which they came, and nobody who comes later passes them.
func TestRoomInOrder(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 2)
	r := m.Receiver()
	fillUp(t, m)
	names := []string{"a", "b", "c", "d", "e"}
	sent := waitFirst(t, w.hub, m, names...)
	var got []string
	for len(got) < len(names) {
		_ = m.TrySendBytes([]byte("greedy"))
		msg, _, err := r.Receive(within(t))
		must(t, err)
		if b, _ := msg.Bytes(); string(b) != "filling" {
			got = append(got, string(b))
		}
		msg.Release()
	}
	if !slices.Equal(got, names) { // without a greedy one
		t.Errorf("they were served as %q, want %q", got, names)
	}
	for range names {
		must(t, <-sent)
	}
	for msg, ok := r.TryReceive(); ok; msg, ok = r.TryReceive() {
		msg.Release()
	}
	must(t, m.TrySendBytes([]byte("late"))) // there is room again
}

// A sender that gives up lets the next one go on; one in the middle, too.
func TestRoomWhenWaitersGiveUp(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 2)
	r := m.Receiver()
	fillUp(t, m)
	ctx, cancel := context.WithCancel(within(t))
	gone := make(chan error, 3)
	for i := range 3 {
		go func() { gone <- m.SendBytes(ctx, []byte("gone")) }()
		testkit.Eventually(t, limit, "it waits", func() bool { return w.hub.waiters(m.index) == i+1 })
	}
	sent := waitFirst(t, w.hub, m, "stays")
	cancel()
	for range 3 {
		want(t, "a sender that gave up", <-gone, context.Canceled)
	}
	msg, _ := r.TryReceive()
	msg.Release()
	must(t, <-sent)
	if n := w.hub.waiters(m.index); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// Waiting processes get room in turn, while another process takes what it can get: each message that is taken gives room to one that
// waited, or, before its process has its turn, to what was under way.
func TestRoomAmongProcesses(t *testing.T) {
	for _, b := range []backing{onHeap, onMapping} {
		t.Run(string(b), func(t *testing.T) {
			w := newWorld(t, b, smallOptions())
			p, q := w.peer(), w.peer()
			m := w.create("box", 2)
			r := m.Receiver()
			const each = 20
			fillUp(t, m)
			var sent []<-chan error
			for _, peer := range []*party{p, q} {
				box, err := peer.hub.Open("box")
				must(t, err)
				var texts []string
				for i := range each {
					texts = append(texts, fmt.Sprintf("%v/%d", peer.id, i))
				}
				sent = append(sent, waitFirst(t, peer.hub, box, texts...))
			}
			next, passed, most := map[string]int{}, 0, 0
			for waited := 0; waited < 2*each; {
				for m.TrySendBytes([]byte("greedy")) == nil { // the owner's process takes all room there is
				}
				msg, _, err := r.Receive(within(t))
				must(t, err)
				text, _ := msg.Bytes()
				name, number, ok := strings.Cut(string(text), "/")
				if !ok {
					passed++
				} else {
					if number != fmt.Sprint(next[name]) {
						t.Errorf("process %s is served %s, want %d", name, number, next[name])
					}
					next[name]++
					waited, most, passed = waited+1, max(most, passed), 0
				}
				msg.Release()
				testkit.Eventually(t, limit, "who has the turn uses it, or nobody waits", func() bool {
					return turnWord(m.rec[recTurn].Load()) == 0 || next[p.id.String()]+next[q.id.String()] == 2*each
				})
			}
			// The two that lie in the mailbox, and one that slips in before a waiter has set its bit again.
			if limit := 2 + 1; most > limit {
				t.Errorf("%d messages passed those who waited, want at most %d", most, limit)
			}
			for _, ch := range sent {
				for range each {
					must(t, <-ch)
				}
			}
		})
	}
}

// A process that is stopped while it has the turn costs the others one place, and nobody waits for it.
func TestRoomBesideAStoppedProcess(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 4)
	r := m.Receiver()
	stopped := w.peer()
	m.rec[recTurn].Store(uint64(makeTurn(stopped.id.Index(), r.head))) // and it does nothing
	if n := fillUp(t, m); n != 3 {
		t.Fatalf("%d messages have room beside the one that is kept, want 3", n)
	}
	sent := waitFirst(t, w.hub, m, "a", "b", "c")
	for range 6 { // all that is sent arrives, and room comes back with each message
		msg, _, err := r.Receive(within(t))
		must(t, err)
		msg.Release()
	}
	for range 3 {
		must(t, <-sent)
	}
	// The turn goes on when it was not used for long.
	m.rec[recTurn].Store(uint64(makeTurn(stopped.id.Index(), r.head-turnLimit)))
	fillUp(t, m)
	sent = waitFirst(t, w.hub, m, "next")
	msg, _ := r.TryReceive()
	msg.Release()
	must(t, <-sent)
	if turn := turnWord(m.rec[recTurn].Load()); turn.of(stopped.id) {
		t.Error("the turn is still the stopped one's")
	}
	for msg, ok := r.TryReceive(); ok; msg, ok = r.TryReceive() {
		msg.Release()
	}
}

// The turn of a process that died, or in which nobody waits, holds up nobody.
func TestTurnOfNobody(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 2)
	r := m.Receiver()
	p := w.peer()
	m.rec[recTurn].Store(uint64(makeTurn(p.id.Index(), r.head)))
	must(t, m.TrySendBytes([]byte("one")))
	sent := waitFirst(t, w.hub, m, "two")
	p.hub.wakeHosted(m.index) // what the ready bit of the receiver does
	must(t, <-sent)
	for range 2 {
		msg, _ := r.TryReceive()
		msg.Release()
	}
	m.rec[recTurn].Store(uint64(makeTurn(p.id.Index(), r.head)))
	must(t, m.TrySendBytes([]byte("one")))
	sent = waitFirst(t, w.hub, m, "two")
	p.leave()
	w.sweep(p, "killed")
	must(t, <-sent)
}

// The receiver may have read the line before one in it died and was swept: that one gets no turn, and the next message gives it to another.
func TestNoTurnForTheDead(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 2)
	r := m.Receiver()
	dead, live := w.peer(), w.peer()
	line := uint64(1) << (dead.id.Index() % 64)
	dead.leave()
	w.sweep(dead, "killed")
	if bit := r.giveTurn(line); bit != 0 || m.rec[recTurn].Load() != 0 {
		t.Errorf("the turn is %x, that of a process that died", m.rec[recTurn].Load())
	}
	line |= 1 << (live.id.Index() % 64)
	r.giveTurn(line)
	if turn := turnWord(m.rec[recTurn].Load()); !turn.of(live.id) {
		t.Errorf("the turn is %x, want that of %v", turn, live.id)
	}
	m.rec[recTurn].Store(0)
}

// drafts takes frames of n bytes until there is none.
func drafts(t *testing.T, h *Hub, n int) (all []Draft) {
	t.Helper()
	for {
		d, err := h.Draft(n)
		if err != nil {
			want(t, "one frame too many", err, shm.ErrNoSpace)
			if !strings.Contains(err.Error(), "raise MessageBytes") {
				t.Errorf("%v does not say what to do", err)
			}
			return all
		}
		all = append(all, d)
	}
}

// Those who wait for a frame of one size are served in order, nobody who comes later passes them, and another process that takes
// all it gets leaves a frame to those who have the turn.
func TestFramesInOrder(t *testing.T) {
	const size = 30_000
	w := newWorld(t, onHeap, smallOptions())
	p := w.peer()
	all := drafts(t, w.hub, size)
	got := make(chan int, 5)
	for i := range 5 {
		go func() {
			d, err := p.hub.DraftWait(within(t), size)
			if err != nil {
				t.Error(err)
			}
			got <- i
			p.hub.Discard(&d)
		}()
		testkit.Eventually(t, limit, "it waits for a frame", func() bool { return p.hub.waiters(frameQueue(size, false)) == i+1 })
	}
	_, err := p.hub.Draft(size)
	want(t, "a draft while others wait for one", err, shm.ErrNoSpace)
	var greedy atomic.Bool
	var done sync.WaitGroup
	greedy.Store(true)
	done.Go(func() {
		for greedy.Load() {
			if d, err := w.hub.Draft(size); err == nil {
				w.hub.Discard(&d)
			}
		}
	})
	w.hub.Discard(&all[0])
	for i := range 5 {
		if n := <-got; n != i {
			t.Errorf("number %d is served, want %d", n, i)
		}
	}
	greedy.Store(false)
	done.Wait()
	for i := range all[1:] {
		w.hub.Discard(&all[1+i])
	}
}

// Messages that wait to be handled fill all memory there is for them: they can still be answered with more than they are, and be dead
// letters, and others are told what to do.
func TestFullSystemDrains(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 64)
		const size = 200_000
		n := 0
		for ; ; n++ {
			if err := near.try(command{Op: "send", Box: "box", Size: size, N: 1, Wait: -1}); err != nil {
				want(t, "memory is used up", err, shm.ErrNoSpace)
				break
			}
		}
		for far.try(command{Op: "draft"}) == nil {
		}
		done := far.call("box", "waits for a frame")
		for i := range n {
			m := near.receive("box")
			if i%2 == 0 {
				m.release()
			} else {
				m.must(command{Op: "bury", Reason: shm.Expired})
			}
		}
		far.ask(command{Op: "discard"})
		m := near.wantText("box", "waits for a frame")
		m.reply("so")
		wantReply(t, done, "so")
		w.takeLetters()
	})
}

// A reply that is larger than its request has room in the reserve, though all else is taken; when that is used up too, its
// sender is told at once.
func TestReserveForReplies(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 8)
		done, m := served(w, near, far, "request")
		for near.try(command{Op: "draft", Size: 60_000}) == nil {
		}
		for near.try(command{Op: "draft"}) == nil {
		}
		want(t, "a draft", near.try(command{Op: "draft", Size: 60_000}), shm.ErrNoSpace)
		large := strings.Repeat("x", 60_000)
		for range 3 { // it comes back each time
			m.must(command{Op: "room", Size: len(large)})
			m.must(command{Op: "room", Size: 10})
		}
		m.reply(large)
		wantReply(t, done, large)
		want(t, "the reserve is for replies", near.try(command{Op: "draft", Size: 60_000}), shm.ErrNoSpace)
		near.ask(command{Op: "discard"})
		near.ask(command{Op: "draft", Size: 60_000})
		near.ask(command{Op: "discard"})
	})
}
