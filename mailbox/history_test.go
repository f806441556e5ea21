package mailbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/shm"
)

// script is what one client of a history does.
type script struct {
	Client  int
	Role    string // senders, receivers, callers or servers
	Ops     int
	Seed    uint64
	Start   int64  // exact machine clock: all clients of a history begin at once
	Mistake string // what it is to do wrong, for the test of the check
	File    string // where it writes what it did, if it may be killed
}

// play carries out a script. What it did is in the answer, or, event by event, in a file that outlives it.
func (a *agent) play(o command) answer {
	var s script
	if err := json.Unmarshal(o.Data, &s); err != nil {
		return result(err)
	}
	var kept bytes.Buffer
	w := io.Writer(&kept)
	if s.File != "" {
		f, err := os.OpenFile(s.File, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return result(err)
		}
		defer f.Close() //nolint:errcheck // nothing is held back: each event is one write
		w = f
	}
	p := &player{agent: a, script: s, box: o.Box, out: json.NewEncoder(w), rng: rand.New(rand.NewPCG(s.Seed, uint64(s.Client)))}
	err := map[string]func() error{
		"sender": p.sender, "receiver": p.receiver, "caller": p.caller, "server": p.server,
	}[s.Role]()
	return answer{Fault: faultOf(err), Data: kept.Bytes()}
}

// player is a client at work.
type player struct {
	*agent
	script
	box string
	out *json.Encoder
	rng *rand.Rand
}

// start waits for the moment when all begin.
func (p *player) start() {
	for sys.Exact() < p.Start {
		sys.Yield()
	}
}

// dawdle lets some time pass, or none, so that clients meet at different places.
func (p *player) dawdle() {
	for range p.rng.IntN(4) * p.rng.IntN(100) {
		_ = sys.Exact()
	}
}

// did records an operation that began then and ended now.
func (p *player) did(from int64, e event) error {
	e.Client, e.From, e.To = p.Client, from, sys.Exact()
	if e.Outcome == cameUnknown {
		e.To = never
	}
	return p.out.Encode(e)
}

// value is the n-th value of a client; no two are the same.
func (s *script) value(n int) int { return s.Client<<8 | n }

// outcomeOf names the end of an attempt to send.
func outcomeOf(err error) (string, error) {
	switch {
	case err == nil:
		return cameOK, nil
	case errors.Is(err, ErrMailboxFull), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return cameFull, nil // it tried at least once before its time ended
	case errors.Is(err, ErrStopped):
		return cameStopped, nil
	}
	return "", err
}

// sendFunc sends a value, waiting for room until the context ends.
type sendFunc func(ctx context.Context, value int) error

