package mailbox

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// served calls from far, lets near take the request, and returns the call and the message.
func served(w *world, near, far *party, text string) (<-chan answer, message) {
	w.t.Helper()
	done := far.call("box", text)
	m := near.wantText("box", text)
	if !m.Call || m.From != far.id {
		w.t.Errorf("a call from %v: call %v, from %v", far.id, m.Call, m.From)
	}
	return done, m
}

// wantReply waits for a call's end and fails the test unless it is this reply.
func wantReply(t *testing.T, done <-chan answer, text string) {
	t.Helper()
	a := soon(t, "the caller is answered", done)
	if a.Fault != nil || string(a.Data) != text {
		t.Fatalf("the caller got %.60q, %v, want %.60q", a.Data, a.err(), text)
	}
}

// wantFailure waits for a call's end and fails the test unless it is this error and says that.
func wantFailure(t *testing.T, done <-chan answer, target error, text string) {
	t.Helper()
	err := soon(t, "the caller is told", done).err()
	want(t, "the call", err, target)
	if !strings.Contains(err.Error(), text) {
		t.Errorf("the caller is told %q, want %q in it", err, text)
	}
}

func TestCall(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		for _, reply := range []string{"", "short", strings.Repeat("larger than the request ", 100), strings.Repeat("x", 40_000), strings.Repeat("y", 70_000)} {
			done, m := served(w, near, far, "request")
			m.reply(reply)
			wantReply(t, done, reply)
		}
		done, m := served(w, near, near, "from the same process")
		m.reply("so")
		wantReply(t, done, "so")
	})
}

func TestCallOfOneMebibyteBothWays(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		for _, size := range []struct{ request, reply int }{{1 << 20, 1 << 20}, {1 << 20, 3}, {3, 1 << 20}, {65_000, 1<<20 - 1}} {
			done := far.later(command{Op: "call", Box: "box", Size: size.request, N: 1})
			m := near.receive("box")
			if !bytes.Equal(m.Data, pattern(size.request, 1)) {
				t.Errorf("a request of %d bytes was changed on its way", size.request)
			}
			m.must(command{Op: "reply", Size: size.reply, N: 2})
			if a := soon(t, "the caller is answered", done); a.Fault != nil || !bytes.Equal(a.Data, pattern(size.reply, 2)) {
				t.Errorf("a reply of %d bytes was changed on its way: %v", size.reply, a.err())
			}
		}
	})
}

// A reply that is too large is refused, and the call can still be answered.
func TestReplyTooLarge(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		done, m := served(w, near, far, "request")
		want(t, "a reply that is too large", m.try(command{Op: "reply", Size: 1<<20 + 1}), shm.ErrTooLarge)
		m.must(command{Op: "room", Size: 5000})
		m.must(command{Op: "room", Size: 90_000})
		m.must(command{Op: "room", Size: 100})
		m.must(command{Op: "fail", Reason: shm.Undecodable, Data: []byte("too large")})
		wantFailure(t, done, ErrIncompatible, "too large")
	})
}

// Each reason is an error that the caller can ask for, and the text comes with it, cut where the frame ends.
func TestCallFails(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		for _, c := range []struct {
			why  shm.Reason
			want error
		}{
			{shm.Crashed, ErrCrashed},
			{shm.WorkerDied, ErrWorkerDied},
			{shm.Stopped, ErrStopped},
			{shm.Expired, context.DeadlineExceeded},
			{shm.Unknown, shm.ErrNotFound},
			{shm.ValueLost, ErrValueLost},
			{shm.Undecodable, ErrIncompatible},
			{shm.NoMethod, ErrIncompatible},
			{shm.SystemEnded, ErrSystemEnded},
			{shm.Undeliverable, ErrMailboxFull},
			{shm.Corrupt, shm.ErrCorrupt},
			{shm.NoReason, shm.ErrCorrupt},
		} {
			done, m := served(w, near, far, "request")
			m.must(command{Op: "fail", Reason: c.why, Data: []byte("index out of range")})
			wantFailure(t, done, c.want, "index out of range")
		}
		done, m := served(w, near, far, "")
		m.must(command{Op: "fail", Reason: shm.Crashed, Data: bytes.Repeat([]byte("long "), 1000)})
		wantFailure(t, done, ErrCrashed, strings.Repeat("long ", 12))
		done, m = served(w, near, far, "")
		m.must(command{Op: "fail", Reason: shm.Crashed})
		wantFailure(t, done, ErrCrashed, "crashed")
	})
}

