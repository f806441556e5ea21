//go:build shmactor_points

package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/shmactor/shmactor/internal/explore"
	"github.com/shmactor/shmactor/shm"
)

// play is one schedule of a scenario.
type play struct {
	*explore.Run
	seg     *shm.Segment
	lives   []shm.ProcessID // granted and entered, for those who are there from the start
	owner   *Hub
	hubs    map[string]*Hub
	letters *Receiver
	ledger  ledger
	ended   map[shm.ProcessID]bool
	mourned []*mourning
	halted  bool
	most    int               // attempts that the receiver with the most allows; 0 is without redelivery
	least   int               // attempts that the receiver with the fewest allows; 0 is as many as any
	closed  bool              // a mailbox was closed: calls in it end
	dying   map[string]func() // what is noted of a process when it dies
}

// scenario says what happens on a stage.
type scenario struct {
	name  string
	spans int64
	acts  func(p *play)
}

// mostParties is how many processes a scenario has from the start, beside the owner.
const mostParties = 3

// build makes the segment and the schedule's actors: the owner with its dead-letter mailbox, then those of the scenario.
func (sc *scenario) build(r *explore.Run) {
	p := &play{Run: r, hubs: map[string]*Hub{}, ledger: ledger{}, ended: map[shm.ProcessID]bool{}, dying: map[string]func(){}}
	spans := max(sc.spans, 2)
	var err error
	p.seg, err = shm.Create(shm.Options{
		Heap: true, Processes: 1 + mostParties + 3, Mailboxes: 3, RingBytes: 256, MessageBytes: spans << 16, MaxMessage: spans << 15,
	})
	p.must(err)
	p.Shared(&p.seg.Mailbox(0)[0])
	for range mostParties {
		id := p.grant()
		p.must(p.seg.Enter(id))
		p.lives = append(p.lives, id)
	}
	p.owner = p.join("owner", p.seg.ID(0))
	letters, err := p.owner.Create(lettersName, 4, 0)
	p.must(err)
	p.owner.SetLetters(letters)
	p.letters = letters.Receiver()
	sc.acts(p)
	p.End(p.check)
}

func (p *play) grant() shm.ProcessID {
	id, err := p.seg.Grant("process")
	p.must(err)
	return id
}

func (p *play) must(err error) {
	if err != nil {
		p.Fail("%v", err)
	}
}

// join makes the hub of a process.
func (p *play) join(process string, id shm.ProcessID) *Hub {
	var h *Hub
	p.Daemon(process, process+".bell", func() { h = Join(p.seg, id.Index()) })
	p.hubs[process] = h
	p.Cleanup(func() { h.Close(nil) })
	if p.letters != nil {
		h.SetLetters(p.letters.Mailbox)
	}
	return h
}

// enter makes the hub of a process that begins while others run.
func (p *play) enter(process string, id shm.ProcessID) *Hub {
	p.must(p.seg.Enter(id))
	return p.join(process, id)
}

// dies lets a process die: the owner sweeps it, and then happens what follows.
func (p *play) dies(process string, then func()) {
	h := p.hubs[process]
	p.Mortal(process, func() {
		if note := p.dying[process]; note != nil {
			note()
		}
		p.ended[h.self] = true
		delete(p.hubs, process)
		p.mourn("owner", process, h.self, then)
	})
}

// halts lets a process stop where it stands, alive: nobody sweeps it, and nobody else may wait for it.
func (p *play) halts(process string) {
	p.Mortal(process, func() { p.halted = true })
}

// mourn sweeps a process and then does what follows.
func (p *play) mourn(owner, process string, id shm.ProcessID, then func()) {
	work := &mourning{process, id, then}
	p.mourned = append(p.mourned, work)
	p.Go(owner, owner+" sweeps "+process, func() {
		for n, e := range p.ledger {
			p.Note(fmt.Sprint(n, "due", e.due)) // the frame will not say it any more
		}
		if _, err := p.owner.Sweep(id, process+" was killed"); err != nil && !errors.Is(err, shm.ErrNotFound) {
			p.Fail("sweep: %v", err)
		}
		if work.then != nil {
			work.then()
		}
		p.mourned = slices.DeleteFunc(p.mourned, func(m *mourning) bool { return m == work })
	})
}

// mourning is a sweep that was begun.
type mourning struct {
	process string
	id      shm.ProcessID
	then    func()
}

