package mailbox

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// fuzzed is a segment whose words were scribbled over, with two processes at work in it.
type fuzzed struct {
	t    *testing.T
	rng  *rand.Rand
	seg  *shm.Segment
	hubs []*Hub
	rx   []*Receiver
	msgs []Message
	toks []Token
	dead shm.ProcessID
}

const (
	fuzzSpans  = 8
	fuzzFrames = fuzzSpans * 64 << 10
)

func newFuzzed(t *testing.T, seed uint64) *fuzzed {
	t.Helper()
	seg, err := shm.Create(shm.Options{Processes: 4, Mailboxes: 8, RingBytes: 512, MessageBytes: fuzzFrames, MaxMessage: fuzzFrames / 2})
	must(t, err)
	z := &fuzzed{t: t, rng: rand.New(rand.NewPCG(seed, 1)), seg: seg}
	for _, name := range []string{"peer", "dead"} {
		id, err := seg.Grant(name)
		must(t, err)
		must(t, seg.Enter(id))
		z.dead = id
	}
	z.hubs = []*Hub{Join(seg, 0), Join(seg, 1)}
	for _, name := range []string{"a", "b", lettersName} {
		_, err := z.hubs[0].Create(name, 4, 0)
		must(t, err)
	}
	for _, h := range z.hubs {
		m, err := h.Open(lettersName)
		must(t, err)
		h.SetLetters(m)
	}
	z.rx = []*Receiver{z.open(0, "a").Receiver(), z.open(1, "b").Receiver()}
	z.rx[0].Redeliver(3)
	return z
}

func (z *fuzzed) open(hub int, name string) *Mailbox {
	z.t.Helper()
	m, err := z.hubs[hub].Open(name)
	must(z.t, err)
	return m
}

// scribble changes so many words: of the tables mostly, of frames sometimes.
func (z *fuzzed) scribble(words int) {
	z.t.Helper()
	f := z.seg.File()
	for range words {
		tables := (z.seg.Size() - fuzzFrames) / 8
		at := z.rng.Int64N(tables) * 8
		switch z.rng.IntN(4) {
		case 0: // a frame's header: most lie on these
			at = z.seg.Size() - fuzzFrames + z.rng.Int64N(fuzzFrames/64)*64 + z.rng.Int64N(16)*8
		case 1: // owner words and what spans are carved into are where most depends on
			at = (tables - 1 - z.rng.Int64N(30<<7)) * 8
		}
		at = min(at, z.seg.Size()-8)
		var b [8]byte
		_, err := f.ReadAt(b[:], at)
		must(z.t, err)
		w := binary.NativeEndian.Uint64(b[:])
		switch z.rng.IntN(6) {
		case 0:
			w = z.rng.Uint64()
		case 1:
			w ^= 1 << z.rng.IntN(64)
		case 2:
			w += uint64(z.rng.IntN(5)) - 2
		case 3:
			w = ^uint64(0) >> z.rng.IntN(64)
		case 4:
			w = 0
		case 5:
			_, err := f.ReadAt(b[:], z.rng.Int64N(tables)*8)
			must(z.t, err)
			w = binary.NativeEndian.Uint64(b[:])
		}
		binary.NativeEndian.PutUint64(b[:], w)
		_, err = f.WriteAt(b[:], at)
		must(z.t, err)
	}
}

