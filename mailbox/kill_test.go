package mailbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// withVictim runs a test with a process that is to be killed and one that goes on.
func withVictim(t *testing.T, f func(t *testing.T, w *world, victim, other *party)) {
	t.Helper()
	w := newWorld(t, asProcess, smallOptions())
	w.withLetters(64)
	f(t, w, w.peer(), w.peer())
}

// text is what the owner says about a death.
const text = "signal: killed (the owner saw it)"

// wantSwept fails the test unless the sweep did so much, and a second one finds nothing more to do.
func (w *world) wantSwept(p *party, want Swept) {
	w.t.Helper()
	got := w.sweep(p, text)
	if want.Freed < 0 { // its cache is not known
		want.Freed = got.Freed
	}
	if got != want {
		w.t.Errorf("the sweep did %+v, want %+v", got, want)
	}
	if w.seg.Alive(p.id) {
		w.t.Error("the dead process is alive")
	}
	if _, err := Check(w.seg); err != nil {
		w.t.Errorf("after the sweep: %v", err)
	}
}

// A process dies with frames that nobody else knows of.
func TestKilledWithDrafts(t *testing.T) {
	withVictim(t, func(t *testing.T, w *world, victim, other *party) {
		for _, size := range []int{1, 1000, 60_000, 300_000} {
			victim.ask(command{Op: "draft", Size: size, N: 2})
		}
		victim.kill()
		w.wantSwept(victim, Swept{Freed: 8})
		w.wantWhole()
	})
}

// What a process sent before it died is received, in order; its calls are not run any more.
func TestKilledAfterSending(t *testing.T) {
	withVictim(t, func(t *testing.T, w *world, victim, other *party) {
		box := w.create("box", 16)
		victim.send("box", "one")
		for i := range 3 {
			victim.call("box", fmt.Sprint("call ", i))
			waitDepth(t, box, uint64(2+i))
		}
		victim.send("box", "two")
		victim.send("box", strings.Repeat("large", 20_000))
		other.send("box", "three")
		done := other.call("box", "four")
		waitDepth(t, box, 8)
		victim.kill()
		w.wantSwept(victim, Swept{Skipped: 3, Freed: -1})
		for _, want := range []string{"one", "two", strings.Repeat("large", 20_000), "three"} {
			w.me.wantText("box", want).release()
		}
		w.me.wantText("box", "four").reply("ok")
		wantReply(t, done, "ok")
		w.me.wantNothing("box")
		w.wantLetters(shm.WorkerDied)
	})
}

// The callers of a process that died are told at once, with the owner's words; its one-way messages are dead letters; what is
// queued waits for the next life.
func TestKilledWhileHandling(t *testing.T) {
	withVictim(t, func(t *testing.T, w *world, victim, other *party) {
		w.create("box", 16)
		calls := map[string]<-chan answer{}
		for _, p := range []*party{w.me, other} {
			for _, how := range []string{"parked", "with room for a reply", "with a large room"} {
				done, m := served(w, victim, p, how)
				calls[fmt.Sprint(p.id, how)] = done
				switch how {
				case "parked":
					waitParked(t, m)
				case "with room for a reply":
					m.must(command{Op: "room", Size: 10})
				default:
					m.must(command{Op: "room", Size: 200_000})
				}
			}
		}
		other.send("box", "in hand")
		victim.wantText("box", "in hand")
		other.send("box", "next")
		later := other.call("box", "call in the queue")
		victim.kill()
		w.wantSwept(victim, Swept{Failed: 6, Buried: 1, Freed: -1})
		for how, done := range calls {
			err := soon(t, how, done).err()
			want(t, how, err, ErrWorkerDied)
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: told %q", how, err)
			}
		}
		w.wantLetters(shm.WorkerDied, "in hand")
		other.wantText("box", "next").release()
		other.wantText("box", "call in the queue").reply("ok")
		wantReply(t, later, "ok")
	})
}

// A call that was given up while its handler's process died is nobody's.
func TestKilledWhileHandlingAbandoned(t *testing.T) {
	withVictim(t, func(t *testing.T, w *world, victim, other *party) {
		w.create("box", 4)
		other.callAndGiveUp("box", "x", func() { victim.wantText("box", "x") })
		victim.kill()
		w.wantSwept(victim, Swept{Freed: 1})
	})
}

