package mailbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// What is left when a party dies right after a step, row by row of the tables in docs/protocol.md. The party is an entry of
// the process table that nobody plays: a row builds the words as the step left them, and the owner sweeps.

// scene is what a row builds on: a mailbox, the dying process and one that died before.
type scene struct {
	t        *testing.T
	w        *world
	hub      *Hub // the owner's, which plays the party that lives
	box      *Mailbox
	dead     shm.ProcessID
	gone     shm.ProcessID
	pool     *shm.Pool // of the dying process
	awaited  chan error
	reply    []byte
	waiter   *waiter
	returned func()
}

func newScene(t *testing.T) *scene {
	w := newWorld(t, onHeap, smallOptions())
	w.withLetters(16)
	s := &scene{t: t, w: w, hub: w.hub, box: w.create("box", 4), awaited: make(chan error, 1)}
	for _, id := range []*shm.ProcessID{&s.gone, &s.dead} {
		var err error
		*id, err = w.seg.Grant("dying")
		must(t, err)
		must(t, w.seg.Enter(*id))
	}
	_, err := w.hub.Sweep(s.gone, "long ago")
	must(t, err)
	s.pool = w.seg.NewPool(s.dead)
	return s
}

// frame fills a frame of a process: steps 1 and 2.
func (s *scene) frame(from shm.ProcessID, text string) shm.Frame {
	s.t.Helper()
	pool := s.pool
	if from == s.hub.self {
		pool = s.hub.pool
	}
	f, err := pool.Get(len(text))
	must(s.t, err)
	f.SetHeader(&shm.Header{Length: uint32(copy(f.Payload(), text)), Caller: from, Mailbox: s.box.index, Incarnation: s.box.incarnation})
	return f
}

// queued is step 3.
func (s *scene) queued(from shm.ProcessID, text string, flags shm.Owner) shm.Frame {
	s.t.Helper()
	f := s.frame(from, text)
	f.Set(f.Word(from, shm.Queued).With(flags))
	return f
}

// inRing is step 6, without step 7.
func (s *scene) inRing(f shm.Frame) shm.Frame {
	s.t.Helper()
	tail := s.box.rec[recTail].Load()
	if !swap(s.box.ring, tail&s.box.mask, emptySlot(tail>>s.box.shift), fullSlot(tail>>s.box.shift, f.Index())) {
		s.t.Fatal("the slot is not empty")
	}
	return f
}

// taken is step 9 by the dying process, and, if emptied, step 10.
func (s *scene) taken(f shm.Frame, emptied bool) shm.Frame {
	s.t.Helper()
	w := f.Owner()
	f.Set(w.To(s.dead, shm.Taken))
	head := s.box.rec[recHead].Load()
	s.box.rec[recTail].CompareAndSwap(head, head+1)
	if emptied && !swap(s.box.ring, head&s.box.mask, fullSlot(head>>s.box.shift, f.Index()), emptySlot(head>>s.box.shift+1)) {
		s.t.Fatal("the slot is not full")
	}
	return f
}

// call is a call of the owner that the dying process has taken; state is how its frame is left.
func (s *scene) call(state shm.State, flags shm.Owner) shm.Frame {
	s.t.Helper()
	f := s.taken(s.inRing(s.queued(s.hub.self, "request", shm.IsCall)), true)
	f.Set(f.Word(s.dead, state).With(shm.IsCall | flags))
	return f
}

// await plays the owner's caller, parked in its call.
func (s *scene) await(f shm.Frame) shm.Frame {
	s.t.Helper()
	s.waiter = s.hub.calls.get()
	head := f.Header()
	head.Call = s.waiter.number
	text := slices.Clone(f.Payload())
	f.SetHeader(&head)
	copy(f.Payload(), text)
	go func() {
		r, err := s.hub.await(context.Background(), f, s.waiter, false)
		if err == nil {
			s.reply, err = r.Bytes()
			s.reply = slices.Clone(s.reply)
			r.Release()
		}
		s.awaited <- err
	}()
	testkit.Eventually(s.t, limit, "the caller is parked", func() bool { return f.Owner().Has(shm.Waiting) })
	return f
}

