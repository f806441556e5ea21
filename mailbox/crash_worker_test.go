//go:build shmactor_points

package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/shmactor/shmactor/shm"
)

// What a process does that does not own the segment.

const (
	run2  = 70_000 // a message of two spans
	class = 60_000 // of the largest class: a frame is a span
)

var crashScenarios = sync.OnceValue(func() []*crashScenario {
	return slices.Concat(producers(), consumers(), observers(), crossings(), owners(), redeliveries(), turns(), []*crashScenario{callerOfPair, calleeOfPair})
})

// wasParked makes the survivor's receiver sleep before the actor begins.
func wasParked(handle func(m *Message, name string) bool) func(c *crash) {
	return func(c *crash) {
		c.serve(handle)
		c.poll("the receiver is parked", func() bool { return consumerWord(c.box.rec[recConsumer].Load()).parked() })
	}
}

func serves(c *crash) { c.serve(nil) }

// producers send and call; the survivor receives.
func producers() []*crashScenario {
	return slices.Concat(senders(), callers(), []*crashScenario{
		{
			name: "wait for a frame", produces: true, hoards: true,
			setup: func(c *crash) { c.takeAllFrames() },
			act: func(a *actor) {
				d, err := a.hub.DraftWait(a.ctx, class)
				a.must("draft", err)
				d.fill(sized("m1", 0))
				a.must("send", a.box.Send(a.ctx, &d))
				a.say("sent m1")
			},
			during: func(c *crash) {
				c.until("the actor waits for a frame", c.seg.Wanted)
				for i := range c.hoard {
					c.hub.Discard(&c.hoard[i])
				}
				c.hoard = nil
				c.serve(nil)
			},
		},
		{
			name: "free a frame that is waited for", produces: true, hoards: true,
			setup: func(c *crash) {
				c.takeAllFrames()
				for i := range c.hoard[:2] {
					c.hub.Discard(&c.hoard[i])
				}
				c.hoard = c.hoard[2:]
				c.hub.pool.Flush()
			},
			act: func(a *actor) {
				small := a.drafts(1, 10)
				a.discard(small)
				own := a.drafts(1, class)
				a.say("have")
				a.line()
				a.discard(own)
				a.hub.pool.Flush()
			},
			during: func(c *crash) {
				if _, ok := c.hear(); ok {
					done := make(chan struct{})
					c.tasks.Go(func() { // woken by the sweep, if the actor dies before it wakes it
						defer close(done)
						d, err := c.hub.DraftWait(c.ctx, class)
						if err != nil {
							c.errorf("draft: %v", err)
							return
						}
						c.hub.Discard(&d)
					})
					c.until("the survivor waits for a frame, or has what the actor had kept", func() bool {
						select {
						case <-done:
							return true
						default:
							return c.seg.Wanted()
						}
					})
					c.actor.tell("go")
				}
				c.awaitStop()
			},
			after: func(c *crash) {
				c.tasks.Wait()
				for i := range c.hoard {
					c.hub.Discard(&c.hoard[i])
				}
			},
		},
		{
			name: "frame cache", produces: true, hoards: true,
			act: func(a *actor) {
				a.discard(a.drafts(4, class)) // one is kept, the others are freed
				a.discard(a.drafts(3, 100))
				all := a.drafts(7, class)
				a.discard(all)
				a.discard(a.drafts(2, 30_000)) // for which others are given back, and spans are carved anew
				a.discard(a.drafts(1, run2))
				a.discard(a.drafts(1, 2*class))
				a.hub.pool.Flush()
				a.send("m1", 0)
			},
			during: serves,
		},
	})
}

func (c *crash) takeAllFrames() {
	for {
		d, err := c.hub.Draft(class)
		if errors.Is(err, shm.ErrNoSpace) {
			return
		}
		c.must("draft", err)
		c.hoard = append(c.hoard, d)
	}
}