// A call that its caller gave up while it was queued is never seen by the receiver.
func TestCallAbandonedInQueue(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		box := w.create("box", 4)
		far.send("box", "before")
		want(t, "a call that nobody takes", far.try(command{Op: "call", Box: "box", Data: []byte("lost"), Wait: time.Millisecond}), errDeadline)
		far.send("box", "after")
		near.wantText("box", "before").release()
		near.wantText("box", "after").release()
		near.wantNothing("box")
		if n := box.rec[recAbandoned].Load(); n != 1 {
			t.Errorf("%d abandoned calls were counted, want 1", n)
		}
	})
}

// The reply to a call that was given up while it was handled reaches nobody, and its memory is free.
func TestCallAbandonedWhileHandled(t *testing.T) {
	for name, end := range map[string]command{
		"reply":        {Op: "reply", Data: []byte("late")},
		"large reply":  {Op: "reply", Size: 200_000, N: 1},
		"failure":      {Op: "fail", Reason: shm.Crashed, Data: []byte("late")},
		"defer":        {Op: "defer"},
		"return":       {Op: "return"},
		"second reply": {Op: "reply", Data: []byte("again")},
	} {
		t.Run(name, func(t *testing.T) {
			eachSide(t, func(t *testing.T, w *world, near, far *party) {
				w.create("box", 4)
				var m message
				far.callAndGiveUp("box", "request", func() { m = near.wantText("box", "request") })
				if end.Op == "return" { // a handler that was given up before
					m.must(command{Op: "lend", Reason: shm.Stopped})
					m.must(end)
					return
				}
				want(t, "the late end", m.try(end), ErrReplied)
				if name == "second reply" {
					want(t, "once more", m.try(end), ErrReplied)
				}
			})
		})
	}
}

// What is said about a call that was answered is refused, and does not change the answer that its caller reads.
func TestAnsweredTwice(t *testing.T) {
	for _, again := range []command{
		{Op: "reply", Data: []byte("second")},
		{Op: "reply", Size: 50_000},
		{Op: "fail", Reason: shm.Crashed, Data: []byte("second")},
		{Op: "defer"},
	} {
		t.Run(again.Op, func(t *testing.T) {
			eachSide(t, func(t *testing.T, w *world, near, far *party) {
				w.create("box", 4)
				m, err := newAgentOf(w, far).box("box")
				must(t, err)
				d, err := m.hub.Draft(100)
				must(t, err)
				d.fill([]byte("request"))
				got := make(chan Reply, 1)
				go func() {
					r, _ := m.Call(context.Background(), &d)
					got <- r
				}()
				msg := near.wantText("box", "request")
				msg.reply("first")
				var r Reply
				select {
				case r = <-got:
				case <-within(t).Done():
					t.Fatal("the caller is not answered")
				}
				want(t, "a second end", msg.try(again), ErrReplied)
				msg.must(command{Op: "lend", Reason: shm.Stopped})
				msg.must(command{Op: "return"})
				msg.must(command{Op: "release"})
				if b, err := r.Bytes(); err != nil || string(b) != "first" {
					t.Errorf("the caller reads %q, %v", b, err)
				}
				r.Release()
				r.Release()
				want(t, "after its memory was freed", msg.try(again), ErrReplied)
			})
		})
	}
}

