package mailbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shmactor/shmactor/shm"
)

// A closer may be cut off, and who begins again settles what was in hand.
func TestRecoverHalfClosedInHand(t *testing.T) {
	for name, step := range map[string]func(m *Mailbox, w handWord){
		"closed": func(*Mailbox, handWord) {},
		"taken":  func(m *Mailbox, w handWord) { m.takeInHand(w) },
		"settled": func(m *Mailbox, w handWord) {
			held, f := m.takeInHand(w)
			m.reject(held, f, w, shm.Stopped)
		},
		"taken, the word is cleared": func(m *Mailbox, w handWord) { m.takeInHand(w); m.rec[recHand].Store(0) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeft(t)
			m, err := l.hub.Create("closing", 8, 0)
			must(t, err)
			must(t, m.TrySendBytes([]byte("x")))
			m.Receiver().beginOne(t)
			f, err := l.seg.FrameAt(handWord(m.rec[recHand].Load()).frame())
			must(t, err)
			f.Set(f.Owner().To(l.hub.self, shm.Queued)) // as a sweep leaves it
			m.rec[recState].Store(uint64(makeState(m.incarnation, 0, stateClosed)))
			step(m, handWord(m.rec[recHand].Load()))
			l.next()
			letters := l.recovered()
			if n := len(texts(t, letters)); n != 1 && name != "settled" {
				t.Errorf("%d dead letters, want one", n)
			}
			again, err := l.hub.Create("closing", 8, 0)
			must(t, err)
			must(t, again.TrySendBytes([]byte("y")))
			wantTexts(t, "used again", again.Receiver(), "y")
			l.end(again)
		})
	}
}

// beginOne receives one message with redelivery and begins its handler.
func (r *Receiver) beginOne(t *testing.T) *Message {
	t.Helper()
	r.Redeliver(most)
	m, ok := r.TryReceive()
	if !ok || !r.Begin(&m) {
		t.Fatalf("received %v, begun %v", ok, r.Begin(&m))
	}
	return &m
}

// A file keeps what was in hand when the program died, and how often it was begun.
func TestRecoverInHand(t *testing.T) {
	l := newLeft(t)
	m, err := l.hub.Create("box", 8, 0)
	must(t, err)
	must(t, m.TrySendBytes([]byte("x")))
	must(t, m.TrySendBytes([]byte("y")))
	r := m.Receiver()
	for n := range most {
		if got := r.beginOne(t); int(got.Header.Attempts) != n+1 {
			t.Errorf("attempt %d, want %d", got.Header.Attempts, n+1)
		}
		l.next()
		letters := l.recovered()
		box, err := l.hub.Create("box", 8, 0)
		must(t, err)
		r = box.Receiver()
		if n == most-1 {
			wantTexts(t, "dead letters", letters, "x")
			wantTexts(t, "the next", r, "y")
			l.end(box)
		} else {
			wantTexts(t, "dead letters", letters)
			letters.Close()
		}
	}
}

// killedInHand has a new process receive a message, begin its handler so many times, and die.
func (w *world) killedInHand(text string, attempts int, begin bool) {
	w.t.Helper()
	p := w.peer()
	m := message{p, p.ask(command{Op: "receive", Box: "box", Wait: limit, Most: most})}
	if string(m.Data) != text || m.N != attempts {
		w.t.Errorf("received %q, begun %d times before, want %q and %d", m.Data, m.N, text, attempts)
	}
	if begin {
		if a := p.ask(command{Op: "begin", Box: "box", Msg: m.Msg}); a.N != 1 {
			w.t.Errorf("it may not begin: %+v", a)
		}
	}
	p.kill()
	w.sweep(p, text0)
}

// text0 is what the owner says about these deaths.
const text0 = "killed with a message in hand"