// wantTold waits for the end of the owner's call.
func (s *scene) wantTold(target error, says string) {
	s.t.Helper()
	select {
	case err := <-s.awaited:
		if !errors.Is(err, target) || target != nil && !strings.Contains(err.Error(), says) {
			s.t.Errorf("the caller is told %v, want %v with %q", err, target, says)
		}
		if target == nil && string(s.reply) != says {
			s.t.Errorf("the reply is %q, want %q", s.reply, says)
		}
	case <-within(s.t).Done():
		s.t.Error("the caller is not told")
	}
}

// replied writes a reply of the dying process into a call's frame: into its body, if it is large.
func (s *scene) replied(f shm.Frame, text string, attach bool) {
	s.t.Helper()
	m := Message{hub: &Hub{seg: s.w.seg, pool: s.pool, self: s.dead}, Frame: f, Header: f.Header()}
	room, err := m.Room(len(text))
	must(s.t, err)
	n := copy(room, text)
	if m.body.IsZero() || attach {
		m.put(n, 0, 0)
	}
}

const large = 100_000

// row is one line of a table.
type row struct {
	name     string
	build    func(s *scene)
	deliver  []string // what the next receiver gets
	attempts []int    // how often each was begun before; a receiver with redelivery, if there are any
	letters  []string // what becomes a dead letter
	why      shm.Reason
	told     error // what the owner's caller is told; errNothing for no call
	says     string
	done     Swept
	then     func(s *scene) // what the party that lives does afterwards
}

func (r row) run(t *testing.T) {
	s := newScene(t)
	if r.told == nil {
		r.told = errNothing
	}
	r.build(s)
	done, err := s.hub.Sweep(s.dead, text)
	must(t, err)
	if done != r.done {
		t.Errorf("the sweep did %+v, want %+v", done, r.done)
	}
	if _, err := Check(s.w.seg); err != nil {
		t.Errorf("after the sweep: %v", err)
	}
	s.w.seg.EachFrame(func(f shm.Frame, w shm.Owner) {
		if w.State() != shm.Attached && (w.Holder() == s.dead || w.Holder() == s.gone) {
			t.Errorf("after the sweep frame %d is %v", f.Index(), w)
		}
	})
	if r.told != errNothing {
		s.wantTold(map[bool]error{true: nil, false: r.told}[r.told == errReply], r.says)
	}
	if r.then != nil {
		r.then(s)
	}
	rx := r.receiver(s)
	for i, text := range r.deliver {
		m, ok := rx.TryReceive()
		if !ok {
			t.Fatalf("%q is not received", text)
		}
		if b, err := m.Bytes(); err != nil || string(b) != text {
			t.Errorf("received %q, %v, want %q", b, err, text)
		}
		r.begin(t, rx, i, &m)
		if m.IsCall() {
			must(t, m.Reply([]byte("ok")))
			s.wantTold(nil, "ok")
		} else {
			m.Release()
		}
	}
	if m, ok := rx.TryReceive(); ok {
		t.Errorf("received %v too", m.Header)
		m.Release()
	}
	why := r.why
	if why == shm.NoReason {
		why = shm.WorkerDied
	}
	s.w.wantLetters(why, r.letters...)
	for range 2*s.box.mask + 1 { // the ring is whole
		must(t, s.box.TrySendBytes([]byte("after")))
		m, ok := rx.TryReceive()
		if !ok {
			t.Fatal("the ring is stuck")
		}
		m.Release()
	}
}

// errReply stands for a reply instead of an error.
var errReply = errors.New("a reply")