// newAgentOf is the agent of a party in this process, or of one more if the party is another process.
func newAgentOf(w *world, p *party) *agent {
	w.t.Helper()
	if p.hub != nil {
		return newAgent(p.hub)
	}
	if p == w.me {
		return newAgent(w.hub)
	}
	id, err := w.seg.Grant("here")
	must(w.t, err)
	local := w.localParty(id)
	w.peers = append(w.peers, local)
	return newAgent(local.hub)
}

// A deferred call is answered by whoever bears its token, in any process, and only once.
func TestDeferredCall(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		for _, bearer := range []*party{near, far, w.peer()} {
			done, m := served(w, near, far, "request")
			token := m.token()
			claimed := message{bearer, bearer.ask(command{Op: "claim", Token: token})}
			if string(claimed.Data) != "request" {
				t.Errorf("the bearer reads %q", claimed.Data)
			}
			for _, p := range []*party{near, far} {
				want(t, "a second bearer", p.try(command{Op: "claim", Token: token}), ErrReplied)
			}
			want(t, "the first handler", m.try(command{Op: "reply", Data: []byte("mine")}), ErrReplied)
			claimed.must(command{Op: "reply", Size: 100_000, N: 3})
			wantReply(t, done, string(pattern(100_000, 3)))
			want(t, "a bearer after the end", bearer.try(command{Op: "claim", Token: token}), ErrReplied)
		}
		want(t, "a token that names no frame", near.try(command{Op: "claim", Token: Token{Frame: 1 << 30}}), shm.ErrCorrupt)
		want(t, "a token that names nothing", near.try(command{Op: "claim", Token: Token{Frame: 0, Generation: 1 << 30}}), ErrReplied)
	})
}

// A deferred call may be deferred again by its bearer.
func TestDeferredAgain(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		done, m := served(w, near, far, "request")
		first := message{far, far.ask(command{Op: "claim", Token: m.token()})}
		second := message{near, near.ask(command{Op: "claim", Token: first.token()})}
		second.must(command{Op: "fail", Reason: shm.Crashed, Data: []byte("no")})
		wantFailure(t, done, ErrCrashed, "no")
	})
}

// Who gives up a deferred call frees it at once; the token is worth nothing any more.
func TestDeferredCallGivenUp(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		w.create("box", 4)
		var token Token
		far.callAndGiveUp("box", "request", func() { token = near.wantText("box", "request").token() })
		want(t, "a bearer", near.try(command{Op: "claim", Token: token}), ErrReplied)
		// Its frame is soon another's: the token does not name that.
		for range 3 {
			far.send("box", "another")
		}
		want(t, "a bearer later", near.try(command{Op: "claim", Token: token}), ErrReplied)
		for range 3 {
			near.wantText("box", "another").release()
		}
	})
}

// A handler that is given up: its caller is told why at once, whatever the handler does when it comes back.
func TestLend(t *testing.T) {
	for name, ends := range map[string][]command{
		"return":      {{Op: "return"}},
		"return both": {{Op: "return"}, {Op: "return"}},
		"release":     {{Op: "release"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachSide(t, func(t *testing.T, w *world, near, far *party) {
				w.create("box", 4)
				for _, parked := range []bool{true, false} {
					done, m := served(w, near, far, "request")
					if parked {
						waitParked(t, m)
					}
					m.must(command{Op: "lend", Reason: shm.Stopped})
					wantFailure(t, done, ErrStopped, "")
					for _, o := range ends {
						m.must(o)
					}
				}
			})
		})
	}
}

// Every other end of a message that was lent is refused, and returns it.
func TestEndOfLent(t *testing.T) {
	for name, end := range map[string]command{
		"reply": {Op: "reply", Data: []byte("late")}, "large reply": {Op: "reply", Size: 100_000}, "fail": {Op: "fail", Reason: shm.Crashed},
	} {
		t.Run(name, func(t *testing.T) {
			eachSide(t, func(t *testing.T, w *world, near, far *party) {
				w.create("box", 4)
				done, m := served(w, near, far, "request")
				m.must(command{Op: "lend", Reason: shm.Stopped})
				want(t, "the late end", m.try(end), ErrReplied)
				wantFailure(t, done, ErrStopped, "")
			})
		})
	}
}

