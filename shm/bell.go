package shm

import (
	"math/bits"

	"github.com/shmactor/shmactor/internal/word"
)

// A process has one doorbell: two bitmaps that say what to look at (mailboxes that are ready or have room, parked calls
// that are settled), and a bell on which its one waiter sleeps. Bits are hints: setting one is idempotent and cannot
// overflow, and who is woken by one looks at the real word.

// What the word says that a waiter sleeps by. Only one value spares the ringer its system call: whatever else is scribbled
// into it, the bell rings.
const (
	asleep uint32 = 1
	awake  uint32 = 0x61776b65
)

// SetReady says to process p: look at mailbox m.
func (s *Segment) SetReady(p, m uint32) {
	if int64(p) >= s.geo.processes || int64(m) >= s.geo.mailboxes {
		return
	}
	at := int64(p) * s.geo.readyWords
	word := int64(m / 64)
	s.ready[at+s.geo.readySummary+word].Or(1 << (m % 64)) // sync: ready; step: bell.ready
	s.ready[at+word/64].Or(1 << (word % 64))              // after the bit: who sees the summary finds it
}

// SetCall says to process p: look at the parked calls with this number.
func (s *Segment) SetCall(p, number uint32) {
	e := s.process(p)
	if e == nil {
		return
	}
	word := number / 64 % callWords
	e[procCalls+word].Or(1 << (number % 64)) // sync: call; step: bell.call
	e[procSummary].Or(1 << word)
}

// SetLook says to process p: look at everything.
func (s *Segment) SetLook(p uint32) {
	if e := s.process(p); e != nil {
		e[procLook].Store(1) // sync: look; step: bell.everything
	}
}

// Ring wakes process p's waiter if it sleeps. The caller has set a bit before.
func (s *Segment) Ring(p uint32) {
	e := s.process(p)
	if e == nil {
		return
	}
	if halves(&e[procBell])[1].Load() != awake { // sync: bell; step: bell.sleeping
		s.Wake(p)
	}
}

// Wake wakes process p's waiter whether it says that it sleeps or not: others can write what it says.
func (s *Segment) Wake(p uint32) {
	if e := s.process(p); e != nil {
		bell := halves(&e[procBell])
		bell[0].Add(1)      // step: bell.ring
		word.Wake(&bell[0]) // step: bell.wake
	}
}

// Listen is the waiter's side of the doorbell of this process. One goroutine uses it.
type Listen struct {
	seg   *Segment
	entry []word.Word
	ready []word.Word
	bell  *[2]word.Half
}

// Listen returns the doorbell of process p.
func (s *Segment) Listen(p uint32) *Listen {
	e := s.process(p)
	if e == nil {
		return nil
	}
	at := int64(p) * s.geo.readyWords
	return &Listen{s, e, s.ready[at : at+s.geo.readyWords : at+s.geo.readyWords], halves(&e[procBell])}
}

// Announce says that the waiter is about to sleep, and returns the value of the bell to sleep on. After it the waiter takes
// what is set once more, and only if there was nothing sleeps.
func (l *Listen) Announce() uint32 {
	v := l.bell[0].Load()   // step: waiter.bell
	l.bell[1].Store(asleep) // sync: bell; step: waiter.announce
	return v
}

// Sleep waits until the bell is no longer v. It may return early.
func (l *Listen) Sleep(v uint32) { word.Sleep(&l.bell[0], v) } // step: waiter.sleep

// Awake says that the waiter looks again.
func (l *Listen) Awake() { l.bell[1].Store(awake) } // step: waiter.awake

// Look takes the order to look at everything.
func (l *Listen) Look() bool {
	return l.entry[procLook].Load() != 0 && l.entry[procLook].Swap(0) != 0 // sync: look; step: waiter.everything
}

// Ready takes all ready bits and calls f for each mailbox.
func (l *Listen) Ready(f func(mailbox uint32)) (any bool) {
	for i := range l.seg.geo.readySummary {
		takeBits(&l.ready[i], func(word uint32) {
			at := uint32(i)*64 + word
			if int64(at) >= l.seg.geo.readyWords-l.seg.geo.readySummary {
				return // a bit that no correct program sets
			}
			takeBits(&l.ready[l.seg.geo.readySummary+int64(at)], func(bit uint32) { // sync: ready; step: waiter.ready
				any = true
				f(at*64 + bit)
			})
		})
	}
	return any
}

// Calls takes all call bits and calls f for each number.
func (l *Listen) Calls(f func(number uint32)) (any bool) {
	takeBits(&l.entry[procSummary], func(word uint32) {
		takeBits(&l.entry[procCalls+word], func(bit uint32) { // sync: call; step: waiter.call
			any = true
			f(word*64 + bit)
		})
	})
	return any
}

func takeBits(w *word.Word, f func(bit uint32)) {
	if w.Load() == 0 {
		return
	}
	for set := w.Swap(0); set != 0; set &= set - 1 {
		f(uint32(bits.TrailingZeros64(set)))
	}
}

// clearSignals forgets what was said to the entry's last holder.
func (s *Segment) clearSignals(i uint32) {
	e := s.process(i)
	for w := procBell; w < procName; w++ {
		e[w].Store(0)
	}
	at := int64(i) * s.geo.readyWords
	for w := range s.geo.readyWords {
		s.ready[at+w].Store(0)
	}
}