func TestDeathInEveryRowOneWay(t *testing.T) {
	for _, r := range []row{
		{name: "1: held", build: func(s *scene) { s.frame(s.dead, "x") }, done: Swept{Freed: 1}},
		{name: "1: a run is held", build: func(s *scene) { s.frame(s.dead, strings.Repeat("x", large)) }, done: Swept{Freed: 1}},
		{name: "3: queued, in no ring", build: func(s *scene) { s.queued(s.dead, "x", 0) }, done: Swept{Freed: 1}},
		{name: "6: in the ring, tail lags", build: func(s *scene) { s.inRing(s.queued(s.dead, "x", 0)) }, deliver: []string{"x"}},
		{
			name: "6: in the ring, and others go on", deliver: []string{"x", "y"},
			build: func(s *scene) {
				s.inRing(s.queued(s.dead, "x", 0))
				must(s.t, s.box.TrySendBytes([]byte("y")))
			},
		},
		{name: "7: sent, nobody is woken", deliver: nil, build: func(s *scene) {
			rx := s.box.Receiver()
			got := make(chan string, 1)
			go func() {
				m, _, err := rx.Receive(context.Background())
				b, _ := m.Bytes()
				got <- string(b)
				if err == nil {
					m.Release()
				}
			}()
			testkit.Eventually(s.t, limit, "the receiver is parked", func() bool {
				return consumerWord(s.box.rec[recConsumer].Load()).parked()
			})
			s.inRing(s.queued(s.dead, "x", 0))
			s.box.rec[recTail].Add(1)
			s.returned = func() {
				select {
				case b := <-got:
					if b != "x" {
						s.t.Errorf("received %q", b)
					}
				case <-within(s.t).Done():
					s.t.Error("the sweep does not wake the receiver")
				}
				rx.Close()
			}
		}, then: func(s *scene) { s.returned() }},
		{name: "9: taken, in the ring", deliver: []string{"x"}, build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), false)
		}},
		{name: "9: taken, in the ring, of the same process", deliver: []string{"x"}, build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.dead, "x", 0)), false)
		}},
		{name: "9: taken, in the ring, and the mailbox is closed", letters: []string{"x"}, why: shm.Stopped, build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), false)
		}, then: func(s *scene) {
			s.box.Close(shm.Stopped)
			s.box = s.w.create("box", 4)
		}},
		{name: "10: taken, head lags", letters: []string{"x"}, done: Swept{Buried: 1}, build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
		}},
		{name: "11, 13: in its hands", letters: []string{"x"}, done: Swept{Buried: 1}, build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
			s.box.rec[recHead].Add(1)
		}},
		{name: "10: with more behind it", letters: []string{"x"}, deliver: []string{"y"}, done: Swept{Buried: 1}, build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
			must(s.t, s.box.TrySendBytes([]byte("y")))
		}},
		{name: "12: the room bits are taken, nobody is woken", build: func(s *scene) {
			for _, text := range []string{"a", "b", "c", "d"} {
				must(s.t, s.box.TrySendBytes([]byte(text)))
			}
			sent := make(chan error, 1)
			go func() { sent <- s.box.SendBytes(context.Background(), []byte("e")) }()
			testkit.Eventually(s.t, limit, "the sender waits", func() bool { return s.box.rec[recRoom].Load() != 0 })
			m, _ := s.box.take(load(s.box.ring, 0).frame())
			_ = m
			f, err := s.w.seg.FrameAt(load(s.box.ring, 0).frame())
			must(s.t, err)
			f.Set(f.Word(s.dead, shm.Taken))
			s.box.ring[0].Store(uint64(emptySlot(1)))
			s.box.rec[recHead].Store(1)
			s.box.rec[recRoom].Store(0)
			s.returned = func() {
				select {
				case err := <-sent:
					must(s.t, err)
				case <-within(s.t).Done():
					s.t.Error("the sweep does not wake the sender")
				}
			}
		}, then: func(s *scene) { s.returned() }, letters: []string{"a"}, deliver: []string{"b", "c", "d", "e"}, done: Swept{Buried: 1}},
		{name: "14: kept in a cache", done: Swept{Freed: 1}, build: func(s *scene) { s.pool.Put(s.frame(s.dead, "x")) }},
		{name: "15: parked", build: func(s *scene) {
			s.box.rec[recConsumer].Store(uint64(makeConsumer(7, s.dead) | parkedBit))
		}, deliver: []string{"x"}, then: func(s *scene) { must(s.t, s.box.TrySendBytes([]byte("x"))) }},
		{name: "dead letter: settling", letters: []string{"x"}, done: Swept{Buried: 1}, build: func(s *scene) {
			f := s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
			f.Set(f.Word(s.dead, shm.Settling))
		}, then: func(s *scene) { s.counted(1) }},
		{name: "dead letter: settling, with its reason", letters: []string{"x"}, why: shm.Crashed, done: Swept{Buried: 1}, build: func(s *scene) {
			f := s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
			f.Set(f.Word(s.dead, shm.Settling))
			f.SetLetter(shm.Crashed, s.box.index)
		}, then: func(s *scene) { s.counted(0) }},
		{name: "dead letter: addressed", letters: []string{"x"}, why: shm.Crashed, done: Swept{Buried: 1}, build: func(s *scene) {
			s.letter(shm.Settling)
		}, then: func(s *scene) { s.counted(0) }},
		{name: "dead letter: queued, in no ring", letters: []string{"x"}, why: shm.Crashed, done: Swept{Buried: 1}, build: func(s *scene) {
			s.letter(shm.Queued)
		}, then: func(s *scene) { s.counted(0) }},
		{name: "dead letter: in the hands of who reads it", letters: []string{"x"}, why: shm.Crashed, done: Swept{Buried: 1}, build: func(s *scene) {
			s.letter(shm.Taken)
		}, then: func(s *scene) { s.counted(0) }},
		{name: "dead letter: sent", letters: []string{"x"}, why: shm.Crashed, build: func(s *scene) {
			must(s.t, s.w.letters.push(s.letter(shm.Queued).Index()))
		}},
		{name: "lent", done: Swept{Freed: 1}, build: func(s *scene) {
			f := s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), true)
			f.Set(f.Word(s.dead, shm.Lent).With(shm.Abandoned).Because(shm.Stopped))
		}},
	} {
		t.Run(r.name, r.run)
	}
}

