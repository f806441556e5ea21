//go:build shmactor_points

package mailbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shmactor/shmactor/shm"
)

// again serves mailboxes with redelivery.
type again struct {
	most    int
	crashes int // of the first handlings of each message
}

// serveAgain handles all messages of a mailbox, in life after life: one that crashes leaves its message to the next.
func (p *play) serveAgain(process, name string, a again) {
	m := p.open(process, name)
	for p.lifeAgain(m, a) {
	}
}

// lifeAgain is one life of an actor with redelivery; it ends when the actor crashes.
func (p *play) lifeAgain(m *Mailbox, a again) bool {
	rc := m.Receiver()
	defer rc.Close()
	rc.Redeliver(a.most)
	p.most = max(p.most, a.most)
	for {
		msg := p.receive(rc)
		if !rc.Begin(&msg) {
			p.refuse(&msg, shm.Exhausted)
			continue
		}
		if p.handleAgain(rc, &msg, a) {
			return true
		}
	}
}

// handleAgain handles a message, and reports whether the actor crashed over it.
func (p *play) handleAgain(rc *Receiver, msg *Message, a again) (crashed bool) {
	n := p.beginAgain(rc, msg, a.most)
	e := p.ledger.of(n)
	switch {
	case int(msg.Header.Attempts) <= a.crashes:
		e.crashed++
		if msg.PutBack() {
			e.mark(msg)
		} else {
			p.refuse(msg, shm.Crashed)
		}
		p.note(n, new(string), "crashed")
		return true
	case msg.IsCall():
		p.answer(msg, n, small)
	default:
		msg.Release()
	}
	e.over = true
	p.finished(n)
	return false
}

// mark notes that the message has to be handled again, unless nobody waits for it.
func (e *entry) mark(msg *Message) {
	if !msg.IsCall() {
		e.due = len(e.begun)
	}
}

func (p *play) refuse(msg *Message, why shm.Reason) {
	if msg.IsCall() {
		_ = msg.Fail(why, "")
		return
	}
	msg.Bury(why, nil)
}

// beginAgain is what a handler does first when there is redelivery.
func (p *play) beginAgain(rc *Receiver, msg *Message, most int) uint64 {
	n := p.begin(rc, msg)
	e := p.ledger.of(n)
	e.most, e.frame, e.tries = max(e.most, most), msg.Frame, int(msg.Header.Attempts)
	switch {
	case e.over || e.call && e.state != "calling" && !errors.Is(e.why, context.Canceled):
		p.Fail("message %d is handled again, and had ended", n)
	case e.tries < len(e.begun) || e.tries > most:
		p.Fail("message %d is handled for the %d. time, of %d, and said to be begun %d times", n, len(e.begun), most, e.tries)
	}
	for before, e := range p.ledger {
		if before < n && !e.call && e.due > 0 && e.due == len(e.begun) {
			p.Fail("message %d is handled before %d, which was in hand", n, before)
		}
	}
	return n
}

// diesAgain is dies for who receives with redelivery: what it had in hand has to be handled again.
func (p *play) diesAgain(process string, then func()) {
	id := p.hubs[process].self
	p.dying[process] = func() { p.witness(id) }
	p.dies(process, then)
}

// witness notes what a process had in hand when it died.
func (p *play) witness(id shm.ProcessID) {
	for _, e := range p.ledger {
		last := len(e.begun) - 1
		if last < 0 || e.begun[last] != id {
			continue
		}
		w, to := e.frame.Owner(), uint32(0)
		if to, _ = e.frame.To(); w.Generation() != e.frame.Generation() || w.State() != shm.Taken || w.Has(shm.Abandoned) {
			continue
		}
		hand := handWord(p.seg.Mailbox(to)[recHand].Load())
		if !hand.names(e.frame, w, to, p.incarnation(to)) {
			p.Fail("a message was begun and has not ended, and no word names it")
		}
		if !hand.last() {
			e.due = len(e.begun)
		}
	}
}

func (p *play) incarnation(mailbox uint32) uint32 {
	return stateWord(p.seg.Mailbox(mailbox)[recState].Load()).incarnation()
}

// restartsAgain is restarts for who receives with redelivery; so many lives may die.
func (p *play) restartsAgain(process, name string, a again, lives int) {
	p.diesAgain(process, func() {
		next, id := process+"'", p.grant()
		p.Serve(next, next, func() {
			p.enter(next, id)
			if lives > 1 {
				p.restartsAgain(next, name, a, lives-1)
			}
			p.serveAgain(next, name, a)
		})
	})
}

