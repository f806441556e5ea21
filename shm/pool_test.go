package shm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
)

// oracle knows who has which memory: one word for each 64 bytes.
type oracle struct {
	s      *Segment
	blocks []atomic.Int32
}

func newOracle(s *Segment) *oracle { return &oracle{s, make([]atomic.Int32, s.geo.spans*spanSize/64)} }

func (o *oracle) each(f Frame, visit func(*atomic.Int32) bool) bool {
	from, to := (f.off-frameHeader-o.s.geo.frameOff)/64, (f.off+f.size-o.s.geo.frameOff)/64
	for i := from; i < to; i++ {
		if !visit(&o.blocks[i]) {
			return false
		}
	}
	return true
}

// give records that who got f; it is false when somebody has some of it.
func (o *oracle) give(f Frame, who int32) bool {
	return o.each(f, func(b *atomic.Int32) bool { return b.CompareAndSwap(0, who) })
}

func (o *oracle) take(f Frame, who int32) bool {
	return o.each(f, func(b *atomic.Int32) bool { return b.CompareAndSwap(who, 0) })
}

// sizeOf draws a size: mostly small, sometimes a run.
func sizeOf(rng *rand.Rand, most int) int {
	switch rng.IntN(8) {
	case 0:
		return rng.IntN(most)
	case 1, 2:
		return rng.IntN(spanSize - frameHeader)
	default:
		return rng.IntN(2000)
	}
}

// worker gets, uses and frees frames for a number of rounds.
func (o *oracle) work(p *Pool, who int32, rounds int) error {
	rng := rand.New(rand.NewPCG(uint64(who), 1))
	var have []Frame
	drop := func(i int) error {
		f := have[i]
		have[i] = have[len(have)-1]
		have = have[:len(have)-1]
		if b := f.Payload(); b[0] != byte(who) || b[len(b)-1] != byte(who) || f.Header().Chain != uint64(who) {
			return fmt.Errorf("frame %d of %d was written by somebody else", f.Index(), who)
		}
		body, attached := f.Body()
		if !o.take(f, who) || attached && !o.take(body, who) {
			return fmt.Errorf("frame %d of %d was given out twice", f.Index(), who)
		}
		p.Put(f)
		return nil
	}
	for range rounds {
		if len(have) > 0 && (len(have) > 12 || rng.IntN(2) == 0) {
			if err := drop(rng.IntN(len(have))); err != nil {
				return err
			}
			continue
		}
		f, err := p.Get(sizeOf(rng, p.seg.MaxMessage()))
		if errors.Is(err, ErrNoSpace) {
			continue
		}
		if err != nil {
			return err
		}
		if !o.give(f, who) {
			return fmt.Errorf("frame %d was given to %d and belongs to another", f.Index(), who)
		}
		f.SetHeader(&Header{Chain: uint64(who)})
		b := f.Payload()
		b[0], b[len(b)-1] = byte(who), byte(who)
		if rng.IntN(4) == 0 {
			if body, err := p.Get(sizeOf(rng, p.seg.MaxMessage()/4)); err == nil {
				if !o.give(body, who) {
					return fmt.Errorf("body %d was given to %d and belongs to another", body.Index(), who)
				}
				f.Attach(body)
			}
		}
		have = append(have, f)
	}
	for len(have) > 0 {
		if err := drop(0); err != nil {
			return err
		}
	}
	p.Flush()
	return nil
}

// Several processes, with two goroutines each, in memory that is too small for them: no byte is given out twice, and in the end
// all is free.
func TestPoolsBesideEachOther(t *testing.T) {
	o := small()
	o.MaxMessage = 4 * spanSize
	s := create(t, o)
	oracle := newOracle(s)
	rounds := 4000
	if testing.Short() {
		rounds = 500
	}
	const processes, goroutines = 4, 2
	wrong := make(chan error, processes*goroutines)
	var group sync.WaitGroup
	for i := range processes {
		p := s.NewPool(enter(t, s, "p"))
		for j := range goroutines {
			group.Go(func() { wrong <- oracle.work(p, int32(i*goroutines+j+1), rounds) })
		}
		t.Cleanup(p.Flush)
	}
	group.Wait()
	close(wrong)
	for err := range wrong {
		if err != nil {
			t.Error(err)
		}
	}
	for i := range oracle.blocks {
		if who := oracle.blocks[i].Load(); who != 0 {
			t.Fatalf("block %d still belongs to %d", i, who)
		}
	}
	if !t.Failed() {
		wantClean(t, s)
		wantAll(t, s)
	}
}