func TestDeathInEveryRowCall(t *testing.T) {
	for _, r := range []row{
		{name: "C1: queued", done: Swept{Skipped: 1}, build: func(s *scene) { s.inRing(s.queued(s.dead, "x", shm.IsCall)) }},
		{name: "C1: queued, in no ring", done: Swept{Freed: 1}, build: func(s *scene) { s.queued(s.dead, "x", shm.IsCall) }},
		{name: "C2: taken, in the ring", deliver: []string{"request"}, build: func(s *scene) {
			f := s.inRing(s.queued(s.hub.self, "request", shm.IsCall))
			s.await(f)
			s.taken(f, false)
		}},
		{name: "C2: taken", told: ErrWorkerDied, says: text, done: Swept{Failed: 1}, build: func(s *scene) { s.await(s.call(shm.Taken, 0)) }},
		{name: "C3: taken and abandoned, in the ring", build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.hub.self, "x", shm.IsCall|shm.Abandoned)), false)
		}},
		{name: "C3: taken and abandoned", done: Swept{Freed: 1}, build: func(s *scene) { s.call(shm.Taken, shm.Abandoned) }},
		{name: "C4: replied, nobody is woken", told: errReply, says: "reply", build: func(s *scene) {
			f := s.await(s.call(shm.Taken, 0))
			s.replied(f, "reply", false)
			f.Set(f.Word(s.hub.self, shm.Replied).With(shm.IsCall))
		}},
		{name: "C4: replied at large, nobody is woken", told: errReply, says: strings.Repeat("r", large), build: func(s *scene) {
			f := s.await(s.call(shm.Taken, 0))
			s.replied(f, strings.Repeat("r", large), true)
			f.Set(f.Word(s.hub.self, shm.Replied).With(shm.IsCall))
		}},
		{name: "C4: a large reply is written", told: ErrWorkerDied, says: text, done: Swept{Failed: 1, Freed: 1}, build: func(s *scene) {
			s.replied(s.await(s.call(shm.Taken, 0)), strings.Repeat("r", large), false)
		}},
		{name: "C4: a large reply is attached", told: ErrWorkerDied, says: text, done: Swept{Failed: 1}, build: func(s *scene) {
			s.replied(s.await(s.call(shm.Taken, 0)), strings.Repeat("r", large), true)
		}},
		{name: "C5: replied to a dead caller", done: Swept{Freed: 1}, build: func(s *scene) {
			f := s.taken(s.inRing(s.queued(s.dead, "x", shm.IsCall)), true)
			s.replied(f, strings.Repeat("r", large), true)
			f.Set(f.Word(s.gone, shm.Replied).With(shm.IsCall))
		}},
		{name: "C7: a reply in its hands", done: Swept{Freed: 1}, build: func(s *scene) {
			f := s.frame(s.dead, "x")
			s.replied(f, strings.Repeat("r", large), true)
			f.Set(f.Word(s.dead, shm.Replied).With(shm.IsCall))
		}},
		{name: "C7: it had begun to free a large reply", done: Swept{Freed: 1}, build: func(s *scene) {
			f := s.frame(s.dead, "x")
			s.replied(f, strings.Repeat("r", large), true)
			head := f.Header()
			f.SetHeader(&head) // names no body any more
			f.Set(f.Word(s.dead, shm.Replied).With(shm.IsCall))
		}},
		{name: "C7: a failure in its hands", done: Swept{Freed: 1}, build: func(s *scene) {
			f := s.frame(s.dead, "x")
			f.Set(f.Word(s.dead, shm.Failed).With(shm.IsCall | shm.Detail).Because(shm.Crashed))
		}},
		{name: "C8, C9, C21: the caller of a call that is handled", build: func(s *scene) { s.handled(shm.Waiting) }, then: func(s *scene) { s.wantRefused() }},
		{name: "C9: it gave up", build: func(s *scene) { s.handled(shm.Abandoned) }, then: func(s *scene) { s.wantRefused() }},
		{name: "C10: it gave up a deferred call", done: Swept{Freed: 1}, build: func(s *scene) {
			f := s.frame(s.dead, "x")
			f.Set(f.Word(s.dead, shm.Held))
		}},
		{name: "C13: deferred", told: ErrWorkerDied, says: text, done: Swept{Failed: 1}, build: func(s *scene) { s.call2(shm.Deferred, 0) }},
		{name: "C14: claimed", told: ErrWorkerDied, says: text, done: Swept{Failed: 1}, build: func(s *scene) { s.await(s.call(shm.Taken, 0)) }},
		{name: "C15: failed, nobody is woken", told: ErrCrashed, says: "why", build: func(s *scene) {
			f := s.await(s.call(shm.Taken, 0))
			s.replied(f, "why", false)
			f.Set(f.Word(s.hub.self, shm.Failed).With(shm.IsCall | shm.Detail).Because(shm.Crashed))
		}},
		{name: "C16, C20: lent", told: ErrStopped, done: Swept{Failed: 1}, build: func(s *scene) {
			f := s.await(s.call(shm.Taken, 0))
			f.Set(f.Word(s.dead, shm.Lent).With(shm.IsCall).Because(shm.Stopped))
		}},
		{name: "C17, C20: lent, and its caller knows", done: Swept{Freed: 1}, build: func(s *scene) {
			f := s.call(shm.Taken, 0)
			f.Set(f.Word(s.dead, shm.Lent).With(shm.IsCall | shm.Abandoned).Because(shm.Stopped))
		}},
		{name: "C18: lent and returned, nobody is woken", told: ErrStopped, build: func(s *scene) {
			f := s.await(s.call(shm.Taken, 0))
			f.Set(f.Word(s.hub.self, shm.Failed).With(shm.IsCall).Because(shm.Stopped))
		}},
		{name: "C19: settling, by a sweeper that died", told: ErrWorkerDied, done: Swept{Failed: 1}, build: func(s *scene) {
			f := s.await(s.call(shm.Taken, 0))
			f.Set(f.Word(s.gone, shm.Settling).With(shm.IsCall | shm.Waiting))
		}},
		{name: "C19: settling, and abandoned", done: Swept{Freed: 1}, build: func(s *scene) {
			f := s.call(shm.Taken, 0)
			f.Set(f.Word(s.gone, shm.Settling).With(shm.IsCall | shm.Abandoned))
		}},
		{name: "C19: handled by one that died before", told: ErrWorkerDied, done: Swept{Failed: 1}, build: func(s *scene) {
			f := s.await(s.call(shm.Taken, 0))
			f.Set(f.Word(s.gone, shm.Taken).With(shm.IsCall | shm.Waiting))
		}},
		{name: "C21: the caller of a deferred call", done: Swept{Freed: 1}, build: func(s *scene) {
			m := s.handled(0)
			must(s.t, m.Defer())
			s.returned = func() {
				_, err := s.hub.Claim(m.Token())
				want(s.t, "a bearer", err, ErrReplied)
			}
		}, then: func(s *scene) { s.returned() }},
		{name: "C21: the caller of a lent call", build: func(s *scene) {
			m := s.handled(0)
			m.Lend(shm.Stopped)
			s.returned = m.Return
		}, then: func(s *scene) { s.returned() }},
		{name: "C22: caller and handler", done: Swept{Freed: 3}, build: func(s *scene) {
			for _, st := range []shm.State{shm.Taken, shm.Deferred, shm.Lent} {
				f := s.taken(s.inRing(s.queued(s.dead, "x", shm.IsCall)), true)
				s.box.rec[recHead].Add(1)
				f.Set(f.Word(s.dead, st).With(shm.IsCall | shm.Waiting))
			}
		}},
		{name: "C22: taken, in the ring", build: func(s *scene) {
			s.taken(s.inRing(s.queued(s.dead, "x", shm.IsCall)), false)
		}, done: Swept{Skipped: 1}},
	} {
		t.Run(r.name, r.run)
	}
}