func senders() []*crashScenario {
	return []*crashScenario{
		{
			name: "send", produces: true, setup: wasParked(nil),
			act: func(a *actor) { a.send("m1", 0); a.send("m2", 500); a.trySend("m3", 0) },
		},
		{
			name: "send and wait for room", produces: true, capacity: 2,
			setup: func(c *crash) { c.send("s1"); c.send("s2") },
			act:   func(a *actor) { a.trySend("m1", 0); a.send("m2", 0); a.send("m3", 0) },
			during: func(c *crash) {
				c.until("the actor waits for room", func() bool { return c.box.rec[recRoom].Load() != 0 })
				c.serve(nil)
			},
		},
		{
			name: "send much", produces: true, setup: wasParked(nil),
			act: func(a *actor) { a.send("m1", run2); a.send("m2", 2*run2); a.send("m3", class) },
		},
		{
			name: "send to a closed mailbox", produces: true,
			setup: func(c *crash) {
				other, err := c.hub.Create("other", 2, 0)
				c.must("create", err)
				c.later(func() { other.Close(shm.SystemEnded) })
				c.other = other
			},
			act: func(a *actor) {
				other, err := a.hub.Open("other")
				a.must("open", err)
				a.say("open")
				a.line()
				if err := other.TrySendBytes([]byte("x")); !errors.Is(err, ErrStopped) {
					a.say("wrong %v", err)
				}
				if _, err := other.CallBytes(a.ctx, []byte("x")); !errors.Is(err, ErrStopped) {
					a.say("wrong %v", err)
				}
				if err := other.Control(ControlPing); !errors.Is(err, ErrStopped) {
					a.say("wrong %v", err)
				}
			},
			during: func(c *crash) {
				if _, ok := c.hear(); ok {
					c.other.Close(shm.Stopped)
					c.actor.tell("go")
				}
				c.serve(nil)
			},
		},
		{
			name: "control", produces: true, setup: wasParked(nil),
			act: func(a *actor) { a.must("control", a.box.Control(ControlPing)); a.send("m1", 0) },
		},
		{
			name: "bury a draft", produces: true,
			act: func(a *actor) {
				for _, size := range []int{0, run2} {
					d := a.drafts(1, size)[0]
					d.fill(sized(fmt.Sprint("b", size), size))
					a.box.Bury(&d, shm.Undeliverable)
					a.say("buried b%d", size)
				}
			},
			during: serves,
		},
		{
			name: "bury when the dead letters are full", produces: true,
			setup: func(c *crash) {
				for i := range lettersCapacity {
					d, err := c.hub.Draft(10)
					c.must("draft", err)
					d.fill(sized(fmt.Sprint("full ", i), 0))
					c.box.Bury(&d, shm.Undeliverable)
				}
			},
			act: func(a *actor) {
				d := a.drafts(1, 0)[0]
				d.fill(sized("b", 0))
				a.box.Bury(&d, shm.Undeliverable)
			},
			during: serves,
		},
		{
			name: "waits for", produces: true,
			setup: func(c *crash) {
				other, err := c.hub.Create("other", 2, 0)
				c.must("create", err)
				c.later(func() { other.Close(shm.SystemEnded) })
				other.WaitFor(c.box, 0)
			},
			act: func(a *actor) {
				other, err := a.hub.Open("other")
				a.must("open", err)
				if !a.box.WaitFor(other, 0) {
					a.say("wrong a circle is not seen")
				}
				a.box.WaitFor(nil, 0)
			},
			during: serves,
		},
	}
}

func callers() []*crashScenario {
	all := []*crashScenario{
		{
			name: "call", produces: true, setup: wasParked(nil),
			act: func(a *actor) { a.call(a.ctx, "k1", 0); a.call(a.ctx, "k2", run2) },
		},
		{
			name: "call that waits", produces: true,
			act: func(a *actor) { a.call(a.ctx, "k1", 0) },
			during: func(c *crash) {
				c.until("the caller is parked", func() bool { return c.flagged(shm.Queued, shm.Waiting) })
				c.serve(nil)
			},
		},
		{
			name: "call that fails", produces: true,
			setup: wasParked(func(m *Message, name string) bool {
				switch name {
				case "k1":
					_ = m.Fail(shm.Crashed, "text")
				case "k2":
					_ = m.Fail(shm.Crashed, strings.Repeat("t", 3000))
				case "k3":
					m.Lend(shm.Stopped)
					m.Return()
				default:
					return false
				}
				return true
			}),
			act: func(a *actor) {
				for i, e := range []error{ErrCrashed, ErrCrashed, ErrStopped} {
					a.call(a.ctx, fmt.Sprint("k", i+1), 0, e)
				}
			},
		},
		{
			name: "call that is lent", produces: true,
			act: func(a *actor) { a.call(a.ctx, "k1", 0, ErrStopped); a.say("told") },
			during: func(c *crash) {
				c.serve(func(m *Message, name string) bool {
					if name != "k1" {
						return false
					}
					m.Lend(shm.Stopped)
					lent := *m
					c.later(lent.Return)
					return true
				})
				c.hear()
			},
		},
		{
			name: "answer a deferred call", produces: true,
			setup: func(c *crash) {
				token := make(chan Token, 1)
				c.token = token
				c.serve(func(m *Message, name string) bool {
					if name != "s1" {
						return false
					}
					if err := m.Defer(); err == nil {
						token <- m.Token()
					}
					return true
				})
				c.call("s1", 0)
			},
			ready: func(a *actor) { a.in.Peek(1) },
			act: func(a *actor) {
				var t Token
				_, err := fmt.Sscan(a.line(), &t.Frame, &t.Generation)
				a.must("token", err)
				if !a.hub.Due(t) {
					a.say("wrong it is not due")
				}
				m, err := a.hub.Claim(t)
				a.must("claim", err)
				a.must("reply", m.Reply(sized("s1", 2000)))
				if a.hub.Due(t) {
					a.say("wrong it is due")
				}
			},
			during: func(c *crash) {
				t := <-c.token
				c.actor.tell("%d %d", t.Frame, t.Generation)
				c.awaitStop()
				// If it was not claimed, it is the survivor's to answer.
				if m, err := c.hub.Claim(t); err == nil {
					c.must("reply", m.Reply(sized("s1", 0)))
				}
			},
		},
	}
	for _, where := range []string{"in the queue", "in hand", "deferred"} {
		all = append(all, givenUp(where))
	}
	return all
}