// In a single span that is carved anew for nearly every frame, what one process has taken is not carved away by another.
func TestPoolsFightForOneSpan(t *testing.T) {
	o := small()
	o.MessageBytes, o.MaxMessage = spanSize, spanSize/2
	s := create(t, o)
	oracle := newOracle(s)
	wrong := make(chan error, 4)
	var group sync.WaitGroup
	for i := range 4 {
		p := s.NewPool(enter(t, s, "p"))
		group.Go(func() {
			who := int32(i + 1)
			rng := rand.New(rand.NewPCG(uint64(who), 1))
			for range roundsOf(20_000) {
				f, err := p.Get(classFrame(rng.IntN(len(classSizes) - 1)))
				if err != nil {
					continue
				}
				if !oracle.give(f, who) || f.Owner() != f.Word(p.self, Held) || !oracle.take(f, who) {
					wrong <- fmt.Errorf("frame %d of %d is also another's, or %v", f.Index(), who, f.Owner())
					return
				}
				p.Put(f)
				p.Flush()
			}
		})
	}
	group.Wait()
	close(wrong)
	for err := range wrong {
		t.Error(err)
	}
}

// The same with processes that die without a word, while the owner sweeps and others go on.
func TestPoolsAndDeaths(t *testing.T) {
	s := create(t, small())
	oracle := newOracle(s)
	rounds := 3000
	if testing.Short() {
		rounds = 500
	}
	wrong := make(chan error, 2)
	var group sync.WaitGroup
	for i := range 2 {
		p := s.NewPool(enter(t, s, "p"))
		group.Go(func() { wrong <- oracle.work(p, int32(i+1), rounds) })
	}
	var done atomic.Bool
	go func() { group.Wait(); close(wrong); done.Store(true) }()
	for life := 0; !done.Load(); life++ {
		id := enter(t, s, "dying")
		p := s.NewPool(id)
		rng := rand.New(rand.NewPCG(uint64(life), 7))
		for range 5 {
			f, err := p.Get(sizeOf(rng, 4*spanSize))
			if err != nil {
				continue
			}
			f.SetHeader(&Header{})
			if b, err := p.Get(sizeOf(rng, 4*spanSize)); err == nil {
				f.Attach(b)
				if rng.IntN(2) == 0 {
					f.head.body.Store(0) // it dies while it frees f
				}
			}
		}
		bury(t, s, id)
	}
	for err := range wrong {
		if err != nil {
			t.Error(err)
		}
	}
	wantAll(t, s)
}

// allocator is a process that gets and frees frames until it is killed.
func allocator() {
	s, err := AttachFile(os.NewFile(3, "segment"))
	if err != nil {
		die(err)
	}
	entry, _ := strconv.ParseUint(os.Args[1], 10, 32)
	if err := s.Enter(ProcessID(entry)); err != nil {
		die(err)
	}
	p := s.NewPool(ProcessID(entry))
	fmt.Println("ready")
	for seed := uint64(os.Getpid()); ; seed++ {
		if err := newOracle(s).work(p, int32(ProcessID(entry).Index()), 50); err != nil {
			die(err)
		}
	}
}

// A process that is killed at any moment of its work with frames leaves nothing that the sweep does not find.
func TestAllocatorIsKilled(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	o := small()
	o.Heap = false
	s, err := Create(o)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	kills := 25
	if testing.Short() {
		kills = 3
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range kills {
		id, err := s.Grant("allocator")
		must(t, err)
		cmd := testkit.Command(t, "allocator", fmt.Sprint(uint32(id)))
		cmd.ExtraFiles = []*os.File{s.File()}
		if line, _ := role(t, cmd); line != "ready" {
			t.Fatalf("it says %q", line)
		}
		p := s.NewPool(s.ID(0))
		for end := time.Now().Add(time.Duration(rng.IntN(10_000)) * time.Microsecond); time.Now().Before(end); {
			if f, err := p.Get(sizeOf(rng, 4*spanSize)); err == nil {
				p.Put(f)
			}
		}
		kill(t, cmd)
		bury(t, s, id)
		p.Flush()
		wantClean(t, s)
		wantAll(t, s)
		if t.Failed() {
			return
		}
	}
}