// A deferred call fails when the process dies that has to see to its answer: the one that deferred it, or the bearer that
// claimed it.
func TestKilledWithDeferred(t *testing.T) {
	for name, claimedBy := range map[string]string{"not claimed": "", "claimed by another": "other", "claimed here": "victim"} {
		t.Run(name, func(t *testing.T) {
			withVictim(t, func(t *testing.T, w *world, victim, other *party) {
				w.create("box", 4)
				handler, bearer := victim, victim
				if claimedBy == "victim" {
					handler = other // deferred by one that goes on, claimed by the victim
				} else if claimedBy == "other" {
					bearer = other
				}
				done, m := served(w, handler, w.me, "request")
				waitParked(t, m)
				token := m.token()
				var claimed message
				if claimedBy != "" {
					claimed = message{bearer, bearer.ask(command{Op: "claim", Token: token})}
				}
				victim.kill()
				if claimedBy == "other" {
					w.wantSwept(victim, Swept{Freed: -1})
					claimed.reply("in spite of it")
					wantReply(t, done, "in spite of it")
					return
				}
				w.wantSwept(victim, Swept{Failed: 1, Freed: -1})
				wantFailure(t, done, ErrWorkerDied, text)
				want(t, "a late bearer", other.try(command{Op: "claim", Token: token}), ErrReplied)
			})
		})
	}
}

// A reply stands when its sender dies right after.
func TestKilledAfterReplying(t *testing.T) {
	withVictim(t, func(t *testing.T, w *world, victim, other *party) {
		w.create("box", 4)
		done, m := served(w, victim, other, "request")
		m.must(command{Op: "reply", Size: 100_000, N: 1})
		victim.kill()
		if a := soon(t, "the caller has its reply", done); a.Fault != nil || !slices.Equal(a.Data, pattern(100_000, 1)) {
			t.Errorf("the caller got %d bytes, %v", len(a.Data), a.err())
		}
		w.wantSwept(victim, Swept{Freed: -1})
	})
}

// A caller dies: with its call in the queue, while it is handled, deferred or lent, and with a reply in its hands.
func TestCallerIsKilled(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, w *world, box *Mailbox, victim, other *party) func()
		want      Swept
	}{
		"queued": {func(t *testing.T, w *world, box *Mailbox, victim, other *party) func() {
			victim.call("box", "request")
			waitDepth(t, box, 1)
			return func() { other.wantNothing("box") }
		}, Swept{Skipped: 1, Freed: -1}},
		"handled": {func(t *testing.T, w *world, box *Mailbox, victim, other *party) func() {
			_, m := served(w, other, victim, "request")
			return func() { want(t, "a reply to a dead caller", m.try(command{Op: "reply", Size: 100_000}), ErrReplied) }
		}, Swept{Freed: -1}},
		"handled, and its handler fails": {func(t *testing.T, w *world, box *Mailbox, victim, other *party) func() {
			_, m := served(w, other, victim, "request")
			return func() {
				want(t, "a failure for a dead caller", m.try(command{Op: "fail", Reason: shm.Crashed}), ErrReplied)
			}
		}, Swept{Freed: -1}},
		"handled, and deferred later": {func(t *testing.T, w *world, box *Mailbox, victim, other *party) func() {
			_, m := served(w, other, victim, "request")
			return func() { want(t, "deferring the call of a dead caller", m.try(command{Op: "defer"}), ErrReplied) }
		}, Swept{Freed: -1}},
		"deferred": {func(t *testing.T, w *world, box *Mailbox, victim, other *party) func() {
			_, m := served(w, other, victim, "request")
			token := m.token()
			return func() {
				want(t, "claiming the call of a dead caller", other.try(command{Op: "claim", Token: token}), ErrReplied)
			}
		}, Swept{Freed: 1}},
		"claimed": {func(t *testing.T, w *world, box *Mailbox, victim, other *party) func() {
			_, m := served(w, other, victim, "request")
			claimed := message{w.me, w.me.ask(command{Op: "claim", Token: m.token()})}
			return func() { want(t, "answering a dead caller", claimed.try(command{Op: "reply"}), ErrReplied) }
		}, Swept{Freed: -1}},
		"lent": {func(t *testing.T, w *world, box *Mailbox, victim, other *party) func() {
			_, m := served(w, other, victim, "request")
			m.must(command{Op: "lend", Reason: shm.Stopped})
			return func() { m.must(command{Op: "return"}) }
		}, Swept{Freed: -1}},
		"replied": {func(t *testing.T, w *world, box *Mailbox, victim, other *party) func() {
			for range 3 {
				done := victim.later(command{Op: "keep", Box: "box", Data: []byte("request")})
				other.wantText("box", "request").must(command{Op: "reply", Size: 70_000})
				soon(t, "it has the reply", done)
			}
			return func() {}
		}, Swept{Freed: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			withVictim(t, func(t *testing.T, w *world, victim, other *party) {
				then := c.meanwhile(t, w, w.create("box", 4), victim, other)
				victim.kill()
				w.wantSwept(victim, c.want)
				then()
				w.wantLetters(shm.WorkerDied)
			})
		})
	}
}