// givenUp is a call that its caller gives up while it is somewhere.
func givenUp(where string) *crashScenario {
	return &crashScenario{
		name: "call given up " + where, produces: true,
		act: func(a *actor) {
			ctx, cancel := context.WithCancel(a.ctx)
			go func() { a.line(); cancel() }()
			a.call(ctx, "k1", 0, context.Canceled)
			a.say("given up")
		},
		during: func(c *crash) {
			state := map[string]shm.State{"in the queue": shm.Queued, "in hand": shm.Taken, "deferred": shm.Deferred}[where]
			if where != "in the queue" {
				c.serve(func(m *Message, name string) bool {
					if name != "k1" {
						return false
					}
					if where == "deferred" {
						_ = m.Defer()
						return true
					}
					held := *m
					c.later(func() { _ = held.Reply(nil) })
					return true
				})
			}
			c.until("the caller is parked", func() bool { return c.flagged(state, shm.Waiting) })
			c.actor.tell("give up")
			c.hear()
			c.serve(nil)
		},
	}
}

// flagged reports whether there is a frame in that state with that flag.
func (c *crash) flagged(st shm.State, flag shm.Owner) (found bool) {
	c.seg.EachFrame(func(_ shm.Frame, w shm.Owner) { found = found || w.State() == st && w.Has(flag) })
	return found
}

// observers join, look and leave.
func observers() []*crashScenario {
	return []*crashScenario{
		{
			name: "enter and leave", produces: true, entering: true,
			act: func(a *actor) {
				a.seg.Info()
				a.send("m1", 0)
				a.hub.Close(nil)
				a.must("close", a.seg.Close())
			},
			during: serves,
		},
		{
			name: "look", produces: true, capacity: 4,
			setup: func(c *crash) {
				for i := range 3 {
					d, err := c.hub.Draft(10)
					c.must("draft", err)
					d.fill(sized(fmt.Sprint("s", i), 0))
					d.Header.Enqueued = 1
					c.must("send", c.box.TrySend(&d))
				}
				d, err := c.hub.Draft(run2)
				c.must("draft", err)
				c.hub.Discard(&d)
				c.hoard = c.hoard[:0]
				d, err = c.hub.Draft(run2)
				c.must("draft", err)
				c.hoard = append(c.hoard, d)
			},
			act: func(a *actor) {
				Inspect(a.seg)
				a.seg.Wanted()
				a.seg.Count(shm.Crashed)
				a.box.Process()
				_, _ = Check(a.seg) // it is not quiet
				a.box.Open()
				a.box.Life()
				a.box.Kind()
			},
			during: func(c *crash) {
				c.awaitStop()
				for i := range c.hoard {
					c.hub.Discard(&c.hoard[i])
				}
				c.serve(nil)
			},
		},
	}
}

// awaitStop waits until the actor is at its point or has ended.
func (c *crash) awaitStop() {
	select {
	case <-c.actor.halted:
	case <-c.ctx.Done():
		panic(abort{"the actor neither stopped nor ended"})
	}
}