// ops are what the processes do; each ends, whatever it meets.
func (z *fuzzed) ops() []func() {
	soon := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Duration(z.rng.IntN(300))*time.Microsecond)
	}
	hub := func() *Hub { return z.hubs[z.rng.IntN(2)] }
	box := func() *Mailbox {
		m, err := hub().At(uint32(z.rng.IntN(9)))
		if err != nil {
			return z.rx[0].Mailbox
		}
		return m
	}
	return []func(){
		func() { _ = box().TrySendBytes(make([]byte, z.rng.IntN(300))) },
		func() {
			ctx, cancel := soon()
			defer cancel()
			_ = box().SendBytes(ctx, make([]byte, z.rng.IntN(fuzzFrames/2)))
		},
		func() {
			ctx, cancel := soon()
			defer cancel()
			_, _ = box().CallBytes(ctx, make([]byte, z.rng.IntN(1000)))
		},
		func() {
			if m, ok := z.rx[z.rng.IntN(2)].TryReceive(); ok {
				z.msgs = append(z.msgs, m)
			}
		},
		func() {
			ctx, cancel := soon()
			defer cancel()
			if m, bits, err := z.rx[z.rng.IntN(2)].Receive(ctx); err == nil && bits == 0 {
				z.msgs = append(z.msgs, m)
			}
		},
		z.finish, z.finish,
		func() {
			if len(z.toks) > 0 {
				t := z.toks[len(z.toks)-1]
				z.toks = z.toks[:len(z.toks)-1]
				if m, err := hub().Claim(t); err == nil {
					z.msgs = append(z.msgs, m)
				}
			}
		},
		func() {
			if n := len(z.msgs); n > 0 {
				z.rx[0].Begin(&z.msgs[n-1])
			}
		},
		func() {
			z.rx[0].Close()
			z.rx[0] = z.rx[0].Mailbox.Receiver()
			z.rx[0].Redeliver(z.rng.IntN(4))
		},
		func() { _, _ = hub().Claim(Token{z.rng.Uint32N(1 << 12), z.rng.Uint32N(3)}) },
		func() { _ = box().Control(ControlPing) },
		func() { box().WaitFor(box(), 0) },
		func() { _, _ = hub().Open("b"); z.seg.Name(z.rng.Uint32N(9)) },
		func() {
			if d, err := hub().Draft(z.rng.IntN(fuzzFrames)); err == nil {
				hub().Discard(&d)
			}
		},
		func() { _, _ = Check(z.seg) },
		func() { _ = Inspect(z.seg) },
		func() { _, _ = z.hubs[0].Sweep(z.dead, "fuzzed") },
		func() {
			if m, err := z.hubs[0].Create("c", 1+z.rng.IntN(8), 0); err == nil {
				m.Close(shm.Stopped)
			}
		},
		func() { box().NextLife() },
	}
}

// finish ends a message in some way.
func (z *fuzzed) finish() {
	if len(z.msgs) == 0 {
		return
	}
	m := z.msgs[len(z.msgs)-1]
	z.msgs = z.msgs[:len(z.msgs)-1]
	_, _ = m.Bytes()
	_, _, _ = m.Value()
	switch z.rng.IntN(8) {
	case 0:
		_ = m.Reply(make([]byte, z.rng.IntN(1000)))
	case 1:
		_ = m.Reply(make([]byte, z.rng.IntN(fuzzFrames/2)))
	case 2:
		_ = m.Fail(shm.Crashed, "why")
	case 3:
		if m.Defer() == nil {
			z.toks = append(z.toks, m.Token())
		}
	case 4:
		m.Lend(shm.Stopped)
		m.Return()
	case 5:
		m.Release()
	case 6:
		m.Bury(shm.Crashed, nil)
	case 7:
		if !m.PutBack() {
			m.Release()
		}
	}
}

// run scribbles and works, in turn, and lets go of everything.
func (z *fuzzed) run(words int) {
	ops := z.ops()
	for range 40 {
		ops[z.rng.IntN(len(ops))]()
	}
	for range 4 {
		z.scribble(words)
		for range 60 {
			ops[z.rng.IntN(len(ops))]()
		}
	}
	for _, m := range []*Mailbox{z.rx[0].Mailbox, z.rx[1].Mailbox} {
		m.Close(shm.SystemEnded)
	}
	for _, h := range z.hubs {
		h.Close(ErrSystemEnded)
	}
}

// Whatever stands in a segment: who works in it does not panic and does not hang.
func FuzzSegment(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, uint16(1+seed*seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, words uint16) {
		needShared(t)
		z := newFuzzed(t, seed)
		done := make(chan struct{})
		go func() {
			defer close(done)
			z.run(int(words % 2000))
		}()
		timer := time.NewTimer(testkit.Scale(limit))
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			stacks := make([]byte, 1<<20)
			t.Fatalf("it hangs:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
		must(t, z.seg.Close())
	})
}