// succeeds lets the owner die: the next one takes over, sweeps it, and begins again what it had begun.
func (p *play) succeeds() {
	old := p.owner.self
	p.Mortal("owner", func() {
		p.ended[old] = true
		delete(p.hubs, "owner")
		left := p.mourned
		p.Go("heir", "heir", func() {
			letters := p.letters.index
			p.letters = nil
			p.owner = p.enter("heir", p.grant())
			m, err := p.owner.At(letters)
			p.must(err)
			p.owner.SetLetters(m)
			p.letters = m.Receiver()
			p.mourn("heir", "owner", old, nil)
			for _, work := range left {
				p.mourn("heir", work.process, work.id, work.then)
			}
		})
	})
}

// box makes a mailbox for two messages.
func (p *play) box(name string) *Mailbox {
	m, err := p.owner.Create(name, 2, 0)
	p.must(err)
	return m
}

// parties makes the hubs of processes that are there from the start.
func (p *play) parties(names ...string) {
	for i, name := range names {
		p.join(name, p.lives[i])
	}
}

// open opens a mailbox in a process.
func (p *play) open(process, name string) *Mailbox {
	m, err := p.hubs[process].Open(name)
	p.must(err)
	return m
}

// entry is what became of one message.
type entry struct {
	call    bool
	state   string // "", then accepted, refused, replied, failed
	why     error
	begun   []shm.ProcessID // who handled it
	done    int             // handlings that ended
	letters int
	reason  shm.Reason // of the dead letter
	tries   int        // as it says, or the handler that began last was told
	most    int        // handlings that are allowed; 0 is one
	crashed int        // handlings whose actor crashed
	over    bool       // a handler has ended the message
	due     int        // handlings after which it has to be handled again
	frame   shm.Frame
}

// ledger is what became of each message, by its number.
type ledger map[uint64]*entry

func (l ledger) of(n uint64) *entry {
	if l[n] == nil {
		l[n] = &entry{}
	}
	return l[n]
}

// draft makes a message with a number.
func (p *play) draft(h *Hub, n uint64, size int) *Draft {
	d, err := h.DraftWait(context.Background(), size)
	if err != nil {
		p.Fail("a draft of %d bytes: %v", size, err)
		return nil
	}
	b := make([]byte, size)
	binary.LittleEndian.PutUint64(b, n)
	binary.LittleEndian.PutUint64(b[size-8:], n)
	d.fill(b)
	return &d
}

const small = 16 // bytes of an ordinary message

// number reads a message's number, which stands at both of its ends.
func (p *play) number(b []byte, err error) uint64 {
	if err != nil || len(b) < 16 {
		p.Fail("a message of %d bytes: %v", len(b), err)
		return 0
	}
	n := binary.LittleEndian.Uint64(b)
	if last := binary.LittleEndian.Uint64(b[len(b)-8:]); last != n {
		p.Fail("a torn message: it begins as %d and ends as %d", n, last)
	}
	return n
}

// send sends a one-way message.
func (p *play) send(ctx context.Context, m *Mailbox, n uint64, size int) {
	e := p.ledger.of(n)
	d := p.draft(m.hub, n, size)
	e.state = "sending"
	if e.why = m.Send(ctx, d); e.why != nil {
		p.note(n, &e.state, "refused")
		return
	}
	p.note(n, &e.state, "accepted")
}

// trySend sends a one-way message if there is room.
func (p *play) trySend(m *Mailbox, n uint64, size int) {
	e := p.ledger.of(n)
	d := p.draft(m.hub, n, size)
	e.state = "sending"
	if e.why = m.TrySend(d); e.why != nil {
		p.note(n, &e.state, "refused")
		return
	}
	p.note(n, &e.state, "accepted")
}

// call calls and looks at the reply, which is the number with one added.
func (p *play) call(ctx context.Context, m *Mailbox, n uint64, size int) {
	e := p.ledger.of(n)
	e.call, e.state = true, "calling"
	r, err := m.Call(ctx, p.draft(m.hub, n, size))
	if e.why = err; err != nil {
		p.note(n, &e.state, "failed")
		return
	}
	if got := p.number(r.Bytes()); got != n+1 {
		p.Fail("call %d got the reply %d", n, got)
	}
	r.Release()
	p.note(n, &e.state, "replied")
}

// note notes what became of a message.
func (p *play) note(n uint64, state *string, what string) {
	*state = what
	p.Note(fmt.Sprint(n, what))
}

// receive takes one message.
func (p *play) receive(rc *Receiver) Message {
	msg, _, err := rc.Receive(context.Background())
	if err != nil {
		p.Fail("receive: %v", err)
	}
	return msg
}

