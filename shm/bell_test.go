package shm

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
)

// Each bit that is set is taken once, wherever it lies.
func TestReadyBits(t *testing.T) {
	o := small()
	o.Mailboxes, o.RingBytes = 64*64+70, 8 // two words of the upper level
	s := create(t, o)
	l := s.Listen(0)
	take := func() (got []uint32) {
		l.Ready(func(m uint32) { got = append(got, m) })
		return got
	}
	for _, want := range [][]uint32{
		nil, {0}, {63}, {64}, {4095}, {4096}, {64*64 + 69}, {0, 1, 63, 64, 65, 127, 128, 4000, 4095, 4096, 4097, 4160},
	} {
		for _, m := range want {
			s.SetReady(0, m)
			s.SetReady(0, m) // twice is once
		}
		if got := take(); !slices.Equal(got, want) {
			t.Errorf("took %v, want %v", got, want)
		}
		if got := take(); got != nil {
			t.Errorf("took %v again", got)
		}
	}
	s.SetReady(0, uint32(o.Mailboxes))
	s.SetReady(0, 1<<32-1)
	s.SetReady(1, 5) // another process's
	if got := take(); got != nil {
		t.Errorf("took %v", got)
	}
	if got := take(); got != nil || !s.Listen(1).Ready(func(uint32) {}) {
		t.Errorf("the bit of process 1 is lost")
	}
}

// Bits that no correct program sets name no mailbox that is not there by far, and are gone after one look.
func TestScribbledReadyBits(t *testing.T) {
	s := create(t, small())
	l := s.Listen(0)
	for i := range l.ready {
		l.ready[i].Store(1<<64 - 1)
	}
	for i := range procName - procSummary {
		l.entry[procSummary+i].Store(1<<64 - 1)
	}
	for range 2 {
		l.Ready(func(m uint32) {
			if m >= 64*uint32(s.geo.readyWords) {
				t.Errorf("mailbox %d", m)
			}
		})
		l.Calls(func(n uint32) {
			if n >= CallNumbers {
				t.Errorf("call %d", n)
			}
		})
	}
}

func TestCallBits(t *testing.T) {
	s := create(t, small())
	l := s.Listen(0)
	take := func() (got []uint32) {
		l.Calls(func(n uint32) { got = append(got, n) })
		return got
	}
	for _, want := range [][]uint32{nil, {0}, {63, 64}, {CallNumbers - 1}, {0, 100, 1000, 4095}} {
		for _, n := range want {
			s.SetCall(0, n)
			s.SetCall(0, n)
		}
		if got := take(); !slices.Equal(got, want) {
			t.Errorf("took %v, want %v", got, want)
		}
		if got := take(); got != nil {
			t.Errorf("took %v again", got)
		}
	}
	s.SetCall(0, CallNumbers+7) // numbers come round
	if got := take(); !slices.Equal(got, []uint32{7}) {
		t.Errorf("took %v, want 7", got)
	}
}

// Whatever is scribbled into the word that says whether the waiter sleeps: the bell rings, unless it says exactly that he is
// awake.
func TestBellBelievesNobody(t *testing.T) {
	s := create(t, small())
	l := s.Listen(0)
	for _, scribbled := range []uint32{0, 1, 2, ^uint32(0), 0xdeadbeef, awake ^ 1, awake >> 8} {
		v := l.Announce()
		l.bell[1].Store(scribbled)
		s.Ring(0)
		if l.bell[0].Load() == v {
			t.Errorf("with %#x in the word nobody rings", scribbled)
		}
	}
}

// The sweep's alarm rings also where the word says that nobody sleeps, and the table that nobody is there.
func TestAlarm(t *testing.T) {
	s := create(t, small())
	l := s.Listen(3)
	v := l.Announce()
	l.Awake()
	s.Alarm()
	if l.bell[0].Load() == v || !l.Look() {
		t.Error("the alarm does not reach an entry that looks free and awake")
	}
}