// The verdict is given and the sweep has passed a frame, or has not come to it yet: who hands it to the dead sees the verdict,
// and takes it back.
func TestHandedToTheCondemned(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, m *Message){
		"C5: reply":       func(t *testing.T, m *Message) { want(t, "a reply", m.Reply([]byte("x")), ErrReplied) },
		"C5: large reply": func(t *testing.T, m *Message) { want(t, "a reply", m.Reply(make([]byte, large)), ErrReplied) },
		"C15: failure":    func(t *testing.T, m *Message) { want(t, "a failure", m.Fail(shm.Crashed, "x"), ErrReplied) },
		"C13: deferred": func(t *testing.T, m *Message) {
			want(t, "deferring", m.Defer(), ErrReplied)
			_, err := m.hub.Claim(m.Token())
			want(t, "a bearer", err, ErrReplied)
		},
		"C14: claimed": func(t *testing.T, m *Message) {
			m.Frame.Set(m.Frame.Word(m.hub.self, shm.Deferred).With(shm.IsCall))
			c, err := m.hub.Claim(m.Token())
			must(t, err)
			want(t, "a reply", c.Reply([]byte("x")), ErrReplied)
		},
		"C18: lent": func(t *testing.T, m *Message) { m.Lend(shm.Stopped); m.Return() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			m := s.handled(0)
			if !s.w.seg.Condemn(s.dead) {
				t.Fatal("it cannot be condemned")
			}
			end(t, m)
			if now, err := s.w.seg.FrameAt(m.Frame.Index()); err != nil || now.Generation() == m.Frame.Generation() {
				t.Errorf("the frame is %v, %v, want it freed", now.Owner(), err)
			}
			if done, err := s.hub.Sweep(s.dead, text); err != nil || done != (Swept{}) {
				t.Errorf("the sweep did %+v, %v, want nothing", done, err)
			}
		})
	}
}

