package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shmactor/shmactor/actor"
)

// target is the actor that messages are for. Its handlers send too.
type target struct {
	index  uint64
	ledger *ledger
}

// place is the argument of a target.
type place struct {
	Ledger string
	Index  uint64
}

var (
	targets = actor.NewKindWith("target", newTarget)
	ask     actor.Method[*target, []byte, []byte]
	note    actor.Method[*target, []byte, struct{}]
	flush   = actor.NewMethod(targets.Kind, "flush", (*target).flush)
)

// Handlers that use these methods themselves cannot stand in the initialisers of the variables.
func init() {
	ask = actor.NewMethod(targets.Kind, "ask", (*target).ask)
	note = actor.NewMethod(targets.Kind, "note", (*target).note)
}

func newTarget(p place) (*target, error) {
	l, err := ledgerOf(p.Ledger)
	return &target{p.Index, l}, err
}

// Init enters which process the actor lives in.
func (t *target) Init(context.Context) error {
	t.ledger.ready[t.index].Store(uint64(os.Getpid()))
	return nil
}

var errTorn = errors.New("the message is torn")

// receive reads a message and enters that it began.
func (t *target) receive(b []byte) (request, error) {
	q, whole := unseal(b)
	if !whole || !t.ledger.known(q.ID) {
		t.ledger.count(countTorn)
		return q, errTorn
	}
	t.ledger.begin(t.index, q.ID)
	if q.Linger > 0 {
		time.Sleep(time.Duration(q.Linger) * time.Microsecond)
	}
	if q.Mode == modePanic {
		panic("storm")
	}
	return q, nil
}

func (q *request) reply() []byte {
	r := request{ID: q.ID, Size: q.Reply}
	return r.seal()
}

// ask is a call.
func (t *target) ask(ctx context.Context, b []byte) ([]byte, error) {
	q, err := t.receive(b)
	if err != nil {
		return nil, err
	}
	switch q.Mode {
	case modeLater, modeHand:
		return nil, t.put(ctx, q)
	case modeCall, modeSend, modeBurst:
		t.turn(ctx, q)
	}
	t.ledger.done(q.ID)
	return q.reply(), nil
}

// put defers the answer: to another goroutine, or to another actor. A call whose caller has given up needs none.
func (t *target) put(ctx context.Context, q request) error {
	self, _ := actor.SelfOf(ctx)
	d, err := actor.Defer[[]byte](ctx)
	if err != nil {
		t.ledger.done(q.ID)
		return nil
	}
	if q.Mode == modeHand {
		s := sender{ledger: t.ledger, sys: self.System(), index: t.ledger.shape.callers + t.index}
		if s.trySend(uint64(q.Peer), request{Mode: modeAnswer, Other: q.ID, Token: d.Token, Reply: q.Reply}) {
			return nil
		}
	}
	go t.answer(self.System(), d, q)
	return nil
}

// answer answers a deferred call. Its caller may have given up, or the actor that deferred it may have died.
func (t *target) answer(sys *actor.System, d actor.Deferred[[]byte], q request) {
	t.ledger.done(q.ID)
	_ = d.Reply(sys, q.reply(), nil)
}

// turn sends a message of its own to another target, as any sender does. Its outcome is entered, and nothing else made of it. It
// does not wait for room: two handlers that did would wait for each other.
func (t *target) turn(ctx context.Context, q request) {
	self, _ := actor.SelfOf(ctx)
	s := sender{ledger: t.ledger, sys: self.System(), index: t.ledger.shape.callers + t.index}
	to := request{Size: q.Reply, Reply: q.Size, Mode: modePlain}
	switch q.Mode {
	case modeCall:
		s.call(ctx, uint64(q.Peer), to)
	case modeSend:
		s.trySend(uint64(q.Peer), to)
	case modeBurst:
		to.Size = 0
		for range burst {
			s.trySend(uint64(q.Peer), to)
		}
	}
}

const burst = 50

// note is a one-way message.
func (t *target) note(ctx context.Context, b []byte) (struct{}, error) {
	q, err := t.receive(b)
	if err != nil {
		return struct{}{}, err
	}
	switch q.Mode {
	case modeCall, modeSend, modeBurst:
		t.turn(ctx, q)
	case modeAnswer:
		self, _ := actor.SelfOf(ctx)
		d := actor.Deferred[[]byte]{Token: q.Token}
		if d.Waits(self.System()) {
			t.answer(self.System(), d, request{ID: q.Other, Reply: q.Reply})
		}
	}
	t.ledger.done(q.ID)
	return struct{}{}, nil
}

// flush is answered when everything before it has been.
func (t *target) flush(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }

// targetName is the name of a target.
func (s shape) targetName(index uint64) string {
	switch home := s.home(); {
	case index == home:
		return "target/main"
	case index > home:
		return fmt.Sprintf("guest/%d", index-home)
	}
	return fmt.Sprintf("target/%d/%d", index/2, index%2)
}