// begin is what a handler does first.
func (p *play) begin(rc *Receiver, msg *Message) uint64 {
	n := p.number(msg.Bytes())
	e := p.ledger.of(n)
	e.begun = append(e.begun, rc.hub.self)
	p.Note(fmt.Sprint(n, "begun"))
	return n
}

// handle handles a message: it answers a call with size bytes.
func (p *play) handle(rc *Receiver, msg *Message, size int) uint64 {
	n := p.begin(rc, msg)
	if !msg.IsCall() {
		msg.Release()
	} else {
		p.answer(msg, n, size)
	}
	p.finished(n)
	return n
}

// finished is what a handler does last.
func (p *play) finished(n uint64) {
	p.ledger.of(n).done++
	p.Note(fmt.Sprint(n, "done"))
}

func (p *play) answer(msg *Message, n uint64, size int) {
	room, err := msg.Room(size)
	if err != nil {
		p.Fail("room for a reply: %v", err)
		return
	}
	binary.LittleEndian.PutUint64(room, n+1)
	binary.LittleEndian.PutUint64(room[size-8:], n+1)
	if err := msg.Answer(size, 0, 0); err != nil && !errors.Is(err, ErrReplied) {
		p.Fail("answer: %v", err)
	}
}

// serve handles all messages of a mailbox.
func (p *play) serve(process, name string, size int) {
	rc := p.open(process, name).Receiver()
	for {
		msg := p.receive(rc)
		p.handle(rc, &msg, size)
	}
}

// restarts lets the process that receives from a mailbox die, and has the next one take over.
func (p *play) restarts(process, name string, size int) {
	p.dies(process, func() {
		next, id := process+"'", p.grant()
		p.Serve(next, next, func() {
			p.enter(next, id)
			p.serve(next, name, size)
		})
	})
}

// check is what must hold when everybody has ended: the books balance, and the segment is whole.
func (p *play) check() error {
	var wrong []error
	for {
		msg, ok := p.letters.TryReceive()
		if !ok {
			break
		}
		e := p.ledger.of(p.number(msg.Bytes()))
		e.letters++
		e.reason, e.tries = msg.Header.Reason, int(msg.Header.Attempts)
		msg.Release()
	}
	for n, e := range p.ledger {
		if err := p.audit(e); err != nil {
			wrong = append(wrong, fmt.Errorf("message %d: %w (%+v)", n, err, *e))
		}
	}
	if p.halted { // in the middle of something
		return errors.Join(wrong...)
	}
	census, err := Check(p.seg)
	wrong = append(wrong, err)
	for id, n := range census.Held {
		if kept := p.kept(id); n != kept {
			wrong = append(wrong, fmt.Errorf("process %v holds %d frames and keeps %d", id, n, kept))
		}
	}
	for s, n := range census.States {
		if st := shm.State(s); n != 0 && st != shm.Free && st != shm.Held {
			wrong = append(wrong, fmt.Errorf("%d frames are left %v", n, st))
		}
	}
	for id := range p.ended {
		if p.seg.Alive(id) {
			wrong = append(wrong, fmt.Errorf("process %v is dead and lives", id))
		}
	}
	return errors.Join(wrong...)
}

func (p *play) kept(id shm.ProcessID) int {
	for _, h := range p.hubs {
		if h.self == id {
			return h.Kept()
		}
	}
	return 0
}

// audit checks what became of one message.
func (p *play) audit(e *entry) error {
	diedOver := slices.ContainsFunc(e.begun, func(id shm.ProcessID) bool { return p.ended[id] })
	if e.most > 0 {
		return p.auditAgain(e)
	}
	switch {
	case len(e.begun) > 1:
		return errors.New("handled twice")
	case e.letters > 1:
		return errors.New("two dead letters")
	case p.most > 1 && e.letters > 0 && e.reason == shm.WorkerDied && !p.closed:
		return errors.New("a dead letter for one death before it was begun")
	case e.done == 1 && e.letters > 0:
		return errors.New("handled and a dead letter")
	case len(e.begun) == 1 && e.done == 0 && !diedOver:
		return errors.New("its handling never ended")
	case e.state == "refused" && len(e.begun)+e.letters > 0:
		return errors.New("refused and yet delivered")
	case errors.Is(e.why, shm.ErrCorrupt):
		return errors.New("corrupt")
	case e.call && e.letters > 0:
		return errors.New("a call became a dead letter")
	case e.state == "replied" && len(e.begun) != 1:
		return errors.New("a reply and no handler")
	case e.state == "accepted" && len(e.begun)+e.letters == 0:
		return errors.New("lost")
	}
	return nil
}