// The goroutine comes back before its caller has looked: then the frame itself says why.
func TestLentAndReturnedBeforeTheCallerLooks(t *testing.T) {
	w := newWorld(t, onHeap, smallOptions())
	m := w.create("box", 4)
	d, err := w.hub.Draft(10)
	must(t, err)
	m.address(&d)
	must(t, m.publish(&d, shm.IsCall))
	r := m.Receiver()
	msg, ok := r.TryReceive()
	if !ok {
		t.Fatal("no message")
	}
	msg.Lend(shm.Stopped)
	msg.Return()
	if o := d.Frame.Owner(); o.State() != shm.Failed || o.Reason() != shm.Stopped || o.Holder() != w.hub.Self() {
		t.Errorf("the frame is %v", o)
	}
	_, err = w.hub.await(within(t), d.Frame, w.hub.calls.get(), false)
	want(t, "the call", err, ErrStopped)
}

// waitParked waits until the caller of a message sleeps.
func waitParked(t *testing.T, m message) {
	t.Helper()
	testkit.Eventually(t, limit, "the caller is parked", func() bool {
		return shm.Owner(m.p.ask(command{Op: "look", Msg: m.Msg}).Bits).Has(shm.Waiting)
	})
}

// A one-way message that is lent is settled: whatever comes back frees it.
func TestLendOneWay(t *testing.T) {
	for _, end := range []string{"return", "release", "bury"} {
		t.Run(end, func(t *testing.T) {
			eachSide(t, func(t *testing.T, w *world, near, far *party) {
				w.create("box", 4)
				far.send("box", "one way")
				m := near.receive("box")
				m.must(command{Op: "lend", Reason: shm.Stopped})
				m.must(command{Op: end, Reason: shm.Crashed})
				w.wantLetters(shm.Crashed)
			})
		})
	}
}

// A reply that was prepared and then not sent leaves nothing.
func TestRoomIsGivenBack(t *testing.T) {
	for name, end := range map[string]command{
		"release": {Op: "release"}, "bury": {Op: "bury", Reason: shm.Crashed}, "defer": {Op: "defer"}, "return": {Op: "return"},
		"fail": {Op: "fail", Reason: shm.Crashed}, "reply": {Op: "reply", Size: 60_000},
	} {
		t.Run(name, func(t *testing.T) {
			eachSide(t, func(t *testing.T, w *world, near, far *party) {
				w.create("box", 4)
				var done <-chan answer
				if name == "release" || name == "bury" {
					far.send("box", "request")
				} else {
					done = far.call("box", "request")
				}
				m := near.receive("box")
				m.must(command{Op: "room", Size: 50_000})
				if name == "return" {
					m.must(command{Op: "lend", Reason: shm.Stopped})
				}
				m.must(end)
				if name == "defer" {
					message{near, near.ask(command{Op: "claim", Token: m.Token})}.reply("later")
				}
				if done != nil {
					soon(t, "the call ends", done)
				}
			})
		})
	}
}

// A call waits for room as a send does, and for an answer afterwards.
func TestCallWaitsForRoom(t *testing.T) {
	eachSide(t, func(t *testing.T, w *world, near, far *party) {
		box := w.create("box", 2)
		far.send("box", "a")
		far.send("box", "b")
		done := far.call("box", "request")
		testkit.Eventually(t, limit, "the caller waits for room", func() bool { return box.rec[recRoom].Load() != 0 })
		near.wantText("box", "a").release()
		near.wantText("box", "b").release()
		near.wantText("box", "request").reply("so")
		wantReply(t, done, "so")
		far.send("box", "a")
		far.send("box", "b")
		want(t, "a call that finds no room", far.try(command{Op: "call", Box: "box", Wait: time.Millisecond}), errDeadline)
		near.wantText("box", "a").release()
		near.wantText("box", "b").release()
		near.wantNothing("box")
	})
}
