//go:build shmactor_points

package mailbox

import (
	"context"

	"github.com/shmactor/shmactor/shm"
)

func init() { scenarios = append(scenarios, moreScenarios...) }

// half is a message that takes half a span.
const half = 32<<10 - 200

// twice is a kind whose messages are begun two times at most.
var twice = again{most: 2}

// sendTwo sends two messages in a row.
func (p *play) sendTwo(process, name string) {
	m := p.open(process, name)
	p.Go(process, process, func() {
		p.send(background, m, 1, small)
		p.send(background, m, 2, small)
	})
}

// moreScenarios are of redelivery, of turns, of orders to a life and of dead letters.
var moreScenarios = []scenario{
	{name: "again", acts: func(p *play) { // what was in hand is handled first
		p.box("box")
		p.parties("P", "C")
		p.sendTwo("P", "box")
		p.Serve("C", "C", func() { p.serveAgain("C", "box", twice) })
		p.restartsAgain("C", "box", twice, 2)
	}},
	{name: "again at once", acts: func(p *play) { // and its sender dies
		p.box("box")
		p.parties("P", "C")
		m := p.open("P", "box")
		p.Go("P", "P", func() { p.send(background, m, 1, small) })
		p.Serve("C", "C", func() { p.serveAgain("C", "box", twice) })
		p.dies("P", nil)
		p.restartsAgain("C", "box", twice, 2)
	}},
	{name: "call again", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		m := p.open("P", "box")
		p.Go("P", "P", func() { p.call(background, m, 1, small) })
		p.Serve("C", "C", func() { p.serveAgain("C", "box", twice) })
		p.dies("P", nil)
		p.restartsAgain("C", "box", twice, 2)
	}},
	{name: "call again and give up", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		m := p.open("P", "box")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		p.Go("P", "P", func() { p.call(ctx, m, 1, small) })
		p.Go("P", "P.clock", cancel)
		p.Serve("C", "C", func() { p.serveAgain("C", "box", twice) })
		p.restartsAgain("C", "box", twice, 1)
	}},
	{name: "crash", acts: func(p *play) { // the process lives, and takes it again
		p.box("box")
		p.parties("P", "Q", "C")
		p.sendTwo("P", "box")
		call := p.open("Q", "box")
		p.Go("Q", "Q", func() { p.call(background, call, 3, small) })
		a := again{most: 3, crashes: 1}
		p.Serve("C", "C", func() { p.serveAgain("C", "box", a) })
		p.dies("Q", nil)
		p.restartsAgain("C", "box", a, 2)
	}},
	{name: "crash and give up", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		m := p.open("P", "box")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		p.Go("P", "P", func() { p.call(ctx, m, 1, small) })
		p.Go("P", "P.clock", cancel)
		a := again{most: 2, crashes: 1}
		p.Serve("C", "C", func() { p.serveAgain("C", "box", a) })
		p.dies("P", nil)
		p.restartsAgain("C", "box", a, 1)
	}},
	{name: "attempts used up", acts: func(p *play) {
		p.box("box")
		p.parties("P", "Q", "C")
		m, call := p.open("P", "box"), p.open("Q", "box")
		p.Go("P", "P", func() { p.send(background, m, 1, small) })
		p.Go("Q", "Q", func() { p.call(background, call, 2, small) })
		a := again{most: 2, crashes: 2}
		p.Serve("C", "C", func() { p.serveAgain("C", "box", a) })
		p.restartsAgain("C", "box", a, 2)
	}},
	{name: "fewer attempts", acts: func(p *play) { // the next life's build allows fewer
		p.box("box")
		p.parties("P", "C")
		p.least = 1
		p.sendTwo("P", "box")
		p.Serve("C", "C", func() { p.serveAgain("C", "box", twice) })
		p.dies("C", func() {
			id := p.grant()
			p.Serve("C'", "C'", func() {
				p.enter("C'", id)
				p.serveAgain("C'", "box", again{most: 1})
			})
		})
	}},
	{name: "move in hand", acts: func(p *play) { // the next life is in another process
		p.box("box")
		p.parties("P", "C", "D")
		p.sendTwo("P", "box")
		a, moved := again{most: 3, crashes: 1}, false
		p.Serve("C", "C", func() {
			p.lifeAgain(p.open("C", "box"), a)
			moved = true
			p.Serve("D", "D", func() { p.serveAgain("D", "box", a) })
		})
		p.diesAgain("C", func() {
			if !moved {
				p.Serve("D", "D.next", func() { p.serveAgain("D", "box", a) })
			}
		})
	}},
	{name: "close in hand", acts: func(p *play) { // the actor is stopped for good after its process died
		box := p.box("box")
		p.parties("P", "Q", "C")
		p.closed = true
		p.sendTwo("P", "box")
		call := p.open("Q", "box")
		p.Go("Q", "Q", func() { p.call(background, call, 3, small) })
		p.Serve("C", "C", func() { p.serveAgain("C", "box", again{most: 3}) })
		p.diesAgain("C", func() { box.Close(shm.Stopped) })
		p.dies("Q", nil)
	}},
	{name: "close after a crash", acts: func(p *play) { // the closer dies over it
		box := p.box("box")
		p.parties("P", "C")
		p.closed = true
		p.sendTwo("P", "box")
		p.Serve("C", "C", func() {
			p.lifeAgain(p.open("C", "box"), again{most: 2, crashes: 1})
			p.Go("owner", "close", func() { p.closes(box) })
		})
		p.inherits(box)
		p.End(func() error { p.seg.Remove(box.index); return nil })
	}},
	{name: "sweep in hand", acts: func(p *play) { // who sweeps dies over it, and the next one too
		p.box("box")
		p.parties("P", "C")
		m := p.open("P", "box")
		p.Go("P", "P", func() { p.send(background, m, 1, small) })
		p.Serve("C", "C", func() { p.serveAgain("C", "box", twice) })
		p.restartsAgain("C", "box", twice, 1)
		p.succeeds()
	}},
	{name: "sweep a call in hand", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		m := p.open("P", "box")
		p.Go("P", "P", func() { p.call(background, m, 1, small) })
		p.Serve("C", "C", func() { p.serveAgain("C", "box", again{most: 1}) })
		p.dies("P", nil)
		p.restartsAgain("C", "box", again{most: 1}, 1)
		p.succeeds()
	}},
	{name: "turn", acts: func(p *play) { // two processes wait for room while a third sends on
		p.box("box")
		p.parties("P", "Q", "S")
		for i, process := range []string{"P", "Q"} {
			m := p.open(process, "box")
			p.Go(process, process, func() { p.send(background, m, uint64(1+i), small) })
		}
		m := p.open("S", "box")
		p.Go("S", "S", func() {
			for n := range uint64(4) {
				p.send(background, m, 10+n, small)
			}
		})
		p.Serve("owner", "C", func() { p.serve("owner", "box", small) })
		p.dies("P", nil)
		p.dies("S", nil)
	}},
	{name: "turn given up", acts: func(p *play) {
		p.box("box")
		p.parties("P", "Q", "S")
		m, other := p.open("P", "box"), p.open("Q", "box")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		p.Go("P", "P", func() { p.send(ctx, m, 1, small) })
		p.Go("P", "P.clock", cancel)
		p.Go("P", "P.too", func() { p.send(background, m, 2, small) })
		p.Go("Q", "Q", func() {
			for n := range uint64(3) {
				p.send(background, other, 10+n, small)
			}
		})
		p.Serve("owner", "C", func() { p.serve("owner", "box", small) })
		p.dies("P", nil)
	}},
	{name: "turn of one that stops", acts: func(p *play) {
		p.box("box")
		p.parties("P", "Q")
		m, other := p.open("P", "box"), p.open("Q", "box")
		p.Go("P", "P", func() {
			for n := range uint64(3) {
				p.send(background, m, 1+n, small)
			}
		})
		p.Go("Q", "Q", func() {
			for n := range uint64(4) {
				p.send(background, other, 10+n, small)
			}
		})
		p.Serve("owner", "C", func() { p.serve("owner", "box", small) })
		p.halts("P")
	}},
	{name: "turn used", acts: func(p *play) { // there is room for each that waits, and no message more is received
		box := p.box("box")
		p.parties("P", "Q")
		for n := range uint64(2) {
			p.must(box.TrySend(p.draft(p.owner, 10+n, small)))
		}
		for i, process := range []string{"P", "Q"} {
			m := p.open(process, "box")
			p.Go(process, process, func() { p.send(background, m, uint64(1+i), small) })
		}
		rc := box.Receiver()
		p.Go("owner", "C", func() {
			for range 2 {
				msg := p.receive(rc)
				p.handle(rc, &msg, small)
			}
		})
		p.End(func() error {
			for msg, ok := rc.TryReceive(); ok; msg, ok = rc.TryReceive() {
				p.handle(rc, &msg, small)
			}
			return nil
		})
	}},
	{name: "turn for a frame", acts: func(p *play) {
		p.parties("P", "Q", "S")
		p.Go("owner", "holder", p.lets("owner", p.drafts("owner", whole, 2)))
		for _, process := range []string{"P", "Q", "S"} {
			h := p.hubs[process]
			p.Go(process, process, func() { h.Discard(p.draft(h, 0, whole)) })
		}
		p.dies("P", nil)
	}},
	{name: "turn for a frame given up", acts: func(p *play) {
		p.parties("P", "Q")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		p.Go("owner", "holder", p.lets("owner", p.drafts("owner", whole, 2)))
		h, other := p.hubs["P"], p.hubs["Q"]
		p.Go("P", "P", func() {
			if d, err := h.DraftWait(ctx, whole); err == nil {
				h.Discard(&d)
			}
		})
		p.Go("P", "P.clock", cancel)
		p.Go("P", "P.too", func() { h.Discard(p.draft(h, 0, whole)) })
		p.Go("Q", "Q", func() { other.Discard(p.draft(other, 0, whole)) })
		p.dies("P", nil)
	}},
	{name: "turn for a frame handed back", acts: func(p *play) { // there is one frame, and who has the turn gives up
		p.parties("P", "Q")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		held := p.drafts("owner", whole, 2)
		p.Go("owner", "holder", p.lets("owner", held[:1]))
		h, other := p.hubs["P"], p.hubs["Q"]
		p.Go("P", "P", func() {
			if d, err := h.DraftWait(ctx, whole); err == nil {
				h.Discard(&d)
			}
		})
		p.Go("P", "P.clock", cancel)
		p.Go("Q", "Q", func() { other.Discard(p.draft(other, 0, whole)) })
		p.End(func() error {
			p.owner.Discard(&held[1])
			return nil
		})
	}},
	{name: "what a turn left", acts: func(p *play) { // there is a frame in a span that is in use, and a span
		p.parties("P", "Q")
		held := append(p.drafts("owner", whole, 1), p.drafts("owner", half, 2)...)
		p.Go("owner", "holder", p.lets("owner", held[:2]))
		var kept []func()
		for _, process := range []string{"P", "Q"} {
			h := p.hubs[process]
			p.Go(process, process, func() {
				d := p.draft(h, 0, half)
				p.Note("served")
				kept = append(kept, func() { h.Discard(d) })
			})
		}
		p.End(func() error {
			p.owner.Discard(&held[2])
			for _, discard := range kept {
				discard()
			}
			return nil
		})
	}},
	{name: "order to a life", acts: func(p *play) {
		box := p.box("box")
		p.parties("P", "C")
		m := p.open("P", "box")
		p.Go("P", "P", func() { p.send(background, m, 1, small) })
		first := box.Life()
		p.Go("owner", "stop", func() { _ = box.ControlLife(first, ControlStop) })
		p.Go("C", "C", func() {
			in := p.open("C", "box")
			if bits := p.liveOn(in); bits&^ControlStop != 0 {
				p.Fail("the first life was told %x", bits)
			}
			next := in.NextLife()
			p.Go("owner", "drain", func() { p.must(box.ControlLife(next, ControlDrain)) })
			for bits := uint64(0); bits != ControlDrain; {
				if bits = p.liveOn(in); bits&ControlStop != 0 {
					p.Fail("an order reached a life that it was not for")
				}
			}
			p.Serve("C", "C.rest", func() { p.serve("C", "box", small) })
		})
	}},
	{name: "call back", acts: func(p *play) { // who was answered may be called at once, also by another call's answer
		p.box("A")
		p.box("B")
		p.parties("P", "Q")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		a, b, back := p.open("P", "A"), p.open("P", "B"), p.open("Q", "A")
		p.Go("P", "P", func() {
			p.waitCall(ctx, a, b, 1)
			p.waitCall(background, a, b, 2)
		})
		p.Go("P", "P.clock", cancel)
		p.Serve("Q", "Q", func() {
			rc := p.open("Q", "B").Receiver()
			for {
				msg := p.receive(rc)
				n := p.begin(rc, &msg)
				if n == 2 && !rc.WaitFor(back, 3) {
					p.Fail("a circle of calls is not seen")
				}
				p.answer(&msg, n, small)
				p.finished(n)
				if n == 2 && rc.WaitFor(back, 4) {
					p.Fail("who was answered is called, and that is said to be a circle")
				}
				rc.WaitFor(nil, 0)
			}
		})
	}},
	{name: "letters full", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		full, err := p.owner.Create("full", 2, 0)
		p.must(err)
		p.hubs["C"].SetLetters(full)
		p.owner.SetLetters(full)
		m := p.open("P", "box")
		p.Go("P", "P", func() {
			for n := range uint64(4) {
				p.must(m.Send(background, p.draft(m.hub, 1+n, small)))
			}
		})
		bury := func(process string) {
			rc := p.open(process, "box").Receiver()
			for {
				msg := p.receive(rc)
				msg.Bury(shm.NoMethod, nil)
			}
		}
		p.Serve("C", "C", func() { bury("C") })
		p.dies("C", func() {
			id := p.grant()
			p.Serve("C'", "C'", func() {
				p.enter("C'", id).SetLetters(full)
				bury("C'")
			})
		})
		p.End(func() error { return p.buried(full, 4) })
	}},
}
