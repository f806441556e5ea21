//go:build shmactor_points

package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shmactor/shmactor/shm"
)

// consumers receive; the survivor sends and calls, and receives what is left after them.
func consumers() []*crashScenario {
	return slices.Concat(receivers(), handlers(), endings())
}

// queued makes the survivor send and call before the actor is there.
func queued(sends, calls int) func(c *crash) {
	return func(c *crash) {
		for i := range sends {
			c.send(fmt.Sprint("s", i+1))
		}
		for i := range calls {
			c.call(fmt.Sprint("k", i+1), 0)
			c.waitDepth(sends + i + 1)
		}
	}
}

// waitDepth waits until n messages are queued, so that calls come in their order.
func (c *crash) waitDepth(n int) {
	c.poll("a call is queued", func() bool { return c.box.rec[recTail].Load()-c.box.rec[recHead].Load() >= uint64(n) })
}

func receivers() []*crashScenario {
	return []*crashScenario{
		{
			name: "receive", setup: queued(2, 1),
			act: func(a *actor) {
				for range 2 {
					m, name := a.take()
					a.release(&m, name)
				}
				m, name := a.take()
				a.reply(&m, name, 0)
				a.receiver.Close()
			},
		},
		{
			name: "receive from a full mailbox", capacity: 2,
			setup: func(c *crash) {
				c.send("s1")
				c.send("s2")
				c.tasks.Go(func() { c.caught(func() { c.send("s3") }) })
				c.tasks.Go(func() { c.caught(func() { c.send("s4") }) })
				c.poll("senders wait for room", func() bool { return c.box.rec[recRoom].Load() != 0 })
			},
			act: func(a *actor) {
				for range 4 {
					m, name := a.take()
					a.release(&m, name)
				}
			},
		},
		{
			name: "receive when it comes",
			act: func(a *actor) {
				r := a.box.Receiver()
				a.receiver = r
				a.say("receives")
				a.must("above", r.Above(a.ctx, 0))
				m, name := a.take()
				r.Busy(true)
				if r.Depth() > 1 {
					a.say("wrong depth")
				}
				a.release(&m, name)
				for _, o := range []Outcome{Handled, HandlerFailed, HandlerCrashed, DeadlinePassed} {
					r.Counted(o)
				}
				r.Busy(false)
				a.box.WaitFor(nil, 0)
				a.say("released")
				_, bits, err := r.Receive(a.ctx)
				a.must("receive", err)
				if bits != ControlPing {
					a.say("wrong bits %d", bits)
				}
				a.must("control", a.box.Control(ControlPing))
				a.must("above", r.Above(a.ctx, 0))
			},
			during: func(c *crash) {
				for range 2 {
					line, ok := c.hear()
					if !ok {
						return
					}
					parked := func() bool { return consumerWord(c.box.rec[recConsumer].Load()).parked() }
					if !c.until("the receiver is parked", parked) {
						return
					}
					if line == "receives" {
						c.send("s1")
					} else {
						c.must("control", c.box.Control(ControlPing))
					}
				}
			},
		},
		{
			name: "receive what was given up",
			setup: func(c *crash) {
				ctx, cancel := context.WithCancel(c.ctx)
				c.callCtx(ctx, "k1", 0, context.Canceled)
				c.waitDepth(1)
				cancel()
				c.poll("it is given up", func() bool { return c.flagged(shm.Queued, shm.Abandoned) })
				c.send("s1")
			},
			act: func(a *actor) {
				m, name := a.take()
				if name != "s1" {
					a.say("wrong %s was given up", name)
				}
				a.release(&m, name)
			},
		},
	}
}

