//go:build shmactor_points

package mailbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/shmactor/shmactor/internal/points"
	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// What the owner of a segment does. Its segment is a file: when it is killed, the survivor takes the file over, as the next
// start of a program does.

func fileOptions(path string, s *crashScenario) shm.Options {
	o := crashOptions()
	o.File, o.MessageBytes, o.Mailboxes = path, 1<<20, 12 // what is left in every state takes more
	if s.processes > 0 {
		o.Processes = s.processes
	}
	return o
}

// runOwner kills an owner.
func (c *crash) runOwner() {
	defer func() {
		for _, p := range must2(filepath.Glob(c.path + "*")) { // what was set aside
			if !strings.HasSuffix(p, ".lock") && p != c.path {
				_ = os.Remove(p)
			}
		}
	}()
	if c.prepared != nil {
		c.must("copy", os.WriteFile(c.path, c.prepared.file, 0o600))
		for name, f := range c.prepared.fates {
			copied := *f
			copied.took = slices.Clone(f.took)
			c.fates[name] = &copied
		}
	}
	c.actor = c.start(0)
	if c.scenario.during != nil {
		c.scenario.during(c)
	}
	c.awaitActor()
	if c.target.point == prepare {
		return
	}
	c.takeOver()
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(abort{err.Error()})
	}
	return v
}

// takeOver makes the survivor the next owner.
func (c *crash) takeOver() {
	seg, err := shm.Create(fileOptions(c.path, c.scenario))
	c.must("take over", err)
	c.adopt(seg)
	c.makeBoxes()
	c.serve(nil)
	c.progress("under the next owner", true)
	c.settle()
}

// prepared is a file that an owner left that was killed, and what there is to account for.
type prepared struct {
	file  []byte
	fates map[string]*fate
}

// leave makes what an owner of the scenario finds.
func (c *crash) leave() (p *prepared, wrong []string) {
	c.target = target{point: prepare}
	defer c.begin()()
	c.caught(c.runOwner)
	c.caught(c.close)
	file, err := os.ReadFile(c.path)
	if err != nil {
		c.errorf("%v", err)
	}
	for _, name := range []string{c.path, c.path + ".lock"} {
		_ = os.Remove(name)
	}
	return &prepared{file, maps.Clone(c.fates)}, c.wrong
}

// own makes the actor the owner of the file.
func (a *actor) own() {
	var err error
	a.seg, err = shm.Create(fileOptions(a.path, a.scenario))
	a.must("create", err)
	a.hub = Join(a.seg, a.seg.Self())
	letters, err := a.hub.Create(lettersName, lettersCapacity, 0)
	a.must("create", err)
	a.hub.SetLetters(letters)
	a.must("recover", a.hub.Recover())
	a.box = a.create("box", a.scenario.boxCapacity(), 0)
}

func (a *actor) create(name string, capacity int, kind uint64) *Mailbox {
	m, err := a.hub.Create(name, capacity, kind)
	a.must("create "+name, err)
	return m
}

// sendTo sends to a mailbox of the actor's own.
func (a *actor) sendTo(h *Hub, m *Mailbox, name string) {
	d, err := h.Draft(50)
	a.must("draft", err)
	d.fill(sized(name, 0))
	a.must("send "+name, m.TrySend(&d))
	a.say("sent %s", name)
}

func (a *actor) orphan(h *Hub, m *Mailbox, name string) {
	a.say("called %s", name)
	a.must("call", orphanCall(h, m, name))
}

// ghost joins as another process would: all that it holds is that process's.
func (a *actor) ghost() *Hub {
	id, err := a.seg.Grant("ghost")
	a.must("grant", err)
	a.must("enter", a.seg.Enter(id))
	return joinAs(a.seg, id.Index())
}

