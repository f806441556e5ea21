package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// A script says what four parties do at the same time in one small segment: two processes that send, call, receive and answer,
// the owner's housekeeping, and one that scribbles. Whatever it says: every operation ends, nobody panics.

// step is one order of a script: six bytes.
type step struct {
	who, op uint8
	a, b    uint16
}

const (
	stepBytes = 6
	mostSteps = 400
	players   = 4 // owner, peer, housekeeper, scribbler

	fuzzSpans  = 8
	fuzzFrames = fuzzSpans * 64 << 10
)

// steps reads a script: who does what, in the order of each.
func steps(script []byte) (of [players][]step) {
	for n := 0; n < mostSteps && len(script) >= stepBytes; n++ {
		s := step{script[0], script[1], binary.LittleEndian.Uint16(script[2:]), binary.LittleEndian.Uint16(script[4:])}
		of[s.who%players] = append(of[s.who%players], s)
		script = script[stepBytes:]
	}
	return of
}

// fuzzPlayer is a party that uses mailboxes.
type fuzzPlayer struct {
	hub  *Hub
	rx   *Receiver
	msgs []Message
	toks []Token
	rng  *rand.Rand // for the present step
}

// soon is a short time for an operation that waits.
func (p *fuzzPlayer) soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(p.rng.IntN(300))*time.Microsecond)
}

// box is some mailbox, as its record is now, or the fuzzPlayer's own.
func (p *fuzzPlayer) box() *Mailbox {
	m, err := p.hub.At(p.rng.Uint32N(10))
	if err != nil {
		return p.rx.Mailbox
	}
	return m
}

// play does one step.
func (p *fuzzPlayer) play(s step) {
	p.rng = rand.New(rand.NewPCG(uint64(s.a), uint64(s.b)))
	switch s.op % 16 {
	case 0:
		_ = p.box().TrySendBytes(make([]byte, p.rng.IntN(300)))
	case 1:
		ctx, cancel := p.soon()
		defer cancel()
		_ = p.box().SendBytes(ctx, make([]byte, p.rng.IntN(fuzzFrames/2)))
	case 2, 3:
		ctx, cancel := p.soon()
		defer cancel()
		_, _ = p.box().CallBytes(ctx, make([]byte, p.rng.IntN(1000)))
	case 4, 5:
		if m, ok := p.rx.TryReceive(); ok {
			p.msgs = append(p.msgs, m)
		}
	case 6:
		ctx, cancel := p.soon()
		defer cancel()
		if m, bits, err := p.rx.Receive(ctx); err == nil && bits == 0 {
			p.msgs = append(p.msgs, m)
		}
	case 7, 8:
		p.finish()
	case 9:
		p.claim()
	case 10:
		_ = p.box().Control(p.rng.Uint64())
	case 11:
		p.box().WaitFor(p.box(), 0)
	case 12:
		if d, err := p.hub.Draft(p.rng.IntN(fuzzFrames)); err == nil {
			p.hub.Discard(&d)
		}
	case 13:
		ctx, cancel := p.soon()
		defer cancel()
		_ = p.rx.Above(ctx, p.rng.IntN(4))
	case 14:
		if n := len(p.msgs); n > 0 {
			p.rx.Begin(&p.msgs[n-1])
		}
	case 15:
		p.rx.Close()
		p.rx = p.rx.Mailbox.Receiver()
		p.rx.Redeliver(p.rng.IntN(4))
	}
}

// claim answers a deferred call, or what a token from nowhere names.
func (p *fuzzPlayer) claim() {
	t := Token{p.rng.Uint32N(1 << 12), p.rng.Uint32N(3)}
	if n := len(p.toks); n > 0 {
		t = p.toks[n-1]
		p.toks = p.toks[:n-1]
	}
	_ = p.hub.Due(t)
	if m, err := p.hub.Claim(t); err == nil {
		p.msgs = append(p.msgs, m)
	}
}

