package mailbox

// moreMutants are known-bad variants of redelivery, of turns and of what else moreScenarios plays.
var moreMutants = []mutant{
	{"a message in hand is named after its slot was emptied", "again at once", 0, 1, []edit{
		{"mailbox/receive.go", `
			r.rec[recHand].Store(uint64(hand)) // sync: in-hand
		}`, `
		}`},
		{"mailbox/receive.go", `
		r.rec[recHead].Store(r.head) // step: take.head`, `
		if hand != 0 {
			r.rec[recHand].Store(uint64(hand))
		}
		r.rec[recHead].Store(r.head)`},
	}},
	{"an attempt is not counted before the handler begins", "again at once", 0, 2, []edit{{"mailbox/redeliver.go", `
	r.rec[recHand].Store(uint64(m.hand)) // sync: in-hand
	return true`, `
	return true`}}},
	{"the word is cleared before the call has its end", "call again", 0, 1, []edit{{"mailbox/message.go", `
	err := m.handBack(to, why, flags)
	m.letGo()`, `
	m.letGo()
	err := m.handBack(to, why, flags)`}}},
	{"the sweep does not spare what is in hand", "again at once", 0, 1, []edit{{
		"mailbox/repair.go",
		`return s.queued[f.Index()] || w != 0 && !w.last()`, `return s.queued[f.Index()] || w != 0 && false`,
	}}},
	{"what is queued is received before what was in hand", "again", 0, 1, []edit{{"mailbox/receive.go", `
	if r.again != 0 {
		if msg`, `
	if r.again != 0 && !r.filled() {
		if msg`}}},
	{"a reply that was not given keeps its memory", "call again", 0, 1, []edit{{"mailbox/redeliver.go", `
		m.hub.pool.DropBody(f)`, `
		_ = f`}}},
	{"a body loses its name before it has a holder", "call again", 0, 2, []edit{{"shm/pool.go", `
	if !b.Move(attachedTo(f.index, f.gen), b.Word(self, Held)) {`, `
	f.head.body.Store(0)
	if !b.Move(attachedTo(f.index, f.gen), b.Word(self, Held)) {`}}},
	{"a reply is written over a request that may be needed again", "call again", 0, 1, []edit{{"mailbox/message.go", `
	if m.hand == 0 && m.body.IsZero() && n <= m.Frame.Cap() {`, `
	if m.body.IsZero() && n <= m.Frame.Cap() {`}}},
	{"the closer does not look for what is in hand", "close in hand", 0, 1, []edit{{"mailbox/mailbox.go", `
	if hand != 0 {
		held`, `
	if false {
		held`}}},
	{"the closer clears the word before it takes what is in hand", "close after a crash", 0, 1, []edit{{"mailbox/mailbox.go", `
	if hand != 0 {
		held`, `
	m.rec[recHand].Store(0)
	if hand != 0 {
		held`}}},
	{"the attempts that are left are not counted from the word", "attempts used up", 0, 0, []edit{{"mailbox/redeliver.go", `
	n := m.hand.attempts() + 1`, `
	n := 1`}}},
	{"a turn that was used stays when somebody counts it meanwhile", "what a turn left", 2, 2, []edit{{"shm/pressure.go", `
	for range 2 * turnLimit {
		w`, `
	for range 1 {
		w`}}},
	{"a turn that was used stays", "turn used", 1, 0, []edit{{"mailbox/room.go", `
		m.hub.passTurn(m.index)
		return`, `
		return`}}},
	{"who gives a turn back wakes nobody", "turn used", 1, 0, []edit{{"mailbox/room.go", `
		h.wakeRoom(rec, mailbox, 0)`, `
		_ = mailbox`}}},
	{"who used the turn for a frame wakes nobody", "what a turn left", 1, 0, []edit{{"shm/pool.go", `
				s.freed() // who left`, `
				// who left`}}},
	{"who gives a turn for a frame back wakes nobody", "turn for a frame handed back", 0, 0, []edit{{"shm/pressure.go", `
	if s.usedTurn(p) {
		s.offer()`, `
	if s.usedTurn(p) {
		_ = p`}}},
	{"an order reaches the next life", "order to a life", 1, 0, []edit{{"mailbox/receive.go", `
		if !w.of(r.orders) || w == r.orders {
			return 0`, `
		if w.bits() == 0 {
			return 0`}}},
	{"who ends a call does not ask which", "call back", 1, 0, []edit{{
		"mailbox/message.go",
		`rec[recWaitsFor].CompareAndSwap(waitsFor(head.Mailbox, uint32(head.Chain)), 0)`, `rec[recWaitsFor].Store(0)`,
	}}},
	{"who ends a call does not say that its caller waits no more", "call back", 1, 0, []edit{{"mailbox/message.go", `
	if head.Sender == 0 {`, `
	if head.Sender != 0 {`}}},
}