func (p *player) sender() error {
	m, err := p.agent.box(p.box)
	if err != nil {
		return err
	}
	send := sendFunc(func(ctx context.Context, value int) error {
		if ctx == atOnce {
			return m.TrySendBytes(fmt.Append(nil, value))
		}
		return m.SendBytes(ctx, fmt.Append(nil, value))
	})
	if wrong := wrongSends[p.Mistake]; wrong != nil {
		send = wrong(send)
	}
	p.start()
	for n := range p.Ops {
		p.dawdle()
		e := event{What: doSend, Value: p.value(n)}
		ctx, cancel := p.patience()
		from := sys.Exact()
		err := send(ctx, e.Value)
		cancel()
		if e.Outcome, err = outcomeOf(err); err == nil {
			err = p.did(from, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// atOnce stands for the operations that do not wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// patience is how long a client waits: not at all, until a context ends that has ended, or a moment.
func (p *player) patience() (context.Context, context.CancelFunc) {
	switch p.rng.IntN(8) {
	case 0:
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx, cancel
	case 1, 2:
		return context.WithTimeout(context.Background(), time.Duration(p.rng.IntN(200))*time.Microsecond)
	}
	return atOnce, func() {}
}

// receiveFunc receives a value; ok is false when there was nothing, or nothing came before the context ended. The caller lets go of
// the message with done.
type receiveFunc func(ctx context.Context) (value int, ok bool, done func(), err error)

func (p *player) receiver() error {
	r, err := p.agent.receiver(command{Box: p.box})
	if err != nil {
		return err
	}
	defer p.retire(command{Box: p.box})
	receive := receiveFunc(func(ctx context.Context) (int, bool, func(), error) { return receiveValue(ctx, r) })
	if wrong := wrongReceives[p.Mistake]; wrong != nil {
		receive = wrong(receive)
	}
	p.start()
	for range p.Ops {
		p.dawdle()
		ctx, cancel := p.patience()
		from := sys.Exact()
		value, ok, done, err := receive(ctx)
		cancel()
		if err != nil {
			return err
		}
		e := event{What: doReceive, Value: value, Outcome: cameOK}
		if !ok {
			e.Outcome = cameEmpty
		}
		// First the record: a death before it makes the message a dead letter, which is a record as well.
		if err := p.did(from, e); err != nil {
			return err
		}
		if ok {
			done()
		}
	}
	return nil
}

func receiveValue(ctx context.Context, r *Receiver) (value int, ok bool, done func(), err error) {
	var m Message
	if ctx == atOnce {
		m, ok = r.TryReceive()
	} else {
		m, _, err = r.Receive(ctx)
		ok = err == nil
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			err = nil
		}
	}
	if !ok {
		return 0, false, nil, err
	}
	b, err := m.Bytes()
	if err != nil {
		return 0, false, nil, err
	}
	if _, err := fmt.Sscan(string(b), &value); err != nil {
		return 0, false, nil, fmt.Errorf("received %q: %w", b, err)
	}
	return value, true, m.Release, nil
}

// act is one script that a party plays.
type act struct {
	script
	t    *testing.T
	p    *party
	done <-chan answer
}

// played begins a script. What may be killed writes to a file.
func played(t *testing.T, p *party, box string, s script, mortal bool) *act {
	t.Helper()
	if mortal {
		s.File = filepath.Join(t.TempDir(), fmt.Sprint(s.Client))
		must(t, os.WriteFile(s.File, nil, 0o600))
	}
	data, err := json.Marshal(s)
	must(t, err)
	return &act{s, t, p, p.later(command{Op: "play", Box: box, Data: data})}
}

// events waits for the end of a script, or of the party that plays it, and returns what it did; whole is false if it was cut off.
func (a *act) events() (all []event, whole bool) {
	a.t.Helper()
	ended := soon(a.t, "a script is played", a.done)
	text := ended.Data
	if a.File != "" {
		var err error
		text, err = os.ReadFile(a.File)
		must(a.t, err)
	}
	for line := range bytes.Lines(text) {
		var e event
		must(a.t, json.Unmarshal(line, &e))
		all = append(all, e)
	}
	if !a.p.gone {
		must(a.t, ended.err())
	}
	return all, ended.err() == nil
}

// inDoubt is the operation that a party was at when it was killed: it began after the last that is recorded. Of one that was given up
// no end is recorded, only that it may have its effect at any time.
func (a *act) inDoubt(did []event, what string) event {
	e := event{Client: a.Client, What: what, Value: a.value(len(did)), Outcome: cameUnknown, From: a.Start, To: never}
	if len(did) > 0 {
		last := did[len(did)-1]
		if e.From = last.To; last.To == never {
			e.From = last.From
		}
	}
	return e
}

// recording makes one history after the other in one world.
type recording struct {
	t      *testing.T
	w      *world
	places []*party // where clients may run, the owner first
	rng    *rand.Rand
	number int
	seen   map[string]int // how often each outcome came
}

func newRecording(t *testing.T, b backing, peers int) *recording {
	t.Helper()
	w := newWorld(t, b, smallOptions())
	w.withLetters(64)
	rec := &recording{t: t, w: w, places: []*party{w.me}, rng: rand.New(rand.NewPCG(uint64(peers), 1)), seen: map[string]int{}}
	for range peers {
		rec.places = append(rec.places, w.peer())
	}
	return rec
}

// clients of a history, besides its senders or callers
const (
	theOwner  = 0
	firstEnd  = 1 // the first to receive or serve, and who comes after it
	secondEnd = 2
	others    = 3
)

// begin makes a mailbox for the next history, and says when it begins.
func (rec *recording) begin(capacity int) (box *Mailbox, name string, s script) {
	rec.number++
	name = fmt.Sprint("history ", rec.number)
	box = rec.w.create(name, capacity)
	for _, p := range rec.places {
		p.ask(command{Op: "open", Box: name}) // before it can be closed
	}
	delay := 100 * time.Microsecond // the orders are to arrive before it
	if rec.w.backing == asProcess {
		delay = 500 * time.Microsecond
	}
	return box, name, script{Seed: rec.rng.Uint64(), Start: sys.Exact() + int64(delay)}
}

// done closes the books of a history.
func (rec *recording) done(name string, history []event) []event {
	delete(rec.w.boxes, name)
	for _, e := range history {
		rec.seen[e.What+" "+e.Outcome]++
		if slices.ContainsFunc(history, func(o event) bool { return o.Client != e.Client && o.From < e.To && e.From < o.To }) {
			rec.seen[atATime]++
		}
	}
	return history
}

// queueHistory records what senders, two consumers one after the other, and the owner who closes the mailbox at the end do.
// A victim is a place whose process is killed meanwhile.
func (rec *recording) queueHistory(capacity int, mistake string, victim *party) []event {
	rec.t.Helper()
	box, name, s := rec.begin(capacity)
	s.Mistake = mistake
	turn := func(client int, role string, ops int) *act {
		s := s
		s.Client, s.Role, s.Ops = client, role, ops
		p := rec.places[(client+rec.number)%len(rec.places)]
		if p.gone {
			p = rec.w.me
		}
		return played(rec.t, p, name, s, p == victim)
	}
	senders := []*act{turn(others, "sender", 11), turn(others+1, "sender", 11), turn(others+2, "sender", 11)}
	first := turn(firstEnd, "receiver", 14)
	var letters []int
	if victim != nil {
		for end := s.Start + rec.rng.Int64N(int64(400*time.Microsecond)); sys.Exact() < end; {
			sys.Yield()
		}
		victim.kill()
		rec.w.sweep(victim, text)
		letters = rec.letters()
	}
	history := first.received(letters)
	history = append(history, turn(secondEnd, "receiver", 14).mustPlay()...)
	history = append(history, rec.close(box))
	for _, a := range senders {
		did, whole := a.events()
		if !whole && len(did) < a.Ops {
			did = append(did, a.inDoubt(did, doSend))
		}
		history = append(history, did...)
	}
	history = append(history, rec.late(box))
	return rec.done(name, history)
}

func (a *act) mustPlay() []event {
	a.t.Helper()
	did, whole := a.events()
	if !whole {
		a.t.Fatalf("client %d was cut off", a.Client)
	}
	return did
}

// received are the events of a consumer. If it was killed, what it had in its hands is a dead letter by now.
func (a *act) received(letters []int) []event {
	a.t.Helper()
	did, whole := a.events()
	if whole {
		return did
	}
	for _, value := range letters {
		if last := len(did) - 1; last >= 0 && did[last].Outcome == cameOK && did[last].Value == value {
			continue // recorded, and not released yet
		}
		e := a.inDoubt(did, doReceive)
		e.Value, e.Outcome, e.To = value, cameOK, sys.Exact()
		did = append(did, e)
	}
	return did
}

// letters takes the values of all dead letters.
func (rec *recording) letters() (values []int) {
	rec.t.Helper()
	texts, _ := rec.w.takeLetters()
	for _, text := range texts {
		var value int
		_, err := fmt.Sscan(text, &value)
		must(rec.t, err)
		values = append(values, value)
	}
	return values
}

// close closes the mailbox; what was in it is in the dead letters then, in order.
func (rec *recording) close(box *Mailbox) event {
	rec.t.Helper()
	e := event{Client: theOwner, What: doClose, Outcome: cameOK, From: sys.Exact()}
	box.Close(shm.Stopped)
	e.To = sys.Exact()
	e.Rest = rec.letters()
	return e
}

// late sends to a mailbox that was closed.
func (rec *recording) late(box *Mailbox) event {
	rec.t.Helper()
	e := event{Client: theOwner, What: doSend, Value: 1, From: sys.Exact()}
	var err error
	e.Outcome, err = outcomeOf(box.TrySendBytes([]byte("1")))
	must(rec.t, err)
	e.To = sys.Exact()
	return e
}

// atATime counts the operations that met another one.
const atATime = "met another"

// want fails the test unless some operations met, and each of these outcomes came, and tells how often.
func (rec *recording) want(kinds ...string) {
	rec.t.Helper()
	rec.t.Logf("%d histories: %v", rec.number, rec.seen)
	for _, kind := range append(kinds, atATime) {
		if rec.seen[kind] == 0 {
			rec.t.Errorf("in %d histories there was no %s", rec.number, kind)
		}
	}
}

// histories is how many a test records: fewer when time is short.
func histories(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

var queueOutcomes = []string{"send ok", "send full", "send stopped", "receive ok", "receive empty", "close ok"}

// What senders and receivers see of a mailbox is what they would see of a queue in the hands of one at a time.
func TestMailboxIsLinearizable(t *testing.T) {
	for _, b := range backings {
		t.Run(string(b), func(t *testing.T) {
			rec := newRecording(t, b, 2)
			for range histories(140) {
				capacity := 2 << rec.rng.IntN(2)
				if history := rec.queueHistory(capacity, "", nil); !linearizable(t, queueModel(capacity), history) {
					t.Fatalf("no order of these operations is that of a queue for %d:\n%s", capacity, show(history))
				}
			}
			rec.want(queueOutcomes...)
		})
	}
}

// The same while processes are killed: what they were at happened whole, or not at all.
func TestMailboxIsLinearizableWhenProcessesAreKilled(t *testing.T) {
	rec := newRecording(t, asProcess, 1)
	for range histories(60) {
		victim := rec.w.peer()
		rec.places = append(rec.places[:2:2], victim)
		capacity := 2 << rec.rng.IntN(2)
		history := rec.queueHistory(capacity, "", victim)
		if !linearizable(t, queueModel(capacity), history) {
			t.Fatalf("no order of these operations is that of a queue for %d:\n%s", capacity, show(history))
		}
	}
	rec.want("send ok", "receive ok", "close ok", "send stopped")
	if !testing.Short() {
		rec.want("send unknown")
	}
}

// The check finds mistakes: each of these senders and receivers makes one, on top of the real mailbox.
func TestMistakesOfAMailboxAreFound(t *testing.T) {
	for _, mistake := range slices.Concat(slices.Sorted(maps.Keys(wrongSends)), slices.Sorted(maps.Keys(wrongReceives))) {
		t.Run(mistake, func(t *testing.T) {
			rec := newRecording(t, onHeap, 2)
			found, tries := 0, max(10, histories(30))
			for range tries {
				if !linearizable(t, queueModel(16), rec.queueHistory(16, mistake, nil)) {
					found++
				}
			}
			t.Logf("found in %d of %d histories", found, tries)
			if found == 0 {
				t.Errorf("a mailbox that %s passes for a queue", mistake)
			}
		})
	}
}
