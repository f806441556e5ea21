package shm

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
)

// tables is a segment that is worked in while its words change: frames come and go, names too, and those who only look look.
type tables struct {
	s    *Segment
	rng  *rand.Rand
	pool *Pool
	have []Frame
}

// play does one order: two bytes.
func (z *tables) play(op, arg byte) {
	s := z.s
	z.rng = rand.New(rand.NewPCG(uint64(op), uint64(arg)))
	switch op % 12 {
	case 0, 1:
		if f, err := z.pool.Get(z.rng.IntN(4 * spanSize)); err == nil {
			f.SetHeader(&Header{Length: 5})
			clear(f.Payload())
			z.have = append(z.have, f)
		}
	case 2:
		if n := len(z.have); n > 1 { // a body for another
			z.have[n-2].Attach(z.have[n-1])
			z.have = z.have[:n-1]
		}
	case 3, 4:
		if n := len(z.have); n > 0 {
			_, _ = z.have[n-1].Body()
			z.pool.Put(z.have[n-1])
			z.have = z.have[:n-1]
		}
	case 5:
		if f, err := s.FrameAt(z.rng.Uint32N(s.Frames() + 400)); err == nil {
			_, _ = f.Header(), string(f.Payload())
			_, _ = f.Body()
		}
	case 6:
		m := z.rng.Uint32N(9)
		_ = s.Insert(fmt.Sprint("name", arg%5), m)
		_, _ = s.Lookup(fmt.Sprint("name", op%5))
		s.Remove(z.rng.Uint32N(9))
	case 7:
		_, _ = s.Check()
		_ = s.Audit()
	case 8:
		_, _, _ = s.Usage(int(arg)), s.Info(), s.DeadLetterCounts()
		_, _ = s.RingBytes()
		_, _ = s.Process(uint32(arg))
	case 9:
		if id, err := s.Grant("mayfly"); err == nil {
			_ = s.Enter(id)
			_, _ = s.NewPool(id).Get(z.rng.IntN(spanSize))
			s.Condemn(id)
			s.Reclaim()
			s.Release(id)
		}
	case 10:
		s.Want(uint32(arg))
		s.Alarm()
		l := s.Listen(0)
		_ = l.Announce()
		l.Look()
		l.Ready(func(uint32) {})
		l.Calls(func(uint32) {})
		l.Awake()
	case 11:
		_, _ = s.NewRing(uint64(arg))
		z.pool.Flush()
	}
}

// scribble changes one word of the tables or of the frames' headers: six bytes.
func (z *tables) scribble(b []byte) {
	at := int64(binary.LittleEndian.Uint16(b)) * wordSize % z.s.geo.frameOff
	if b[2]&1 != 0 {
		at = z.s.geo.frameOff + int64(binary.LittleEndian.Uint16(b))*64%(z.s.geo.spans*spanSize-frameHeader) + int64(b[3]%16)*wordSize
		at -= at % wordSize
	}
	w := &z.s.mem.words(at, 1)[0]
	v := w.Load()
	switch b[4] % 5 {
	case 0:
		v ^= 1 << (b[5] % 64)
	case 1:
		v += uint64(int64(int8(b[5])))
	case 2:
		v = ^uint64(0) >> (b[5] % 64)
	case 3:
		v = z.s.mem.words(int64(b[5])*wordSize*8%z.s.geo.frameOff, 1)[0].Load()
	case 4:
		v = v&^(0xff<<(8*(b[3]%8))) | uint64(b[5])<<(8*(b[3]%8))
	}
	w.Store(v)
}

// Whatever the words of a segment become while it is worked in, on the heap or in a mapping: nobody panics, faults, or goes on
// for ever.
func FuzzTables(f *testing.F) {
	for seed := range uint64(16) {
		rng := rand.New(rand.NewPCG(seed, 2))
		orders, noise := make([]byte, 400), make([]byte, 6*(1<<(seed%8)))
		for _, b := range [][]byte{orders, noise} {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		}
		f.Add(seed%2 == 0, orders, noise)
	}
	f.Fuzz(func(t *testing.T, heap bool, orders, noise []byte) {
		if raceDetector {
			heap = false // headers and payloads are plain memory: the detector says what is scribbled there, and rightly
		}
		if !heap {
			needShared(t)
		}
		o := small()
		o.Heap = heap
		s, err := Create(o)
		must(t, err)
		z := tables{s: s, pool: s.NewPool(s.Entered(0))}
		done := make(chan struct{})
		go func() {
			defer close(done)
			var all sync.WaitGroup
			all.Go(func() {
				for ; len(orders) >= 2; orders = orders[2:] {
					z.play(orders[0], orders[1])
				}
			})
			all.Go(func() {
				for ; len(noise) >= 6; noise = noise[6:] {
					z.scribble(noise)
					runtime.Gosched()
				}
			})
			all.Wait()
		}()
		timer := time.NewTimer(testkit.Scale(20 * time.Second))
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			stacks := make([]byte, 1<<20)
			t.Fatalf("it hangs:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
		must(t, s.Close())
	})
}
