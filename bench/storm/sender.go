package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/shmactor/shmactor/actor"
)

const (
	// stuckTime is how long a message may take, however much is killed, before its sender counts as stuck.
	stuckTime = 30 * time.Second
	// deferredTime bounds a call whose token may get lost with its bearer.
	deferredTime = time.Second
)

// sender sends messages under its number and enters what becomes of them.
type sender struct {
	ledger *ledger
	sys    *actor.System
	index  uint64
	told   func(pid int) // of the death of a worker that had a call in hand
}

func (s *sender) ref(to uint64) actor.Ref[*target] {
	return targets.Ref(s.sys, s.ledger.shape.targetName(to))
}

// draft makes a message that is about to be sent. A sender whose numbers are used up does not send.
func (s *sender) draft(q request, flags uint32) (id uint64, b []byte, ok bool) {
	if q.ID, ok = s.ledger.draw(s.index); !ok {
		return 0, nil, false
	}
	b = q.seal()
	s.ledger.entries[q.ID].Or(entrySent | flags)
	return q.ID, b, true
}

// call calls a target and checks the reply.
func (s *sender) call(ctx context.Context, to uint64, q request) {
	flags := uint32(0)
	if q.Mode == modeLater || q.Mode == modeHand {
		flags = entryPut
	}
	id, b, ok := s.draft(q, flags)
	if !ok {
		return
	}
	reply, err := ask.Call(ctx, s.ref(to), b)
	outcome := uint32(entryTook)
	switch {
	case err == nil:
		r, whole := unseal(reply)
		if !whole || r.ID != id || r.Size != max(q.Reply, headBytes) {
			s.ledger.count(countTorn)
		}
	case errors.Is(err, actor.ErrCrashed):
		outcome = entryFailed | entryCrashed
	case errors.Is(err, actor.ErrWorkerDied):
		outcome = entryFailed
		s.mourn(err)
	case errors.Is(err, actor.ErrSystemEnded), errors.Is(err, actor.ErrNoSpace):
		outcome = entryFailed
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), flags == entryPut && errors.Is(err, actor.ErrStopped):
		outcome = entryFailed
	default:
		outcome = s.refused(to, err)
	}
	s.ledger.entries[id].Or(outcome)
}

// send sends a target a one-way message, and reports whether it was accepted.
func (s *sender) send(ctx context.Context, to uint64, q request) bool {
	id, b, ok := s.draft(q, entryOneWay)
	if !ok {
		return false
	}
	return s.sent(to, id, note.Send(ctx, s.ref(to), b))
}

// trySend is send that does not wait.
func (s *sender) trySend(to uint64, q request) bool {
	id, b, ok := s.draft(q, entryOneWay)
	if !ok {
		return false
	}
	return s.sent(to, id, note.TrySend(s.ref(to), b))
}

func (s *sender) sent(to, id uint64, err error) bool {
	outcome := uint32(entryTook)
	if err != nil {
		outcome = s.refused(to, err)
	}
	s.ledger.entries[id].Or(outcome)
	return err == nil
}

// refused is the outcome of an error that says that nothing was sent. Which errors these may be is part of the contract.
func (s *sender) refused(to uint64, err error) uint32 {
	for _, known := range []error{
		actor.ErrMailboxFull, actor.ErrNoSpace, actor.ErrCycle, actor.ErrSystemEnded, context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, known) {
			return entryRefused
		}
	}
	if to > s.ledger.shape.home() && (errors.Is(err, actor.ErrNotFound) || errors.Is(err, actor.ErrStopped)) {
		return entryRefused
	}
	complain("an unexpected error: %v", err)
	return entryRefused
}

// mourn tells which process died, as the error says.
func (s *sender) mourn(err error) {
	_, rest, ok := strings.Cut(err.Error(), "(pid ")
	digits, _, ends := strings.Cut(rest, ")")
	if pid, err := strconv.Atoi(digits); s.told != nil && ok && ends && err == nil {
		s.told(pid)
	}
}

// caller is one goroutine of the load.
type caller struct {
	sender
	rng *rand.Rand
}

// work sends until the storm is over.
func (c *caller) work(over <-chan struct{}) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		<-pause.C
		select {
		case <-over:
			return
		default:
		}
		c.one()
		pause.Reset(time.Duration(c.rng.Int64N(int64(pauseMax))))
	}
}

// pauseMax is the longest pause of a caller: with all of them at full speed there would be no time to start workers.
const pauseMax = 5 * time.Millisecond

// one sends one message of a random kind.
func (c *caller) one() {
	n := c.ledger.shape.targets()
	to := c.rng.Uint64N(n)
	q := request{Size: randomSize(c.rng), Reply: randomSize(c.rng), Peer: uint32(c.rng.Uint64N(n)), Mode: c.mode()}
	if c.rng.IntN(4) == 0 {
		q.Linger = c.rng.Uint32N(1500)
	}
	limit := stuckTime
	switch n := c.rng.IntN(100); {
	case n < 40:
		byReference := to == c.ledger.shape.home() // then a dead letter would not say which message it was
		if q.Mode == modeLater || q.Mode == modeHand || q.Mode == modePanic && byReference {
			q.Mode = modePlain
		}
		if n < 2 {
			c.trySend(to, q)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if !c.send(ctx, to, q) && ctx.Err() != nil {
			c.ledger.count(countStuck)
		}
		return
	case n < 50: // a caller that gives up
		limit = time.Duration(c.rng.Int64N(int64(3 * time.Millisecond)))
	case q.Mode == modeHand:
		limit = deferredTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c.call(ctx, to, q)
	if limit == stuckTime && ctx.Err() != nil {
		c.ledger.count(countStuck)
	}
}

func (c *caller) mode() mode {
	switch n := c.rng.IntN(200); {
	case n < 1:
		return modePanic
	case n < 15:
		return modeLater
	case n < 25:
		return modeHand
	case n < 40:
		return modeCall
	case n < 55:
		return modeSend
	case n < 70:
		return modeBurst
	}
	return modePlain
}