func TestLook(t *testing.T) {
	s := create(t, small())
	l := s.Listen(0)
	if l.Look() {
		t.Error("nothing was said")
	}
	s.SetLook(0)
	s.SetLook(0)
	if !l.Look() || l.Look() {
		t.Error("the order is taken once")
	}
}

// A bell that rings after Announce ends the sleep that was announced; one that rings while nobody sleeps changes nothing.
func TestBellBeforeSleep(t *testing.T) {
	testkit.NoLeaks(t)
	s := create(t, small())
	l := s.Listen(0)
	l.Awake()
	before := l.bell[0].Load()
	s.Ring(0)
	if l.bell[0].Load() != before {
		t.Error("the bell rang for somebody who is awake")
	}
	v := l.Announce()
	s.Ring(0)
	awake := make(chan struct{})
	go func() { l.Sleep(v); close(awake) }()
	select {
	case <-awake:
	case <-testkit.Deadline(t, limit).Done():
		t.Fatal("it sleeps though the bell has rung")
	}
	l.Awake()
	if v := l.Announce(); v == before {
		t.Error("the bell did not change")
	}
	l.Awake()
}

// listenFor is a waiter as the hub has one: it looks, announces, looks once more, and sleeps.
func listenFor(l *Listen, done func() bool, look func() bool) {
	for !done() {
		if look() {
			continue
		}
		v := l.Announce()
		if !look() && !done() {
			l.Sleep(v)
		}
		l.Awake()
	}
}

// However the setters and the waiter meet, the waiter learns of the last thing that was said about each mailbox and call.
func TestNoWakeUpIsLost(t *testing.T) {
	for name, o := range map[string]Options{"heap": small(), "mapping": {Processes: 2, Mailboxes: 200, RingBytes: 8, MessageBytes: 1, MaxMessage: 1}} {
		t.Run(name, func(t *testing.T) {
			if !o.Heap {
				needShared(t)
			}
			o.Mailboxes = 200
			s := create(t, o)
			rounds := 5000
			if testing.Short() {
				rounds = 1000
			}
			const setters = 4
			var boxes, calls [200]atomic.Int64 // what was said
			seen := [2]map[uint32]int64{{}, {}}
			var news atomic.Int64
			var stop atomic.Bool
			l := s.Listen(0)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				listenFor(l, stop.Load, func() bool {
					any := l.Look()
					any = l.Ready(func(m uint32) { seen[0][m] = boxes[m].Load(); news.Add(1) }) || any
					return l.Calls(func(n uint32) { seen[1][n] = calls[n].Load(); news.Add(1) }) || any
				})
			}()
			var group sync.WaitGroup
			for i := range setters {
				group.Go(func() {
					for j := range rounds {
						at := news.Load()
						n := uint32((i*7 + j) % 200)
						if j%2 == 0 {
							boxes[n].Add(1)
							s.SetReady(0, n)
						} else {
							calls[n].Add(1)
							s.SetCall(0, n)
						}
						s.Ring(0)
						if j%16 == 0 { // let it fall asleep now and then
							testkit.Eventually(t, limit, "the waiter wakes", func() bool { return news.Load() != at })
						}
					}
				})
			}
			group.Wait()
			testkit.Eventually(t, limit, "the waiter has taken all bits", func() bool {
				for i := range l.ready {
					if l.ready[i].Load() != 0 {
						return false
					}
				}
				return l.entry[procSummary].Load() == 0
			})
			stop.Store(true)
			s.SetLook(0)
			s.Ring(0)
			<-ended
			for n := range uint32(200) {
				if seen[0][n] != boxes[n].Load() || seen[1][n] != calls[n].Load() {
					t.Fatalf("of mailbox %d the waiter knows %d of %d, of call %d %d of %d", n, seen[0][n], boxes[n].Load(), n,
						seen[1][n], calls[n].Load())
				}
			}
			if len(slices.Collect(maps.Keys(seen[0]))) == 0 {
				t.Error("nothing was said")
			}
		})
	}
}