// finish ends a message in some way.
func (p *fuzzPlayer) finish() {
	if len(p.msgs) == 0 {
		return
	}
	m := p.msgs[len(p.msgs)-1]
	p.msgs = p.msgs[:len(p.msgs)-1]
	if b, err := m.Bytes(); err == nil {
		_ = string(b) // every byte of it is there
	}
	_, _, _ = m.Value()
	switch p.rng.IntN(8) {
	case 0:
		_ = m.Reply(make([]byte, p.rng.IntN(1000)))
	case 1:
		_ = m.Reply(make([]byte, p.rng.IntN(fuzzFrames/2)))
	case 2:
		_ = m.Fail(shm.Crashed, "why")
	case 3:
		if m.Defer() == nil {
			p.toks = append(p.toks, m.Token())
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

// keep is the owner's housekeeping.
func (p *fuzzPlayer) keep(s step) {
	p.rng = rand.New(rand.NewPCG(uint64(s.a), uint64(s.b)))
	seg := p.hub.Segment()
	switch s.op % 8 {
	case 0:
		_, _ = Check(seg)
	case 1:
		_ = p.hub.Audit()
	case 2:
		in, seen := NewInspector(seg), Snapshot{}
		in.Look(&seen)
		in.Look(&seen)
	case 3: // a process comes, takes some frames, and dies
		if id, err := seg.Grant("mayfly"); err == nil {
			_ = seg.Enter(id)
			pool := seg.NewPool(id)
			for range p.rng.IntN(5) {
				_, _ = pool.Get(p.rng.IntN(fuzzFrames / 4))
			}
			_, _ = p.hub.Sweep(id, "fuzzed")
		}
	case 4, 5:
		if m, err := p.hub.Create(fmt.Sprint(p.rng.IntN(4)), 1+p.rng.IntN(8), 0); err == nil {
			_ = m.TrySendBytes(nil)
			m.Close(shm.Stopped)
		}
	case 6:
		p.box().NextLife()
	case 7:
		_, _ = p.hub.Open("b")
		_ = seg.Name(p.rng.Uint32N(9))
	}
}

// scribble changes words of the file.
func scribble(t *testing.T, f *os.File, size int64, s step) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(s.a), uint64(s.b)))
	read := func(at int64) (w uint64) {
		var b [8]byte
		_, err := f.ReadAt(b[:], at)
		must(t, err)
		return binary.NativeEndian.Uint64(b[:])
	}
	const page = 4096
	tables := (size - fuzzFrames) / page // each starts on a page
	for range 1 + rng.IntN(4) {
		at := rng.Int64N(tables)*page + rng.Int64N(64)*8
		switch s.op % 4 {
		case 0:
			at = rng.Int64N(tables*page/8) * 8
		case 1: // a frame's header: most lie on these
			at = size - fuzzFrames + rng.Int64N(fuzzFrames/64)*64 + rng.Int64N(16)*8
		}
		w := read(at)
		switch s.op / 4 % 7 {
		case 0:
			w = rng.Uint64()
		case 1:
			w ^= 1 << rng.IntN(64)
		case 2:
			w += uint64(rng.IntN(5)) - 2
		case 3:
			w = ^uint64(0) >> rng.IntN(64)
		case 4:
			w = 0
		case 5: // what is right elsewhere
			w = read(rng.Int64N(tables)*page + rng.Int64N(64)*8)
		case 6: // one byte
			shift := 8 * rng.IntN(8)
			w = w&^(0xff<<shift) | uint64(rng.IntN(256))<<shift
		}
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], w)
		_, err := f.WriteAt(b[:], at)
		must(t, err)
	}
}

// stage is the segment with its players: the peer has a mapping of its own.
type stage struct {
	seg, there  *shm.Segment
	owner, peer fuzzPlayer
}

func newStage(t *testing.T) *stage {
	t.Helper()
	seg, err := shm.Create(shm.Options{Processes: 4, Mailboxes: 8, RingBytes: 512, MessageBytes: fuzzFrames, MaxMessage: fuzzFrames / 2})
	must(t, err)
	id, err := seg.Grant("peer")
	must(t, err)
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", seg.File().Fd()), os.O_RDWR, 0)
	must(t, err)
	there, err := shm.AttachFile(f)
	must(t, err)
	must(t, there.Enter(id))
	s := &stage{seg: seg, there: there}
	s.owner.hub = Join(seg, seg.Self())
	for _, name := range []string{"a", "b", lettersName} {
		_, err := s.owner.hub.Create(name, 4, 0)
		must(t, err)
	}
	s.peer.hub = joinAs(there, id.Index())
	letters, err := s.owner.hub.Open(lettersName)
	must(t, err)
	s.owner.hub.SetLetters(letters)
	for name, p := range map[string]*fuzzPlayer{"a": &s.owner, "b": &s.peer} {
		m, err := p.hub.Open(name)
		must(t, err)
		p.rx = m.Receiver()
	}
	return s
}

// perform carries a script out and lets go of everything.
func (s *stage) perform(t *testing.T, script []byte) {
	var all sync.WaitGroup
	run := func(steps []step, do func(step)) {
		all.Go(func() {
			for _, st := range steps {
				do(st)
			}
		})
	}
	parts := steps(script)
	keeper := fuzzPlayer{hub: s.owner.hub, rx: s.owner.rx}
	run(parts[0], s.owner.play)
	run(parts[1], s.peer.play)
	run(parts[2], keeper.keep)
	run(parts[3], func(st step) { scribble(t, s.seg.File(), s.seg.Size(), st) })
	all.Wait()
	for _, p := range []*fuzzPlayer{&s.owner, &s.peer} {
		p.rng = rand.New(rand.NewPCG(1, 1))
		for range len(p.msgs) {
			p.finish()
		}
		p.rx.Close()
	}
	s.owner.rx.Mailbox.Close(shm.SystemEnded)
	s.peer.hub.Close(ErrSystemEnded)
	_, _ = s.owner.hub.Sweep(s.peer.hub.Self(), "it left")
	s.owner.hub.Close(ErrSystemEnded)
}

// Whatever stands in a segment, and changes while they work: who works in it does not panic, does not fault, and comes to an
// end.
func FuzzSegment(f *testing.F) {
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, stepBytes*(50+rng.IntN(mostSteps)))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		needShared(t)
		s := newStage(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.perform(t, script)
		}()
		timer := time.NewTimer(testkit.Scale(limit))
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			stacks := make([]byte, 1<<20)
			t.Fatalf("it hangs:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
		must(t, s.there.Close())
		must(t, s.seg.Close())
	})
}