// A receiver that takes over before the sweep takes what the dead one left in the ring: row 9.
func TestTakenByTheCondemned(t *testing.T) {
	s := newScene(t)
	s.taken(s.inRing(s.queued(s.hub.self, "x", 0)), false)
	r := s.box.Receiver()
	if m, ok := r.TryReceive(); ok {
		t.Errorf("received %v while its taker lives", m.Header)
	}
	s.box.rec[recHead].Store(0) // its slot is full as before
	s.box.ring[0].Store(uint64(fullSlot(0, 0)))
	s.w.seg.Condemn(s.dead)
	wantTexts(t, "after the verdict", s.box.Receiver(), "x")
	if done, err := s.hub.Sweep(s.dead, text); err != nil || done != (Swept{}) {
		t.Errorf("the sweep did %+v, %v, want nothing", done, err)
	}
}

// call2 is a call that its owner awaits, left in a state that it may wait in.
func (s *scene) call2(state shm.State, flags shm.Owner) {
	s.t.Helper()
	f := s.await(s.call(shm.Taken, 0))
	w := f.Owner()
	f.Set(w.To(s.dead, state).With(flags))
}

// handled is a call of the dying process that the owner has in its hands.
func (s *scene) handled(flags shm.Owner) *Message {
	s.t.Helper()
	s.inRing(s.queued(s.dead, "request", shm.IsCall))
	r := s.box.Receiver()
	m, ok := r.TryReceive()
	if !ok {
		s.t.Fatal("no message")
	}
	r.Close()
	m.Frame.Set(m.Frame.Owner().With(flags))
	s.returned = func() { want(s.t, "the reply", m.Reply([]byte(strings.Repeat("r", large))), ErrReplied) }
	return &m
}

