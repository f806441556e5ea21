//go:build shmactor_points

package mailbox

import (
	"context"
	"errors"

	"github.com/shmactor/shmactor/shm"
)

// scenarios are small plays of the protocol's hard cases. P and Q send or call, C receives; who may die is said by dies and
// restarts.
var scenarios = []scenario{
	{name: "send", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.send(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "two senders", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C", "Q")
		p.Go("P", "P", func() { p.send(background, p.open("P", "box"), 1, small) })
		p.Go("Q", "Q", func() { p.send(background, p.open("Q", "box"), 2, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "laps", acts: func(p *play) { // the ring goes round once
		p.box("box")
		p.parties("P", "C", "Q")
		p.Go("P", "P", func() {
			for n := range uint64(3) {
				p.send(background, p.open("P", "box"), 1+n, small)
			}
		})
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.Go("Q", "Q", func() { p.send(background, p.open("Q", "box"), 9, small) })
		p.restarts("C", "box", small)
	}},
	{name: "call", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.call(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "larger reply", acts: func(p *play) { // it lies in a frame of its own
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.call(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", 500) })
		p.dies("P", nil)
		p.restarts("C", "box", 500)
	}},
	{name: "several spans", spans: 6, acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.call(background, p.open("P", "box"), 1, 3<<15) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "timeout", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		p.Go("P", "P", func() { p.call(ctx, p.open("P", "box"), 1, small) })
		p.Go("P", "P.clock", cancel)
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.restarts("C", "box", small)
	}},
	{name: "timeout after timeout", acts: func(p *play) { // the frame of an abandoned call is used again
		p.box("box")
		p.parties("P", "C")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		p.Go("P", "P", func() {
			p.call(ctx, p.open("P", "box"), 1, small)
			p.call(background, p.open("P", "box"), 2, small)
		})
		p.Go("P", "P.clock", cancel)
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
	}},
	{name: "full", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C", "Q")
		p.Go("P", "P", func() {
			for n := range uint64(3) {
				p.send(background, p.open("P", "box"), 1+n, small)
			}
		})
		p.Go("Q", "Q", func() { p.send(background, p.open("Q", "box"), 9, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("P", nil)
	}},
	{name: "stopped sender", acts: func(p *play) { // alive and silent, anywhere
		p.box("box")
		p.parties("P", "C", "Q")
		p.Go("P", "P", func() { p.send(background, p.open("P", "box"), 1, small) })
		p.Go("Q", "Q", func() {
			for n := range uint64(3) {
				p.send(background, p.open("Q", "box"), 2+n, small)
			}
		})
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.halts("P")
	}},
	{name: "start", acts: func(p *play) { // a process joins, and its waiter is about to sleep
		p.box("box")
		p.parties("P")
		p.Go("P", "P", func() { p.send(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() {
			p.enter("C", p.grant())
			p.serve("C", "box", small)
		})
		p.dies("P", nil)
	}},
	{name: "room for one", acts: func(p *play) { // the receiver takes no more before the sender has gone on
		p.box("box")
		p.parties("P", "C")
		done := make(chan struct{})
		p.Go("P", "P", func() {
			for n := range uint64(3) {
				p.send(background, p.open("P", "box"), 1+n, small)
			}
			close(done)
		})
		p.Serve("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			msg := p.receive(rc)
			p.handle(rc, &msg, small)
			select {
			case <-done:
			case <-p.Done():
			}
			for {
				msg := p.receive(rc)
				p.handle(rc, &msg, small)
			}
		})
	}},
	{name: "timeout and full", acts: func(p *play) { // what is refused has the frame of an abandoned call
		p.box("box")
		p.parties("P", "C", "Q")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		p.Go("P", "P", func() {
			p.call(ctx, p.open("P", "box"), 1, small)
			p.trySend(p.open("P", "box"), 2, small)
		})
		p.Go("P", "P.clock", cancel)
		p.Go("Q", "Q", func() { p.trySend(p.open("Q", "box"), 9, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
	}},
	{name: "frames", spans: 5, acts: func(p *play) { // of three spans, which nobody keeps in a cache; there is room for one
		const large = 150 << 10
		p.parties("P", "Q")
		p.Go("P", "P", func() { p.hubs["P"].Discard(p.draft(p.hubs["P"], 1, large)) })
		p.Go("Q", "Q", func() { p.hubs["Q"].Discard(p.draft(p.hubs["Q"], 3, large)) })
		p.dies("P", nil)
	}},
	{name: "kept frames", acts: func(p *play) { // P keeps one of two in its cache
		p.parties("P", "Q")
		p.Go("P", "P", func() { p.hubs["P"].Discard(p.draft(p.hubs["P"], 1, whole)) })
		p.Go("Q", "Q", func() {
			first, second := p.draft(p.hubs["Q"], 2, whole), p.draft(p.hubs["Q"], 3, whole)
			p.hubs["Q"].Discard(first)
			p.hubs["Q"].Discard(second)
		})
		p.dies("P", nil)
	}},
	{name: "no frame", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C", "Q")
		p.Go("P", "P", func() {
			p.send(background, p.open("P", "box"), 1, whole)
			p.send(background, p.open("P", "box"), 2, whole)
		})
		p.Go("Q", "Q", func() { p.send(background, p.open("Q", "box"), 9, whole) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "close", acts: func(p *play) {
		box := p.box("box")
		p.parties("P", "Q")
		send, call := p.open("P", "box"), p.open("Q", "box")
		p.Go("P", "P", func() { p.send(background, send, 1, small) })
		p.Go("Q", "Q", func() { p.call(background, call, 2, small) })
		p.Go("owner", "close", func() { box.Close(shm.Stopped) })
		p.dies("P", nil)
	}},
	{name: "close after a death", acts: func(p *play) { // the closer finds what the receiver that died left half done
		box := p.box("box")
		p.parties("P", "C", "Q")
		to, also := p.open("P", "box"), p.open("Q", "box")
		p.Go("Q", "Q", func() { p.send(background, also, 3, small) })
		p.Go("P", "P", func() {
			p.send(background, to, 1, small)
			p.send(background, to, 2, small)
		})
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("C", func() { box.Close(shm.Stopped) })
	}},
	{name: "used again", acts: func(p *play) {
		box := p.box("box")
		p.parties("P", "C")
		old := p.open("P", "box")
		p.Go("P", "P", func() { p.send(background, old, 1, small) })
		p.Go("owner", "close", func() {
			box.Close(shm.Stopped)
			_, err := p.owner.Create("next", 2, 0)
			p.must(err)
			p.Serve("C", "C", func() {
				rc := p.open("C", "next").Receiver()
				for {
					msg := p.receive(rc)
					if p.handle(rc, &msg, small) == 1 {
						p.Fail("a message to the mailbox's use before was handled")
					}
				}
			})
			p.send(background, p.open("owner", "next"), 2, small)
		})
		p.dies("P", nil)
	}},
	{name: "fence", acts: func(p *play) { // a handler is given up and goes on
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.call(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			msg := p.receive(rc)
			n := p.begin(rc, &msg)
			given := msg
			p.Go("C", "C.fence", func() { given.Lend(shm.Crashed) })
			p.answer(&msg, n, small)
			p.finished(n)
		})
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "move", acts: func(p *play) { // the receiving side goes to another process
		p.box("box")
		p.parties("P", "C", "D")
		p.Go("P", "P", func() {
			p.send(background, p.open("P", "box"), 1, small)
			p.send(background, p.open("P", "box"), 2, small)
		})
		p.Go("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			msg := p.receive(rc)
			p.handle(rc, &msg, small)
			rc.Close()
			p.Serve("D", "D", func() { p.serve("D", "box", small) })
		})
	}},
	{name: "drain", acts: func(p *play) {
		box := p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.send(background, p.open("P", "box"), 1, small) })
		p.Go("owner", "drain", func() { p.must(box.Control(ControlDrain)) })
		p.Go("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			for {
				msg, bits, err := rc.Receive(background)
				if err != nil || bits&ControlDrain != 0 {
					p.must(err)
					break
				}
				p.handle(rc, &msg, small)
			}
			p.Serve("C", "C.rest", func() {
				for {
					msg := p.receive(rc)
					p.handle(rc, &msg, small)
				}
			})
		})
	}},
	{name: "deferred", acts: func(p *play) { // one process takes the call, another one answers it
		p.box("box")
		p.parties("P", "C", "D")
		p.Go("P", "P", func() { p.call(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			msg := p.receive(rc)
			n, token := p.begin(rc, &msg), msg.Token()
			if msg.Defer() == nil {
				p.Go("D", "D", func() {
					claimed, err := p.hubs["D"].Claim(token)
					if err == nil {
						p.dies("D", nil) // before, its token would die with it, and the caller wait until its context ends
						p.answer(&claimed, n, small)
					} else if !errors.Is(err, ErrReplied) {
						p.must(err)
					}
				})
			}
			p.finished(n)
			p.receive(rc)
		})
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "late reply", acts: func(p *play) { // the caller dies while its call is handled
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.call(background, p.open("P", "box"), 1, small) })
		p.dies("P", nil)
		p.Serve("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			msg := p.receive(rc)
			n := p.begin(rc, &msg)
			p.dies("C", nil)
			p.Kill("P")
			p.answer(&msg, n, small)
			p.finished(n)
			p.receive(rc)
		})
	}},
	{name: "late defer", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.call(background, p.open("P", "box"), 1, small) })
		p.dies("P", nil)
		p.Serve("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			msg := p.receive(rc)
			n := p.begin(rc, &msg)
			p.Kill("P")
			_ = msg.Defer()
			p.finished(n)
			p.receive(rc)
		})
	}},
	{name: "stale token", acts: func(p *play) { // the frame of a deferred call that was given up carries the next one
		p.box("box")
		p.parties("P", "C", "D")
		ctx, cancel := context.WithCancel(background)
		p.Cleanup(cancel)
		p.Go("P", "P", func() {
			p.call(ctx, p.open("P", "box"), 1, small)
			p.call(background, p.open("P", "box"), 2, small)
		})
		p.Go("P", "P.clock", cancel)
		type deferred struct {
			n     uint64
			token Token
		}
		tokens := make(chan deferred, 2)
		p.Serve("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			for {
				msg := p.receive(rc)
				n, token := p.begin(rc, &msg), msg.Token()
				_ = msg.Defer()
				p.finished(n)
				if tokens <- (deferred{n, token}); n == 2 {
					close(tokens)
				}
			}
		})
		p.Serve("D", "D", func() {
			for {
				d, more := deferred{}, false
				select {
				case d, more = <-tokens:
				case <-p.Done():
				}
				if !more {
					return
				}
				if claimed, err := p.hubs["D"].Claim(d.token); err == nil {
					if got := p.number(claimed.Bytes()); got != d.n {
						p.Fail("the token of call %d claims call %d", d.n, got)
					}
					p.answer(&claimed, d.n, small)
				}
			}
		})
	}},
	{name: "bury", acts: func(p *play) {
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.send(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() {
			rc := p.open("C", "box").Receiver()
			msg := p.receive(rc)
			msg.Bury(shm.NoMethod, nil)
			p.receive(rc)
		})
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "sweep again", acts: func(p *play) { // who sweeps dies over it
		p.box("box")
		p.parties("P", "C")
		p.Go("P", "P", func() { p.call(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("P", nil)
		p.restarts("C", "box", small)
		p.succeeds()
	}},
}

// whole is a message that takes a span: a stage has two.
const whole = 60 << 10