// A sender dies while it waits for room, and a receiver while it sleeps: those who wait for them are woken by the sweep.
func TestKilledWhileWaiting(t *testing.T) {
	withVictim(t, func(t *testing.T, w *world, victim, other *party) {
		box := w.create("box", 2)
		got := victim.later(command{Op: "receive", Box: "box"})
		testkit.Eventually(t, limit, "the receiver is parked", func() bool { return consumerWord(box.rec[recConsumer].Load()).parked() })
		victim.kill()
		if a := soon(t, "it is gone", got); a.Fault == nil {
			t.Error("a dead receiver received")
		}
		other.send("box", "a")
		other.send("box", "b")
		waiting := other.later(command{Op: "send", Box: "box", Data: []byte("c")})
		testkit.Eventually(t, limit, "the sender waits for room", func() bool { return box.rec[recRoom].Load() != 0 })
		w.sweep(victim, text) // the sender looks again: the segment is not quiet
		for _, text := range []string{"a", "b", "c"} {
			w.me.wantText("box", text).release()
		}
		if err := soon(t, "the sender is woken", waiting).err(); err != nil {
			t.Error(err)
		}
	})
}

// Two processes that had to do with each other die; the sweeps may come in any order, and after both deaths.
func TestTwoAreKilled(t *testing.T) {
	for _, first := range []string{"the caller", "the handler"} {
		t.Run(first+" is swept first", func(t *testing.T) {
			w := newWorld(t, asProcess, smallOptions())
			w.withLetters(64)
			caller, handler := w.peer(), w.peer()
			w.create("a", 8)
			w.create("b", 8)
			for range 2 {
				servedIn(w, "a", handler, caller)
				servedIn(w, "b", caller, handler)
			}
			_, m := servedIn(w, "a", handler, caller)
			m.must(command{Op: "defer"})
			_, m = servedIn(w, "b", caller, handler)
			m.must(command{Op: "lend", Reason: shm.Stopped})
			mine, _ := servedIn(w, "a", handler, w.me)
			caller.send("a", "left")
			caller.call("a", "left too")
			waitDepth(t, w.boxes["a"], 2)
			caller.kill()
			handler.kill()
			order := []*party{caller, handler}
			if first == "the handler" {
				order = []*party{handler, caller}
			}
			for _, p := range order {
				w.sweep(p, text)
			}
			wantFailure(t, mine, ErrWorkerDied, text)
			w.me.wantText("a", "left").release()
			w.me.wantNothing("a")
			w.wantLetters(shm.WorkerDied)
			w.wantWhole()
		})
	}
}

func servedIn(w *world, box string, near, far *party) (<-chan answer, message) {
	done := far.call(box, "request")
	return done, near.wantText(box, "request")
}

// An entry that was granted to a process that never came is swept like any other, and only the owner sweeps.
func TestSweepRefused(t *testing.T) {
	w := newWorld(t, onMapping, smallOptions())
	peer := w.peer()
	if _, err := peer.hub.Sweep(w.hub.Self(), ""); err == nil {
		t.Error("another than the owner swept")
	}
	_, err := w.hub.Sweep(shm.MakeProcessID(5, 9), "")
	want(t, "sweeping a process that never was", err, shm.ErrNotFound)
	id, err := w.seg.Grant("late")
	must(t, err)
	if _, err := w.hub.Sweep(id, ""); err != nil {
		t.Error(err)
	}
	_, err = w.hub.Sweep(id, "")
	want(t, "sweeping twice", err, shm.ErrNotFound)
}