// freeze runs f until it comes to a call of op in function fn for the n-th time, and leaves it there for ever: as far as the
// others see, its process died. It is false when f comes to its end before.
func (a *actor) freeze(fn, op string, n int, f func()) bool {
	var goroutine atomic.Uint64 // that of f: the hubs have theirs
	frozen, done := make(chan struct{}), make(chan struct{})
	t := points.NewTracer(a.list, func(p *points.Point, _ int) {
		if does(p, fn, op) && goroutineID() == goroutine.Load() {
			if n--; n == 0 {
				close(frozen)
				select {}
			}
		}
	})
	t.Turn(true)
	word.Trace(t)
	defer word.Trace(a.tracer)
	go func() {
		defer close(done)
		goroutine.Store(goroutineID())
		f()
	}()
	select {
	case <-frozen:
		return true
	case <-done:
		return false
	}
}

// leave is freeze for an f that comes there.
func (a *actor) leave(fn, op string, n int, f func()) {
	if !a.freeze(fn, op, n, f) {
		a.say("wrong %s does no %s number %d here", fn, op, n)
	}
}

// goroutineID is the number of the calling goroutine.
func goroutineID() (id uint64) {
	var b [64]byte
	_, _ = fmt.Sscanf(string(b[:runtime.Stack(b[:], false)]), "goroutine %d ", &id)
	return id
}

func owners() []*crashScenario {
	return []*crashScenario{
		{
			name: "start and end", owner: true,
			act: func(a *actor) {
				a.own()
				a.send("m1", 0)
				a.hub.CloseUnclaimed()
				m, name := a.take()
				a.release(&m, name)
				a.box.Close(shm.SystemEnded)
				a.seg.End()
				a.hub.Close(nil)
				a.must("close", a.seg.Close())
			},
		},
		{
			name: "close a mailbox", owner: true,
			act: func(a *actor) {
				a.own()
				g := a.ghost()
				a.send("m1", 0)
				a.sendTo(g, a.box, "g1")
				a.orphan(g, a.box, "gk1")
				a.send("m2", run2)
				a.receiver = a.box.Receiver()
				m, name := a.take()
				a.release(&m, name)
				a.receiver.Close()
				a.box.Close(shm.Stopped)
				a.box = a.create("box", 8, 0)
				a.send("m3", 0)
			},
		},
		{
			name: "names", owner: true,
			act: func(a *actor) {
				a.own()
				var boxes []*Mailbox
				for _, name := range sameHome(3) {
					boxes = append(boxes, a.create(name, 2, 0))
				}
				boxes[0].Close(shm.Stopped)
				a.create("another", 2, 0)
				boxes[2].Close(shm.Stopped)
				if _, err := a.hub.Create("box", 8, 0); !errors.Is(err, shm.ErrNameTaken) {
					a.say("wrong a name is there twice: %v", err)
				}
			},
		},
		{
			name: "look a name up while another is removed", owner: true,
			act: func(a *actor) {
				a.tracer.Turn(false)
				a.own()
				a.leave("shm.Segment.emptySlot", "Store", 1, func() { a.box.Close(shm.Stopped) })
				a.tracer.Turn(true)
				a.seg.Lookup("nobody")
			},
		},
		{
			name: "next life", owner: true,
			act: func(a *actor) {
				a.own()
				a.send("m1", 0)
				a.receiver = a.box.Receiver()
				a.must("control", a.box.Control(ControlStop))
				a.receiver.Bits()
				a.receiver.Close()
				a.box.NextLife()
				a.receiver = a.box.Receiver()
				m, name := a.take()
				a.release(&m, name)
			},
		},
		{
			name: "grant", owner: true,
			act: func(a *actor) {
				a.own()
				for range 3 {
					id, err := a.seg.Grant("late")
					a.must("grant", err)
					_, err = a.hub.Sweep(id, "it did not come")
					a.must("sweep", err)
				}
				a.seg.DeadLetterCounts()
			},
		},
		{
			name: "sweep", owner: true,
			act: func(a *actor) {
				a.tracer.Turn(false)
				a.own()
				g := a.left()
				a.tracer.Turn(true)
				done, err := a.hub.Sweep(g.self, text)
				a.must("sweep", err)
				if done.Failed == 0 || done.Buried == 0 || done.Freed == 0 || done.Skipped == 0 {
					a.say("wrong the sweep did %+v", done)
				}
			},
		},
		sweepOfGhost,
		{
			name: "recover", owner: true,
			prepare: func(a *actor) {
				a.own()
				for name, kind := range map[string]uint64{"other kind": 7, "other size": 7, "not made again": 7} {
					a.sendTo(a.hub, a.create(name, 4, kind), name)
				}
				a.left()
				a.create("closed", 2, 0).Close(shm.Stopped)
			},
			act: func(a *actor) {
				a.own()
				a.create("other kind", 4, 8)
				a.create("other size", 8, 7)
				a.hub.CloseUnclaimed()
			},
		},
		{
			name: "recover what was being closed", owner: true,
			prepare: func(a *actor) {
				a.own()
				other := a.create("other", 8, 0)
				for i := range 4 {
					a.sendTo(a.hub, other, fmt.Sprint("o", i))
				}
				a.orphan(a.hub, other, "ok")
				a.leave("mailbox.Mailbox.seal", "swap", 2, func() { other.Close(shm.Stopped) })
			},
			act: func(a *actor) {
				a.own()
				a.hub.CloseUnclaimed()
			},
		},
		{
			name: "recover a full process table", owner: true, processes: 1,
			prepare: func(a *actor) {
				a.own()
				a.send("m1", 0)
				a.send("m2", 0)
				a.take()
			},
			act: func(a *actor) { a.own() },
		},
	}
}

