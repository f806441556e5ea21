//go:build shmactor_points

package mailbox

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/shmactor/shmactor/shm"
)

// Messages that are received again, and turns for room and for frames.

const attempts = 2

// again makes the actor the next receiver, with redelivery.
func (a *actor) again() {
	if a.receiver != nil {
		a.receiver.Close()
	}
	a.receiver = a.box.Receiver()
	a.receiver.Redeliver(attempts)
}

// begin receives a message that is there, and begins to handle it: only that counts as an attempt.
func (a *actor) begin() (m Message, name string) {
	m, ok := a.receiver.TryReceive()
	if !ok || !a.receiver.Begin(&m) {
		a.must("begin", errors.New("there is no message, or it may not begin"))
	}
	return m, a.took(&m)
}

func (a *actor) putBack(m *Message) {
	if !m.PutBack() {
		a.say("wrong it is not put back")
	}
}

func redeliveries() []*crashScenario {
	return []*crashScenario{
		{
			name: "redeliver", redelivers: true, setup: queued(2, 1),
			act: func(a *actor) {
				a.again()
				m, name := a.begin()
				a.release(&m, name)
				m, _ = a.begin()
				_, _ = Check(a.seg) // it is not quiet
				a.putBack(&m)
				a.again()
				m, name = a.begin()
				if m.PutBack() {
					a.say("wrong it is put back after its last attempt")
				}
				m.Bury(shm.Exhausted, nil)
				a.say("buried %s", name)
				m, name = a.begin()
				a.reply(&m, name, 0)
			},
		},
		givenUpAgain("put back and given up", func(a *actor, m *Message) {
			a.putBack(m)
			a.say("taken")
			a.line()
		}),
		givenUpAgain("put back what was given up", func(a *actor, m *Message) {
			a.say("taken")
			a.line()
			a.putBack(m)
		}),
		{
			name: "close a mailbox with a message in hand", owner: true, redelivers: true,
			act: func(a *actor) {
				a.own()
				a.send("m1", 0)
				a.send("m2", 0)
				a.again()
				m, _ := a.begin()
				a.putBack(&m)
				a.receiver.Close()
				a.box.Close(shm.Stopped)
			},
		},
		{
			name: "audit", owner: true,
			act: func(a *actor) {
				a.tracer.Turn(false)
				a.own()
				a.send("m1", 0)
				a.tracer.Turn(true)
				a.must("audit", a.hub.Audit())
			},
		},
	}
}

// givenUpAgain is a call that its caller gives up while the actor handles it, or has put it back.
func givenUpAgain(name string, act func(a *actor, m *Message)) *crashScenario {
	s := givenUpInHand(name, nil)
	s.redelivers = true
	s.act = func(a *actor) {
		a.again()
		m, _ := a.begin()
		act(a, &m)
		a.again()
		if _, ok := a.receiver.TryReceive(); ok {
			a.say("wrong what was given up is received again")
		}
	}
	return s
}

// stopped is a process that does what wait says and nothing more, until it is swept.
func (c *crash) stopped(wait func(hub *Hub)) {
	id, err := c.seg.Grant("stopped")
	c.must("grant", err)
	c.must("enter", c.seg.Enter(id))
	hub := joinAs(c.seg, id.Index())
	c.dead = append(c.dead, id)
	wait(hub)
	abandon(hub)
}

func turns() []*crashScenario {
	return []*crashScenario{
		{
			name: "two wait for room", produces: true, capacity: 2,
			setup: func(c *crash) { c.send("s1"); c.send("s2") },
			act: func(a *actor) {
				var both sync.WaitGroup
				var done atomic.Int32
				for _, name := range []string{"m1", "m2"} {
					both.Go(func() { a.send(name, 0); done.Add(1) })
				}
				for a.hub.room.count.Load() < 2 && done.Load() < 2 { // there is room if the survivor went on meanwhile
					runtime.Gosched()
				}
				a.trySend("m3", 0)
				a.say("both wait")
				both.Wait()
			},
			during: func(c *crash) {
				c.hear()
				c.serve(nil)
			},
		},
		{
			name: "another has the turn for room", produces: true, capacity: 2,
			setup: func(c *crash) {
				c.send("s1")
				c.send("s2")
				c.stopped(func(hub *Hub) {
					box, err := hub.Open("box")
					c.must("open", err)
					box.wantRoom()
				})
				r := c.box.Receiver()
				m, ok := r.TryReceive()
				if !ok {
					panic(abort{"there is nothing to receive"})
				}
				c.handle(&m, nil)
				r.Close()
			},
			act: func(a *actor) {
				a.trySend("m1", 0)
			},
			during: func(c *crash) { c.awaitStop(); c.serve(nil) },
		},
		{
			name: "another has the turn for a frame", produces: true, hoards: true,
			setup: func(c *crash) {
				c.takeAllFrames()
				last := len(c.hoard) - 1
				c.hub.Discard(&c.hoard[last])
				c.hoard = c.hoard[:last]
				c.hub.pool.Flush()
				c.stopped(func(hub *Hub) { c.seg.Want(hub.self.Index()) })
			},
			act: func(a *actor) {
				a.discard(a.drafts(1, class))
				if _, err := a.hub.Draft(class); !errors.Is(err, shm.ErrNoSpace) {
					a.say("wrong the last frame is not left to the other: %v", err)
				}
			},
			after: func(c *crash) {
				for i := range c.hoard {
					c.hub.Discard(&c.hoard[i])
				}
			},
		},
	}
}