// A process is killed before the handler began, then in the handler, as often as is allowed: what was in hand comes first, and
// does not block what is behind it for ever.
func TestKilledInHand(t *testing.T) {
	w := newWorld(t, asProcess, smallOptions())
	w.withLetters(64)
	box := w.create("box", 16)
	w.me.send("box", "poison")
	w.me.send("box", "behind")
	w.killedInHand("poison", 0, false)
	for n := range most {
		w.wantLetters(shm.Exhausted)
		w.killedInHand("poison", n, true)
	}
	m, ok := w.letters.TryReceive()
	if b, err := m.Bytes(); !ok || string(b) != "poison" || m.Header.Reason != shm.Exhausted || m.Header.Attempts != most {
		t.Errorf("the dead letter %v: %q, %v, %+v", ok, b, err, m.Header)
	}
	m.Release()
	done := w.me.call("box", "call")
	waitDepth(t, box, 2)
	w.killedInHand("behind", 0, true)
	p := w.peer()
	got := message{p, p.ask(command{Op: "receive", Box: "box", Wait: limit, Most: most})}
	if string(got.Data) != "behind" || got.N != 1 {
		t.Errorf("received %q, begun %d times", got.Data, got.N)
	}
	got.release()
	p.kill()
	w.sweep(p, text0)
	for n := range most - 1 {
		w.killedInHand("call", n, true)
	}
	if len(done) > 0 {
		t.Errorf("the caller is told too early: %v", (<-done).err())
	}
	w.killedInHand("call", most-1, true)
	err := soon(t, "the caller is told", done).err()
	if want(t, "the caller", err, ErrWorkerDied); !strings.Contains(err.Error(), text0) {
		t.Errorf("told %v", err)
	}
	w.me.wantNothing("box")
}

// The second life answers a call whose first was killed, with a large reply, to a caller of another process.
func TestKilledInHandReply(t *testing.T) {
	for _, size := range []int{0, 1, large} {
		w := newWorld(t, asProcess, smallOptions())
		w.withLetters(64)
		w.create("box", 16)
		caller := w.peer()
		done := caller.call("box", "request")
		w.killedInHand("request", 0, true)
		p := w.peer()
		m := message{p, p.ask(command{Op: "receive", Box: "box", Wait: limit, Most: most})}
		p.ask(command{Op: "begin", Box: "box", Msg: m.Msg})
		m.must(command{Op: "reply", Data: pattern(size, 1)})
		a := soon(t, "the reply", done)
		if err := a.err(); err != nil || !slices.Equal(a.Data, pattern(size, 1)) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// each life of a process that goes on: put back, received first by the next receiver, until the attempts are used up.
func TestPutBack(t *testing.T) {
	each(t, func(t *testing.T, w *world, peer *party) {
		w.create("box", 16)
		receive := func() message {
			peer.ask(command{Op: "retire", Box: "box"})
			return message{peer, peer.ask(command{Op: "receive", Box: "box", Wait: limit, Most: most})}
		}
		w.me.send("box", "poison")
		done := w.me.call("box", "call")
		waitDepth(t, w.boxes["box"], 2)
		for n := range most {
			m := receive()
			if string(m.Data) != "poison" || m.N != n {
				t.Fatalf("received %q, begun %d times, want %d", m.Data, m.N, n)
			}
			peer.ask(command{Op: "begin", Box: "box", Msg: m.Msg})
			if err := m.try(command{Op: "putback"}); (err == nil) != (n < most-1) {
				t.Fatalf("attempt %d: putting back: %v", n+1, err)
			} else if err != nil {
				m.must(command{Op: "bury", Reason: shm.Crashed})
			}
			if _, err := Check(w.seg); err != nil {
				t.Errorf("attempt %d: %v", n+1, err)
			}
		}
		w.wantLetters(shm.Exhausted, "poison")
		m := receive()
		peer.ask(command{Op: "begin", Box: "box", Msg: m.Msg})
		m.must(command{Op: "putback"})
		m = receive()
		if string(m.Data) != "call" || m.N != 1 {
			t.Fatalf("received %q, begun %d times", m.Data, m.N)
		}
		m.reply("ok")
		wantReply(t, done, "ok")
		// A caller may give up while its message waits for the next life.
		w.me.callAndGiveUp("box", "given up", func() {
			m = receive()
			m.must(command{Op: "putback"})
		})
		w.me.send("box", "next")
		if m = receive(); string(m.Data) != "next" {
			t.Fatalf("received %q", m.Data)
		}
		m.release()
		// One that is put back after that is freed.
		w.me.callAndGiveUp("box", "given up", func() { m = receive() })
		m.must(command{Op: "putback"})
		if hand := w.boxes["box"].rec[recHand].Load(); hand != 0 {
			t.Errorf("in hand: %x", hand)
		}
	})
}

// redelivering is a mailbox of the owner with one call in hand, whose handler was begun.
func redelivering(t *testing.T, w *world) (r *Receiver, m *Message, done <-chan answer) {
	t.Helper()
	box := w.create("box", 16)
	done = w.me.call("box", "request")
	waitDepth(t, box, 1)
	r = box.Receiver()
	return r, r.beginOne(t), done
}

// The request stays whole until the end: small replies and texts lie elsewhere.
func TestRequestStaysWhole(t *testing.T) {
	for name, end := range map[string]func(m *Message) error{
		"reply":       func(m *Message) error { return m.Reply([]byte("short")) },
		"empty reply": func(m *Message) error { return m.Reply(nil) },
		"text":        func(m *Message) error { return m.Fail(shm.Crashed, "why") },
		"no text":     func(m *Message) error { return m.Fail(shm.Crashed, "") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, onHeap, smallOptions())
			_, m, done := redelivering(t, w)
			before := m.Frame.Header()
			f := m.Frame
			must(t, end(m))
			if now := f.Header(); f.Generation() == f.Owner().Generation() && now != before {
				t.Errorf("the header is %+v, was %+v", now, before)
			}
			if got := string(f.Payload()[:7]); got != "request" {
				t.Errorf("the request is %q", got)
			}
			soon(t, "the end", done)
			if hand := w.boxes["box"].rec[recHand].Load(); hand != 0 {
				t.Errorf("in hand: %x", hand)
			}
		})
	}
}

