package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// Histories of calls: each raises a total that the server keeps, by a value that no other call has, and the reply is the new total.

// caller calls, and gives some of the calls up.
func (p *player) caller() error {
	m, err := p.agent.box(p.box)
	if err != nil {
		return err
	}
	p.start()
	for n := range p.Ops {
		p.dawdle()
		e := event{What: doCall, Value: p.value(n)}
		ctx, cancel := context.Background(), func() {}
		if p.rng.IntN(8) == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(p.rng.IntN(8))*time.Microsecond)
		}
		from := sys.Exact()
		reply, err := m.CallBytes(ctx, binary.LittleEndian.AppendUint64(nil, uint64(e.Value)))
		cancel()
		switch {
		case err == nil:
			e.Outcome, e.Total = cameOK, int(binary.LittleEndian.Uint64(reply))
		case errors.Is(err, ErrStopped):
			e.Outcome = cameStopped
		case errors.Is(err, ErrCrashed):
			e.Outcome = cameCrashed
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrWorkerDied):
			e.Outcome = cameUnknown
		default:
			return err
		}
		if err := p.did(from, e); err != nil {
			return err
		}
	}
	return nil
}

// server answers calls until it is told to stop. Some it defers and answers later, in another order; some it fails after it has raised its
// total.
func (p *player) server() error {
	r, err := p.agent.receiver(command{Box: p.box})
	if err != nil {
		return err
	}
	defer p.retire(command{Box: p.box})
	s := &totaller{player: p, wrong: wrongServers[p.Mistake]}
	p.start()
	for {
		m, ok := r.TryReceive()
		if !ok {
			if err := s.settle(0); err != nil { // those who wait for it send nothing else
				return err
			}
			var bits uint64
			if m, bits, err = r.Receive(context.Background()); err != nil || bits != 0 {
				return err
			}
		}
		if err := s.handle(&m); err != nil {
			return err
		}
		if err := s.settle(p.rng.IntN(3)); err != nil {
			return err
		}
	}
}

// totaller is the server's state.
type totaller struct {
	*player
	total    int
	late     int // what a mistaken server has still to add
	deferred []owed
	wrong    func(s *totaller, by int) (total int) // nil: as it should be
}

// owed is a reply to a call that was deferred.
type owed struct {
	token Token
	total int
}

func (s *totaller) handle(m *Message) error {
	b, err := m.Bytes()
	if err != nil {
		return err
	}
	by := int(binary.LittleEndian.Uint64(b))
	switch s.rng.IntN(16) {
	case 0:
		s.raise(by)
		return gone(m.Fail(shm.Crashed, "after it was run"))
	case 1, 2, 3, 4:
		o := owed{m.Token(), s.raise(by)}
		if err := m.Defer(); err != nil {
			return gone(err)
		}
		s.deferred = append(s.deferred, o)
		return nil
	}
	return gone(m.Reply(binary.LittleEndian.AppendUint64(nil, uint64(s.raise(by)))))
}

func (s *totaller) raise(by int) int {
	if s.wrong != nil {
		return s.wrong(s, by)
	}
	s.total += by
	return s.total
}

// settle answers deferred calls, the latest first, until so many are left.
func (s *totaller) settle(left int) error {
	for len(s.deferred) > left {
		last := s.deferred[len(s.deferred)-1]
		s.deferred = s.deferred[:len(s.deferred)-1]
		m, err := s.hub.Claim(last.token)
		if err == nil {
			err = m.Reply(binary.LittleEndian.AppendUint64(nil, uint64(last.total)))
		}
		if gone(err) != nil {
			return err
		}
	}
	return nil
}

// gone drops the news that a caller has given up.
func gone(err error) error {
	if errors.Is(err, ErrReplied) {
		return nil
	}
	return err
}

// wrongServers make mistakes, by what calls then seem to do.
var wrongServers = map[string]func(s *totaller, by int) int{
	"runs a call twice": func(s *totaller, by int) int {
		s.total += 2 * by
		return s.total
	},
	"answers a call that it does not run": func(s *totaller, by int) int { return s.total + by },
	"gives the reply of the call before": func(s *totaller, by int) int {
		before := s.total
		s.total += by
		return before
	},
	"runs a call after its reply": func(s *totaller, by int) int {
		before := s.total
		s.total += s.late
		s.late = by
		return before + by
	},
}