// sweepOfGhost is the sweep of a process that died at a point of its own, which the target says.
var sweepOfGhost = &crashScenario{
	name: "sweep after a death anywhere", owner: true,
	act: func(a *actor) {
		a.tracer.Turn(false)
		a.own()
		g := a.ghost()
		other := a.create("other", 8, 0)
		a.sendTo(a.hub, other, "o1")
		for _, name := range []string{"ok1", "ok2", "ok3"} {
			a.orphan(a.hub, other, name)
		}
		if a.ghostAt == "" { // where could it die?
			a.tracer.Turn(true)
			a.haunt(g)
			return
		}
		where, op, _ := strings.Cut(a.ghostAt, " ")
		a.freeze(where, op, a.ghostTimes, func() { a.haunt(g) }) // to its end, if it was another goroutine that came there
		abandon(g)
		a.tracer.Turn(true)
		_, err := a.hub.Sweep(g.self, text)
		a.must("sweep", err)
	},
}

// haunt is what the ghost does: some of everything.
func (a *actor) haunt(g *Hub) {
	box, err := g.Open("box")
	a.must("open", err)
	a.sendTo(g, box, "g1")
	a.orphan(g, box, "gk1")
	a.must("send", box.SendBytes(a.ctx, sized("g2", run2)))
	a.say("sent g2")
	other, err := g.Open("other")
	a.must("open", err)
	r := other.Receiver()
	for _, end := range []func(m *Message){
		func(m *Message) { m.Bury(shm.HandlerFailed, nil) },
		func(m *Message) { _ = m.Reply(sized("x", run2)) },
		func(m *Message) { m.Lend(shm.Stopped); _ = m.Reply(nil) },
		func(m *Message) {
			_ = m.Defer()
			again, err := g.Claim(m.Token())
			a.must("claim", err)
			_ = again.Fail(shm.Crashed, strings.Repeat("t", 3000))
		},
	} {
		m, ok := r.TryReceive()
		if !ok {
			a.say("wrong nothing to receive")
			return
		}
		a.took(&m)
		end(&m)
	}
	d, err := g.Draft(run2)
	a.must("draft", err)
	g.Discard(&d)
}

// sameHome are names that the directory looks for at one place first.
func sameHome(n int) (names []string) {
	const slots = 32 // of the index of a segment with 12 mailboxes
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprint("n", i)
		if shm.Hash(name)%slots == shm.Hash("n0")%slots {
			names = append(names, name)
		}
	}
	return names
}