// With no memory for a second frame redelivery is given up before the request is.
func TestRequestOverwritten(t *testing.T) {
	w := newWorld(t, onHeap, shm.Options{Processes: 2, Mailboxes: 4, RingBytes: 64 << 10, MessageBytes: 1 << 20, MaxMessage: 1 << 19})
	_, m, done := redelivering(t, w)
	var all []Draft
	for size := m.Largest(); size > 0; {
		d, err := w.hub.Draft(size)
		if err == nil {
			all = append(all, d)
			continue
		}
		want(t, "another draft", err, shm.ErrNoSpace)
		size /= 2
	}
	if _, err := m.Room(1); !errors.Is(err, shm.ErrNoSpace) {
		t.Errorf("room: %v", err)
	}
	if got := string(m.Frame.Payload()[:7]); got != "request" {
		t.Errorf("the request is %q", got)
	}
	must(t, m.Fail(shm.Crashed, "why"))
	err := soon(t, "the end", done).err()
	if want(t, "the caller", err, ErrCrashed); !strings.Contains(err.Error(), "why") {
		t.Errorf("told %v", err)
	}
	for i := range all {
		w.hub.Discard(&all[i])
	}
}

// A message whose request was given up is not put back: nobody would find it.
func TestPutBackOverwritten(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	_, m, done := redelivering(t, w)
	m.Overwrite()
	if m.PutBack() {
		t.Error("it was put back")
	} else {
		must(t, m.Fail(shm.Crashed, "why"))
	}
	want(t, "the caller", soon(t, "the end", done).err(), ErrCrashed)
}

// Who ends a message in another way lets go of it, and only of it.
func TestLetGo(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(t *testing.T, m *Message) (after func())
		told error
	}{
		"deferred": {func(t *testing.T, m *Message) func() {
			must(t, m.Defer())
			return func() {
				c, err := m.hub.Claim(m.Token())
				must(t, err)
				must(t, c.Reply([]byte("late")))
			}
		}, nil},
		"lent": {func(t *testing.T, m *Message) func() {
			m.Lend(shm.Stopped)
			return m.Return
		}, ErrStopped},
		"replied": {func(t *testing.T, m *Message) func() {
			must(t, m.Reply(nil))
			return func() { want(t, "a second end", m.Reply(nil), ErrReplied) }
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, onHeap, smallOptions())
			r, m, done := redelivering(t, w)
			if n := Inspect(w.seg).Mailboxes[0].Attempts; n != 1 {
				t.Errorf("seen from outside: %d attempts", n)
			}
			after := end.do(t, m)
			if hand := r.rec[recHand].Load(); hand != 0 {
				t.Errorf("in hand: %x", hand)
			}
			must(t, r.TrySendBytes([]byte("next")))
			r.Close()
			r = r.Mailbox.Receiver()
			next := r.beginOne(t)
			hand := r.rec[recHand].Load()
			after()
			if now := r.rec[recHand].Load(); now != hand || hand == 0 {
				t.Errorf("in hand: %x, was %x", now, hand)
			}
			if err := soon(t, "the end", done).err(); !errors.Is(err, end.told) {
				t.Errorf("told %v", err)
			}
			next.Release()
			if n := Inspect(w.seg).Mailboxes[0].Attempts; n != 0 {
				t.Errorf("seen from outside: %d attempts", n)
			}
		})
	}
}