func handlers() []*crashScenario {
	parkedCall := func(c *crash) {
		c.call("k1", 0, ErrStopped)
		c.poll("the caller is parked", func() bool { return c.flagged(shm.Queued, shm.Waiting) })
	}
	// answered is one call, and what the actor does about it.
	answered := func(name string, allowed error, act func(a *actor, m *Message)) *crashScenario {
		return &crashScenario{
			name: name,
			setup: func(c *crash) {
				c.call("k1", 0, allowed)
				c.poll("the caller is parked", func() bool { return c.flagged(shm.Queued, shm.Waiting) })
			},
			act: func(a *actor) { m, _ := a.take(); act(a, &m) },
		}
	}
	return []*crashScenario{
		answered("reply with much", ErrWorkerDied, func(a *actor, m *Message) {
			_, err := m.Room(1000)
			a.must("room", err)
			a.reply(m, "k1", run2)
		}),
		answered("reply with more", ErrWorkerDied, func(a *actor, m *Message) {
			if !m.IsCall() {
				a.say("wrong it is a call")
			}
			a.reply(m, "k1", 3000)
		}),
		{
			name: "reply to an actor",
			setup: func(c *crash) {
				c.box.WaitFor(c.box, 0) // the caller is the actor of the box itself, for example
				d, err := c.hub.Draft(50)
				c.must("draft", err)
				d.fill(sized("k1", 0))
				d.Header.Sender = c.box.index + 1
				c.note("k1", func(f *fate) { f.call = true })
				c.tasks.Go(func() {
					r, err := c.box.Call(c.ctx, &d)
					if err == nil {
						r.Release()
					} else if !errors.Is(err, ErrWorkerDied) {
						c.errorf("call: %v", err)
					}
				})
				c.waitDepth(1)
			},
			act: func(a *actor) { m, name := a.take(); a.reply(&m, name, 0) },
		},
		answered("fail", ErrCrashed, func(a *actor, m *Message) { a.must("fail", m.Fail(shm.Crashed, "text")) }),
		answered("fail with much", ErrCrashed, func(a *actor, m *Message) {
			a.must("fail", m.Fail(shm.Crashed, strings.Repeat("t", 3000)))
		}),
		answered("release a call", ErrCrashed, func(a *actor, m *Message) {
			_, err := m.Room(3000)
			a.must("room", err)
			m.Lend(shm.Crashed)
			m.Release()
		}),
		answered("lend", ErrStopped, func(a *actor, m *Message) { m.Lend(shm.Stopped); m.Return() }),
		answered("lend and answer", ErrStopped, func(a *actor, m *Message) { m.Lend(shm.Stopped); a.reply(m, "k1", 0) }),
		answered("defer", ErrWorkerDied, func(a *actor, m *Message) {
			a.must("defer", m.Defer())
			again, err := a.hub.Claim(m.Token())
			a.must("claim", err)
			a.reply(&again, "k1", 0)
		}),
		{
			name: "lend to a caller that gives up",
			setup: func(c *crash) {
				parkedCall(c)
				c.send("s1")
			},
			act: func(a *actor) {
				m, _ := a.take()
				m.Lend(shm.Stopped)
				a.say("lent")
				a.line()
				m.Return()
				m, name := a.take()
				m.Lend(shm.Stopped) // a one-way message
				m.Return()
				a.say("done %s", name)
			},
			during: func(c *crash) {
				if _, ok := c.hear(); ok {
					c.until("its caller was told", func() bool { return c.flagged(shm.Lent, shm.Abandoned) })
					c.actor.tell("go")
				}
			},
		},
		givenUpInHand("reply", func(a *actor, m *Message) { a.reply(m, "k1", 0) }),
		givenUpInHand("reply with more", func(a *actor, m *Message) { a.reply(m, "k1", 3000) }),
		givenUpInHand("fail", func(a *actor, m *Message) { _ = m.Fail(shm.Crashed, "text") }),
		givenUpInHand("defer", func(a *actor, m *Message) { _ = m.Defer() }),
		givenUpInHand("lend", func(a *actor, m *Message) { m.Lend(shm.Stopped); m.Return() }),
		callerDies("reply", func(a *actor, m *Message) { a.reply(m, "dead", 0) }),
		callerDies("reply with more", func(a *actor, m *Message) { a.reply(m, "dead", 3000) }),
		callerDies("defer", func(a *actor, m *Message) { _ = m.Defer() }),
		callerDies("lend", func(a *actor, m *Message) { m.Lend(shm.Stopped); m.Return() }),
	}
}

// givenUpInHand is a call that its caller gives up while the actor handles it.
func givenUpInHand(name string, act func(a *actor, m *Message)) *crashScenario {
	return &crashScenario{
		name: name + " to nobody",
		setup: func(c *crash) {
			ctx, cancel := context.WithCancel(c.ctx)
			c.cancel = cancel
			c.callCtx(ctx, "k1", 0, context.Canceled, ErrWorkerDied)
			c.waitDepth(1)
		},
		act: func(a *actor) {
			m, _ := a.take()
			a.say("taken")
			a.line()
			act(a, &m)
		},
		during: func(c *crash) {
			_, ok := c.hear()
			c.cancel()
			if ok {
				c.tasks.Wait()
				c.actor.tell("go")
			}
		},
	}
}

// callerDies is a call whose caller is dead before it is answered, and not yet swept.
func callerDies(name string, act func(a *actor, m *Message)) *crashScenario {
	return &crashScenario{
		name: name + " to the dead",
		setup: func(c *crash) {
			id, err := c.seg.Grant("caller")
			c.must("grant", err)
			c.must("enter", c.seg.Enter(id))
			hub := joinAs(c.seg, id.Index())
			box, err := hub.Open("box")
			c.must("open", err)
			c.orphan(hub, box, "dead")
			abandon(hub)
			c.dead = append(c.dead, id)
		},
		act: func(a *actor) {
			m, _ := a.take()
			a.say("taken")
			a.line()
			act(a, &m)
		},
		during: func(c *crash) {
			if _, ok := c.hear(); ok {
				c.seg.Condemn(c.dead[0])
				c.actor.tell("go")
			}
		},
	}
}

// orphan sends a call for which nobody will wait.
func (c *crash) orphan(hub *Hub, box *Mailbox, name string) {
	c.note(name, func(f *fate) { f.call = true })
	c.must("call", orphanCall(hub, box, name))
}

// orphanCall publishes a call and does not wait for its end.
func orphanCall(hub *Hub, box *Mailbox, name string) error {
	d, err := hub.Draft(50)
	if err != nil {
		return err
	}
	d.fill(sized(name, 0))
	box.address(&d)
	return box.publish(&d, shm.IsCall)
}

// endings are one-way messages that become dead letters.
func endings() []*crashScenario {
	bury := func(a *actor) {
		for range 2 {
			m, name := a.take()
			m.Bury(shm.HandlerFailed, nil)
			a.say("buried %s", name)
		}
	}
	return []*crashScenario{
		{name: "bury", setup: queued(2, 0), act: bury},
		{
			name: "bury the large",
			setup: func(c *crash) {
				for _, name := range []string{"s1", "s2"} {
					c.must("send", c.box.SendBytes(c.ctx, sized(name, run2)))
					c.note(name, func(f *fate) { f.accepted = true })
				}
			},
			act: bury,
		},
		{
			name: "bury a copy", setup: queued(1, 0),
			act: func(a *actor) {
				m, name := a.take()
				m.BuryCopy(shm.HandlerFailed)
				m.Return()
				a.say("buried %s", name)
			},
		},
		{
			name: "bury what was lent", setup: queued(1, 0),
			act: func(a *actor) {
				m, name := a.take()
				m.Lend(shm.Stopped)
				m.Bury(shm.HandlerFailed, nil)
				a.say("done %s", name)
			},
		},
	}
}