func (s *scene) wantRefused() {
	s.t.Helper()
	s.returned()
}

// The next holder of an entry finds no trace of the one before: step 16.
func TestDeathAsleep(t *testing.T) {
	s := newScene(t)
	l := s.w.seg.Listen(s.dead.Index())
	l.Announce()
	_, err := s.hub.Sweep(s.dead, text)
	must(t, err)
	next := s.w.peer()
	for next.id.Index() != s.dead.Index() {
		next = s.w.peer()
	}
	s.w.create("another", 2)
	done := next.later(command{Op: "receive", Box: "another", Wait: limit})
	s.w.me.send("another", "hello")
	a := soon(t, "it receives", done)
	if string(a.Data) != "hello" {
		t.Errorf("received %q, %v", a.Data, a.err())
	}
	message{next, a}.release()
}

// A sweep that is begun again, wherever the first was cut off, comes to the same end.
func TestSweepAgain(t *testing.T) {
	s := newScene(t)
	f := s.await(s.call(shm.Taken, 0))
	s.inRing(s.queued(s.dead, "x", 0))
	s.frame(s.dead, "y")
	// Cut off after the verdict: another sweep, for another process, does it all.
	s.w.seg.Condemn(s.dead)
	other, err := s.w.seg.Grant("other")
	must(t, err)
	_, err = s.hub.Sweep(other, "other")
	must(t, err)
	s.wantTold(ErrWorkerDied, "")
	done, err := s.hub.Sweep(s.dead, text)
	if err != nil || done != (Swept{}) {
		t.Errorf("the sweep did %+v, %v, want nothing", done, err)
	}
	s.w.me.wantText("box", "x").release()
	_ = f
}