// A receiver without redelivery writes no word, and takes what another left.
func TestWithoutRedelivery(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	w.withLetters(16)
	box := w.create("box", 4)
	must(t, box.TrySendBytes([]byte("x")))
	r := box.Receiver()
	m, ok := r.TryReceive()
	if !ok || !r.Begin(&m) || m.PutBack() || r.rec[recHand].Load() != 0 {
		t.Errorf("received %v, in hand %x", ok, r.rec[recHand].Load())
	}
	m.Release()
	must(t, box.TrySendBytes([]byte("y")))
	if !box.Receiver().beginOne(t).PutBack() {
		t.Error("it is not put back")
	}
	r = box.Receiver()
	m, _, err := r.Receive(context.Background())
	if b, _ := m.Bytes(); err != nil || string(b) != "y" || m.Header.Attempts != 1 {
		t.Errorf("received %q, %v, begun %d times", b, err, m.Header.Attempts)
	}
	if r.Begin(&m) {
		t.Error("it is begun again")
	}
	m.Bury(shm.Exhausted, nil)
	w.wantLetters(shm.Exhausted, "y")
}

// A word that makes no sense, or not any more, names nothing.
func TestHandOfNonsense(t *testing.T) {
	for name, word := range map[string]func(f shm.Frame) handWord{
		"no frame": func(shm.Frame) handWord { return 1<<64 - 1 },
		"not set":  func(shm.Frame) handWord { return 1<<64 - 1 - handSet },
		"a draft":  func(f shm.Frame) handWord { return makeHand(f, 1, most) },
		"another generation": func(f shm.Frame) handWord {
			f.Set(f.Word(f.Owner().Holder(), shm.Taken))
			return makeHand(f, 1, most) + 1<<32
		},
		"another mailbox's": func(f shm.Frame) handWord {
			f.SetTo(1, 1)
			f.Set(f.Word(f.Owner().Holder(), shm.Taken))
			return makeHand(f, 1, most)
		},
		"another incarnation": func(f shm.Frame) handWord {
			f.SetTo(0, 7)
			f.Set(f.Word(f.Owner().Holder(), shm.Taken))
			return makeHand(f, 1, most)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, onHeap, smallOptions())
			box := w.create("box", 4)
			d, err := w.hub.Draft(1)
			must(t, err)
			d.Frame.SetTo(box.index, box.incarnation)
			box.rec[recHand].Store(uint64(word(d.Frame)))
			if _, err := Check(w.seg); err != nil {
				t.Errorf("the check finds %v", err)
			}
			if n := Inspect(w.seg).Mailboxes[0].Attempts; n != 0 {
				t.Errorf("seen from outside: %d attempts", n)
			}
			d.Frame.Set(d.Frame.Word(w.hub.self, shm.Held))
			w.hub.Discard(&d)
			must(t, box.TrySendBytes([]byte("x")))
			wantTexts(t, "what is queued", box.Receiver(), "x")
			if now := box.rec[recHand].Load(); now != 0 {
				t.Errorf("in hand: %x", now)
			}
		})
	}
}

// What cannot be in hand is found.
func TestCheckFindsHands(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	box := w.create("box", 4)
	must(t, box.TrySendBytes([]byte("x")))
	m := box.Receiver().beginOne(t)
	wrong := func(says string) {
		t.Helper()
		if _, err := Check(w.seg); !errors.Is(err, shm.ErrCorrupt) || !strings.Contains(err.Error(), says) {
			t.Errorf("the check finds %v, want %q", err, says)
		}
	}
	box.rec[recHand].Store(uint64(makeHand(m.Frame, 0, 0)))
	wrong("last attempt of none")
	box.rec[recHand].Store(uint64(m.hand))
	box.rec[recState].Store(uint64(makeState(box.incarnation, 0, stateClosed)))
	wrong("is closed and has frame")
	box.rec[recState].Store(uint64(makeState(box.incarnation, 0, stateOpen)))
	if !m.PutBack() {
		t.Fatal("it is not put back")
	}
	if _, err := Check(w.seg); err != nil {
		t.Errorf("the check finds %v", err)
	}
	box.rec[recHand].Store(0)
	wrong("in no ring")
	box.rec[recHand].Store(uint64(m.hand))
	wantTexts(t, "put back", box.Receiver(), "x")
}