// left is what a process leaves that dies with its hands full: frames in every state.
func (a *actor) left() *Hub {
	g := a.ghost()
	a.leftAsSender(g)
	a.leftAsReceiver(g)
	a.leftAsCaller(g)
	a.leave("shm.Segment.buildRun", "CompareAndSwap", 1, func() { _, _ = g.Draft(run2) })
	a.leave("shm.Segment.takeParts", "CompareAndSwap", 1, func() { _, _ = g.Draft(run2) })
	hang(g.Draft, 3000)
	abandon(g)
	return g
}

func (a *actor) leftAsSender(g *Hub) {
	box, err := g.Open("box")
	a.must("open", err)
	a.sendTo(g, box, "g1")
	a.orphan(g, box, "gk1")
	_, err = g.Draft(100)
	a.must("draft", err)
	_, err = g.Draft(run2)
	a.must("draft", err)
	a.leave("mailbox.Mailbox.push", "load", 1, func() { _ = box.TrySendBytes(sized("never sent", 0)) })
}

// leftAsReceiver leaves what the ghost had received.
func (a *actor) leftAsReceiver(g *Hub) {
	mine := a.create("other", 16, 0)
	other, err := g.Open("other")
	a.must("open", err)
	r := other.Receiver()
	take := func(name string) *Message {
		m, ok := r.TryReceive()
		if !ok || a.took(&m) != name {
			a.say("wrong %s was not received", name)
		}
		return &m
	}
	for _, name := range []string{"o1", "o2", "o3", "o4"} {
		a.sendTo(a.hub, mine, name)
	}
	take("o1")
	take("o2").Lend(shm.Stopped)
	a.say("done o2") // it was settled
	third, fourth := take("o3"), take("o4")
	a.leave("mailbox.Hub.post", "Set", 1, func() { third.Bury(shm.HandlerFailed, nil) })
	a.leave("mailbox.Mailbox.push", "load", 1, func() { fourth.Bury(shm.HandlerFailed, nil) })
	for _, end := range []func(m *Message){
		func(m *Message) {},
		func(m *Message) { _, _ = m.Room(3000) },
		func(m *Message) { _ = m.Defer() },
		func(m *Message) { m.Lend(shm.Stopped) },
		func(m *Message) { m.Lend(shm.Stopped); a.hub.giveUpLent(m.Frame) },
		func(m *Message) { a.hub.giveUp(m.Frame) },
		func(m *Message) { a.leave("shm.Frame.Attach", "Set", 1, func() { _ = m.Reply(sized("x", 3000)) }) },
		func(m *Message) {
			a.leave("mailbox.Message.handBack", "Move", 1, func() { _ = m.Reply(sized("x", run2)) })
		},
	} {
		a.calls++
		name := fmt.Sprint("ok", a.calls)
		a.orphan(a.hub, mine, name)
		end(take(name))
	}
	a.sendTo(a.hub, mine, "o5")
	a.leave("mailbox.Receiver.TryReceive", "swap", 1, func() { r.TryReceive() })
}

// giveUpLent is what a caller does that finds its call lent.
func (h *Hub) giveUpLent(f shm.Frame) { _, _, _ = h.ended(f, f.Owner()) }

// leftAsCaller leaves calls of the ghost that the owner received.
func (a *actor) leftAsCaller(g *Hub) {
	third := a.create("third", 8, 0)
	box, err := g.Open("third")
	a.must("open", err)
	r := third.Receiver()
	for i, end := range []func(m *Message){
		func(m *Message) {},
		func(m *Message) { _ = m.Defer() },
		func(m *Message) { m.Lend(shm.Stopped) },
		func(m *Message) { _ = m.Reply(sized("x", 0)) },
		func(m *Message) { _ = m.Reply(sized("x", run2)) },
		func(m *Message) { _ = m.Fail(shm.Crashed, "text") },
		func(m *Message) {
			_ = m.Reply(sized("x", run2))
			a.leave("shm.Segment.releaseRun", "CompareAndSwap", 1, func() { g.drop(m.Frame) })
		},
	} {
		name := fmt.Sprint("gc", i)
		a.orphan(g, box, name)
		m, ok := r.TryReceive()
		if !ok || a.took(&m) != name {
			a.must(name, errors.New("not received"))
		}
		end(&m)
	}
}