// auditAgain checks what became of a message that may be handled more than once.
func (p *play) auditAgain(e *entry) error {
	over := 0
	for _, id := range e.begun {
		if p.ended[id] {
			over++
		}
	}
	gaveUp := errors.Is(e.why, context.Canceled)
	switch {
	case len(e.begun) > e.most:
		return errors.New("handled too often")
	case e.done > 1:
		return errors.New("two handlings ended it")
	case e.letters > 1:
		return errors.New("two dead letters")
	case e.call && e.letters > 0:
		return errors.New("a call became a dead letter")
	case e.done > 0 && e.letters > 0:
		return errors.New("handled and a dead letter")
	case len(e.begun) > e.done+e.crashed+over:
		return errors.New("a handling never ended")
	case e.letters > 0 && e.reason == shm.Exhausted && e.tries < e.most && e.tries < cmp.Or(p.least, e.most):
		return errors.New("given up before its attempts were used up")
	case e.letters > 0 && slices.Contains([]shm.Reason{shm.WorkerDied, shm.Crashed}, e.reason) && e.most > 1 && !p.closed:
		return errors.New("a dead letter for a death, and not for too many")
	case errors.Is(e.why, shm.ErrCorrupt):
		return errors.New("corrupt")
	case e.due > 0 && e.due == len(e.begun) && e.letters == 0 && !(e.call && (e.state == "calling" || gaveUp || p.closed)):
		return errors.New("was in hand and is lost")
	case e.state == "replied" && e.done+over == 0:
		return errors.New("a reply and no handler")
	}
	return nil
}

// closes is what closing a mailbox does beside the directory, which the next owner of a file makes anew.
func (p *play) closes(box *Mailbox) {
	m, err := p.owner.At(box.index)
	p.must(err)
	m.shut() // or it was, by a closer that died: closing again is no harm
	m.seal(shm.Stopped)
	m.wakeRoom()
}

// inherits lets the owner die while it closes a mailbox: the next one sweeps it, and closes what that left.
func (p *play) inherits(box *Mailbox) {
	old := p.owner.self
	p.Mortal("owner", func() {
		p.ended[old] = true
		delete(p.hubs, "owner")
		p.Go("heir", "heir", func() {
			letters := p.letters.index
			p.letters = nil
			p.owner = p.enter("heir", p.grant())
			m, err := p.owner.At(letters)
			p.must(err)
			p.owner.SetLetters(m)
			p.letters = m.Receiver()
			p.mourn("heir", "owner", old, func() {
				p.must(p.owner.Recover())
				p.closes(box)
			})
		})
	})
}

// drafts takes frames before anybody runs.
func (p *play) drafts(process string, size, n int) []Draft {
	list := make([]Draft, n)
	for i := range list {
		var err error
		list[i], err = p.hubs[process].Draft(size)
		p.must(err)
	}
	return list
}

// lets gives frames back, one after the other.
func (p *play) lets(process string, list []Draft) func() {
	h := p.hubs[process]
	return func() {
		for i := range list {
			h.Discard(&list[i])
		}
	}
}

// liveOn is one life of an actor that ends at the first order, or with the first message.
func (p *play) liveOn(m *Mailbox) (bits uint64) {
	rc := m.Receiver()
	defer rc.Close()
	msg, bits, err := rc.Receive(background)
	p.must(err)
	if bits == 0 {
		p.handle(rc, &msg, small)
	}
	return bits
}

// waitCall calls as an actor does that says for whom it waits.
func (p *play) waitCall(ctx context.Context, from, to *Mailbox, n uint64) {
	e := p.ledger.of(n)
	e.call, e.state = true, "calling"
	if from.WaitFor(to, uint32(n)) {
		p.Fail("call %d is said to close a circle", n)
	}
	d := p.draft(from.hub, n, small)
	d.Header.Sender, d.Header.Chain = from.index+1, n
	r, err := to.Call(ctx, d)
	from.WaitFor(nil, 0)
	if e.why = err; err != nil {
		p.note(n, &e.state, "failed")
		return
	}
	r.Release()
	p.note(n, &e.state, "replied")
}

// buried checks that each of so many messages is a dead letter, or was counted as one for which there was no room.
func (p *play) buried(letters *Mailbox, want uint64) error {
	got := p.seg.DeadLetterCounts()[shm.DroppedLetters]
	for rc := letters.Receiver(); ; got++ {
		msg, ok := rc.TryReceive()
		if !ok {
			break
		}
		msg.Release()
	}
	if got < want || got > want+uint64(len(p.ended)) { // who died over one that was dropped may have counted it
		return fmt.Errorf("%d dead letters, want %d", got, want)
	}
	return nil
}