// callHistory records what callers do with a server that is restarted once, in order or after a kill, and closed at the end.
func (rec *recording) callHistory(mistake string, victim *party) []event {
	rec.t.Helper()
	box, name, s := rec.begin(4)
	s.Mistake = mistake
	turn := func(client int, role string) *act {
		s := s
		s.Client, s.Role, s.Ops = client, role, 14
		p := rec.places[(client+rec.number)%len(rec.places)]
		if p.gone {
			p = rec.w.me
		}
		return played(rec.t, p, name, s, p == victim)
	}
	serve := func(client int) *act { // returns when it would see that it is told to stop
		before := box.epoch()
		a := turn(client, "server")
		testkit.Eventually(rec.t, limit, "the server is there", func() bool { return box.epoch() != before })
		return a
	}
	first := serve(firstEnd)
	callers := []*act{turn(others, "caller"), turn(others+1, "caller"), turn(others+2, "caller")}
	for end := s.Start + rec.rng.Int64N(int64(100*time.Microsecond)); sys.Exact() < end; {
		sys.Yield()
	}
	restart := event{Client: theOwner, What: doRestart, Outcome: cameOK, From: sys.Exact()}
	if victim != nil {
		victim.kill()
		rec.w.sweep(victim, text)
	}
	if first.p != victim {
		must(rec.t, box.Control(ControlStop))
		first.mustPlay()
	}
	restart.To = sys.Exact()
	second := serve(secondEnd)
	history := []event{restart}
	for _, a := range callers[1:] { // the close meets the calls of the first
		history = append(history, a.called()...)
	}
	must(rec.t, box.Control(ControlStop))
	second.mustPlay()
	history = append(history, rec.close(box), rec.lateCall(box))
	history = append(history, callers[0].called()...)
	return rec.done(name, history)
}

func (m *Mailbox) epoch() uint32 { return consumerWord(m.rec[recConsumer].Load()).epoch() }

// called are the events of a caller.
func (a *act) called() []event {
	a.t.Helper()
	did, whole := a.events()
	if !whole && len(did) < a.Ops {
		did = append(did, a.inDoubt(did, doCall))
	}
	return did
}

// lateCall calls after the close.
func (rec *recording) lateCall(box *Mailbox) event {
	rec.t.Helper()
	from := sys.Exact()
	_, err := box.CallBytes(within(rec.t), make([]byte, 8))
	want(rec.t, "a call after the close", err, ErrStopped)
	return event{Client: theOwner, What: doCall, Outcome: cameStopped, From: from, To: sys.Exact()}
}

// What callers see of a server is what they would see of a counter in the hands of one at a time. A call that was given up or whose
// server died has its effect once, at any time, or not at all.
func TestCallsAreLinearizable(t *testing.T) {
	for _, b := range backings {
		t.Run(string(b), func(t *testing.T) {
			rec := newRecording(t, b, 2)
			for range histories(80) {
				if history := rec.callHistory("", nil); !linearizable(t, counterModel, history) {
					t.Fatalf("no order of these calls is that of a counter:\n%s", show(history))
				}
			}
			rec.want("call ok", "call crashed", "call stopped", "restart ok", "close ok")
		})
	}
}

// The same while processes that call or serve are killed.
func TestCallsAreLinearizableWhenProcessesAreKilled(t *testing.T) {
	rec := newRecording(t, asProcess, 1)
	for range histories(60) {
		victim := rec.w.peer()
		rec.places = append(rec.places[:2:2], victim)
		if history := rec.callHistory("", victim); !linearizable(t, counterModel, history) {
			t.Fatalf("no order of these calls is that of a counter:\n%s", show(history))
		}
	}
	rec.want("call ok", "call unknown", "call stopped", "restart ok", "close ok")
}

// The check finds mistakes of a server.
func TestMistakesOfCallsAreFound(t *testing.T) {
	for _, mistake := range slices.Sorted(maps.Keys(wrongServers)) {
		t.Run(mistake, func(t *testing.T) {
			rec := newRecording(t, onHeap, 2)
			found, tries := 0, max(10, histories(30))
			for range tries {
				if !linearizable(t, counterModel, rec.callHistory(mistake, nil)) {
					found++
				}
			}
			t.Logf("found in %d of %d histories", found, tries)
			if found == 0 {
				t.Errorf("a server that %s passes for a counter", mistake)
			}
		})
	}
}

// What a killed client was at began after the last that it recorded, also after one that it gave up, which has no end.
func TestOperationInDoubt(t *testing.T) {
	a := &act{script: script{Client: others, Start: 10}}
	ended := event{Outcome: cameOK, From: 20, To: 30}
	givenUp := event{Outcome: cameUnknown, From: 40, To: never}
	for _, tt := range []struct {
		did  []event
		from int64
	}{
		{nil, 10},
		{[]event{ended}, 30},
		{[]event{ended, givenUp}, 40},
	} {
		e := a.inDoubt(tt.did, doCall)
		if e.From != tt.from || e.To != never || e.Value != a.value(len(tt.did)) {
			t.Errorf("after %v: %v, want one from %d on", tt.did, e, tt.from)
		}
	}
}
