package mailbox

// mutants are known-bad variants of the protocol. Each is a few lines of the source with others in their place, and the play
// in which the explorer must find what is wrong with it, within so many preemptions and deaths.
var mutants = []mutant{
	{"the slot is emptied before the frame is taken", "send", 0, 1, []edit{
		{"mailbox/receive.go", `
		taken, f := r.take(w.frame())
		hand :=`, `
		ok := swap(r.ring, r.head&r.mask, w, emptySlot(lap+1))
		taken, f := r.take(w.frame())
		hand :=`},
		{"mailbox/receive.go", `if !swap(r.ring, r.head&r.mask, w, emptySlot(lap+1)) {`, `if !ok {`},
	}},
	{"the tail is moved before the slot is filled", "two senders", 0, 1, []edit{{"mailbox/send.go", `
		case swap(m.ring, tail&m.mask, w, fullSlot(lap, frame)):`, `
		case m.rec[recTail].CompareAndSwap(tail, tail+1) && swap(m.ring, tail&m.mask, w, fullSlot(lap, frame)):`}}},
	{"head is trusted after a restart", "laps", 0, 1, []edit{{"mailbox/receive.go", `
		if load(m.ring, head&m.mask).ahead(head>>m.shift) <= 0 {`, `
		if true {`}}},
	{"no lap in the slot word", "two senders", 1, 0, []edit{
		{"mailbox/layout.go", `return slotWord(lap << slotLapShift) }`, `return 0 }`},
		{"mailbox/layout.go", `return int64(uint64(w>>slotLapShift)-lap) << slotLapShift >> slotLapShift`, `return 0`},
	}},
	{"the sweep frees by owner without a look at the rings", "send", 0, 1, []edit{{"mailbox/repair.go", `
	if s.spares(f) {
		mine`, `
	if false {
		mine`}}},
	{"who finds no room does not ring", "stopped sender", 0, 1, []edit{{"mailbox/send.go", `
		if isFull(err) {`, `
		if false {`}}},
	{"the sweep frees nothing", "send", 0, 1, []edit{{"mailbox/repair.go", `
	s.hub.seg.Free(f)
	s.done.Freed++`, `
	s.done.Freed++`}}},
	{"the sweep does not ring", "send", 0, 1, []edit{{"mailbox/repair.go", `
	h.seg.Reclaim()
	h.alarm()`, `
	h.seg.Reclaim()`}}},
	{"the sweep wakes without moving the bell", "start", 1, 1, []edit{
		{"mailbox/repair.go", `h.wakeMailbox(m.Process(), m.index)`, `h.seg.SetReady(m.Process().Index(), m.index)`},
		{"shm/pressure.go", `
		s.Wake(p)`, `
		word.Wake(&halves(&s.process(p)[procBell])[0])`},
		{"shm/pressure.go", `import "math/bits"`, `import (
			"math/bits"

			"github.com/shmactor/shmactor/internal/word"
		)`},
	}},
	{"the bell is not moved", "start", 1, 0, []edit{{"shm/bell.go", `
		bell[0].Add(1) `, `
		`}}},
	{"the bell is read after the second look", "start", 1, 0, []edit{{"mailbox/hub.go", `
			l.Sleep(v)`, `
			_ = v
			l.Sleep(l.Announce())`}}},
	{"no second look of the waiter before it sleeps", "start", 1, 0, []edit{{"mailbox/hub.go", `
		if !look() && h.Err() == nil {`, `
		if h.Err() == nil {`}}},
	{"no second look of the receiver before it sleeps", "send", 1, 0, []edit{{"mailbox/receive.go", `
	if pending() { `, `
	if false { `}}},
	{"no second look for room", "full", 1, 0, []edit{{"mailbox/room.go", `
			m.wantRoom()
			if err := m.publish(d, flags); !isFull(err) {`, `
			m.wantRoom()
			if tries++; tries == 1 {
			} else if err := m.publish(d, flags); !isFull(err) {`}, {"mailbox/room.go", `
	sent := false
`, `
	sent, tries := false, 0
`}}},
	{"no second look for a frame, nor a ring of the own bell", "frames", 2, 0, []edit{{"mailbox/send.go", `
			h.seg.Want(h.self.Index())
			if d, err`, `
			h.seg.Want(h.self.Index())
			if tries++; tries == 1 {
			} else if d, err`}, {"mailbox/send.go", `
	wake, first := h.room.enter(queue)
`, `
	wake, first := h.room.enter(queue)
	tries := 0
`}, {"shm/pressure.go", `
	if s.header[hdrWanted].Or(bit)&bit == 0 {`, `
	if s.header[hdrWanted].Or(bit); false {`}}},
	{"who waits for a frame does not ask for those that others keep", "kept frames", 0, 0, []edit{{"shm/pressure.go", `
	if s.header[hdrWanted].Or(bit)&bit == 0 {`, `
	if s.header[hdrWanted].Or(bit); false {`}}},
	{"a verdict on a live process", "send", 1, 0, []edit{{"mailbox/explore_scenarios_test.go", `
		p.parties("P", "C")
		p.Go("P", "P", func() { p.send(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.dies("P", nil)
		p.restarts("C", "box", small)
	}},
	{name: "two senders"`, `
		p.parties("P", "C")
		p.Go("P", "P", func() { p.send(background, p.open("P", "box"), 1, small) })
		p.Serve("C", "C", func() { p.serve("C", "box", small) })
		p.mourn("owner", "P", p.hubs["P"].self, nil)
	}},
	{name: "two senders"`}}},
	{"a reply is handed over without a look at its caller, and the sweep does not say that it is dead", "late reply", 1, 0, []edit{
		{"mailbox/message.go", `
	if !h.seg.Alive(p) {`, `
	if false {`},
		{"mailbox/repair.go", `w.Has(shm.IsCall) && !w.Has(shm.Abandoned) && !seg.Alive(p) {`, `seg == nil && p == 0 {`},
	}},
	{"the sweep looks only at what the latest death left", "late reply", 1, 1, []edit{
		{"mailbox/repair.go", `w.Has(shm.IsCall) && !w.Has(shm.Abandoned) && !seg.Alive(p) {`, `seg == nil && p == 0 {`},
		{"mailbox/repair.go", `
	return !seg.Alive(w.Holder())
}

// inRings`, `
	return w.Holder() == s.dead
}

// inRings`},
	}},
	{"a refused reply frees without a comparison", "fence", 1, 0, []edit{{"mailbox/message.go", `
		if w.State() == shm.Lent {
			m.giveBack()`, `
		if w.State() == shm.Lent {
			h.pool.Put(f)`}}},
	{"the state of the mailbox is read before the slot", "close", 1, 0, []edit{
		{"mailbox/send.go", `
		tail := m.rec[recTail].Load()`, `
		st := m.state()
		tail := m.rec[recTail].Load()`},
		{"mailbox/send.go", `if st := m.state(); !st.open()`, `if !st.open()`},
	}},
	{"a mailbox is used again without a new incarnation", "used again", 0, 0, []edit{{"mailbox/mailbox.go", `
	m.incarnation = stateWord(m.rec[recState].Load()).incarnation() + 1`, `
	m.incarnation = stateWord(m.rec[recState].Load()).incarnation()`}}},
	{"the body of a reply has an owner of its own", "larger reply", 0, 1, []edit{
		{"shm/pool.go", `
	body.Set(attachedTo(f.index, f.gen))`, `
	// still held`},
		{"shm/pool.go", `if !ok || b.Owner() != attachedTo(f.index, f.gen) {`, `if !ok {`},
	}},
	{"giving up does not see that the message is taken", "timeout after timeout", 1, 0, []edit{{"mailbox/call.go", `
		case w.State() == shm.Deferred:`, `
		case w.State() == shm.Deferred, w.State() == shm.Taken:`}}},
	{"who waits for room is asked before there is any", "room for one", 1, 0, []edit{
		{"mailbox/receive.go", `
		taken, f := r.take(w.frame())`, `
		r.makeRoom()
		taken, f := r.take(w.frame())`},
		{"mailbox/receive.go", `
		r.rec[recHead].Store(r.head) // step: take.head
		r.makeRoom()`, `
		r.rec[recHead].Store(r.head) // step: take.head`},
	}},
	{"an abandoned call is not taken before its slot is emptied", "timeout and full", 1, 0, []edit{{"mailbox/call.go", `
		case f.Move(w, w.With(shm.Abandoned).Without(shm.Waiting)):`, `
		case w.State() == shm.Queued:
			if f.Move(w, f.Word(h.self, shm.Held)) {
				h.drop(f)
				return true
			}
		case f.Move(w, w.With(shm.Abandoned).Without(shm.Waiting)):`}}},
	{"a sender looks at the receiver before it publishes", "send", 1, 0, []edit{{"mailbox/send.go", `
	if err := m.push(f.Index()); err != nil {`, `
	before := consumerWord(m.rec[recConsumer].Load())
	defer func() {
		if before.parked() {
			m.signal()
		}
	}()
	if err := m.push(f.Index()); err != nil {`}, {"mailbox/send.go", `
		return err
	}
	m.signal()
	return nil`, `
		return err
	}
	return nil`}}},
	{"a new receiver looks at the ring before it says where it is", "move", 1, 0, []edit{{"mailbox/receive.go", `
	r.rec[recConsumer].Store(uint64(w | parkedBit)) `, `
	if pending() {
		return nil
	}
	pending = func() bool { return false }
	r.rec[recConsumer].Store(uint64(w | parkedBit)) `}}},
	{"the sweep gives up when its change is refused", "timeout", 1, 1, []edit{{"mailbox/repair.go", `
		if w.Generation() != f.Generation() || !s.concerns(f, w) || s.step(f, w) {
			return
		}`, `
		if w.Generation() == f.Generation() && s.concerns(f, w) {
			s.step(f, w)
		}
		return`}}},
	{"closing begins where head says", "close after a death", 0, 1, []edit{{"mailbox/mailbox.go", `
	head := m.recoverHead()
	held`, `
	head := m.rec[recHead].Load()
	held`}}},
	{"a frame goes to a cache in the generation that it had", "stale token", 0, 0, []edit{{"shm/pool.go", `
	f.gen++
	if u`, `
	if u`}}},
	{"who defers does not look whether the caller lives", "late defer", 1, 0, []edit{
		{"mailbox/message.go", `if !h.seg.Alive(m.Header.Caller) && f.Move(put, f.Word(h.self, shm.Held)) {`, `if false {`},
		{"mailbox/repair.go", `case shm.Taken, shm.Deferred, shm.Lent:`, `case shm.Lent:`},
	}},
	{"a message is buried without a holder that the sweep knows", "bury", 0, 1, []edit{{"mailbox/repair.go", `
	case st == shm.Lent && !noCaller:`, `
	case st == shm.Settling:
		return s.free(f, w)
	case st == shm.Lent && !noCaller:`}}},
	{"who takes a message does not ask for which use of the mailbox it is", "used again", 1, 0, []edit{
		{"mailbox/receive.go", `box != m.index || inc != m.incarnation ||`, `box != m.index || inc == 0 ||`},
		{"mailbox/send.go", `!st.open() || st.incarnation() != m.incarnation {`, `!st.open() {`},
	}},
	{"a span that was given back keeps the word of its frame", "several spans", 0, 1, []edit{{"shm/repair.go", `w.State() != Free && w.State() != Attached && !s.Alive`, `w.State() == Held && !s.Alive`}}},
	{"spans of a dead process are not reclaimed", "several spans", 0, 1, []edit{{"mailbox/repair.go", `
	h.seg.Reclaim()
`, `
`}}},
}
