package mailbox

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shmactor/shmactor/shm"
)

// The hash of this package's part of the shared bytes, by ABI number. A change of the layout makes this test fail; then the
// ABI number is raised, and the new pair is added here.
var layouts = map[int]uint64{
	1: 0xe550533907f3b4cf,
	2: 0x804611984edf42c3,
}

func TestLayoutNeedsNewABI(t *testing.T) {
	var b strings.Builder
	say := func(what string, n ...any) { fmt.Fprintf(&b, "%s %d\n", what, n) }
	say("record", recState, recRing, recCapacity, recKind, recBase, recTail, recRefused, recHead, recConsumer, recControl, recRoom,
		recWaitsFor, recTurn, recLine, recHandled, recErrors, recCrashes, recExpired, recAbandoned, recDead, recStale, recPeak, recSince, shm.MailboxWords)
	say("state", stateClosed, stateOpen, makeState(1, 2, stateOpen))
	say("consumer", parkedBit, makeConsumer(3, shm.MakeProcessID(5, 7)))
	say("waits", waitsFor(3, 5), makeTurn(7, 9))
	say("control", ControlStop, ControlDrain, ControlPing, makeControl(9, 10))
	say("slot", slotLapShift, slotFullBit, slotFrameMask, emptySlot(11), fullSlot(13, 17), MaxCapacity)
	if got := shm.Hash(b.String()); layouts[shm.ABI] != got {
		t.Errorf("the layout of ABI %d has the hash %#x, was %#x: a changed layout needs a new ABI number\n%s", shm.ABI, got,
			layouts[shm.ABI], b.String())
	}
}

func TestRecordWordsAreApart(t *testing.T) {
	seen := map[int]bool{}
	for _, w := range []int{
		recState, recRing, recCapacity, recKind, recBase, recTail, recRefused, recHead, recConsumer, recControl, recRoom, recWaitsFor, recTurn, recLine,
		recHandled, recErrors, recCrashes, recExpired, recAbandoned, recDead, recStale, recPeak, recSince,
	} {
		if seen[w] || w >= shm.MailboxWords {
			t.Errorf("word %d is used twice, or is none", w)
		}
		seen[w] = true
	}
}

func TestWords(t *testing.T) {
	s := makeState(1<<32-1, 1<<24-1, stateOpen)
	if s.incarnation() != 1<<32-1 || s.life() != 1<<24-1 || !s.open() || makeState(1, 1<<24, stateClosed).life() != 0 {
		t.Errorf("state %x", s)
	}
	p := shm.MakeProcessID(1023, 1023)
	if c := makeConsumer(1<<32-1, p); c.epoch() != 1<<32-1 || c.process() != p || c.parked() || !(c | parkedBit).parked() || (c|parkedBit).process() != p {
		t.Errorf("consumer %x", c)
	}
	if c := makeControl(1<<32-1, 1<<24-1) | 5; c.incarnation() != 1<<32-1 || c.life() != 1<<24-1 || c.bits() != 5 {
		t.Errorf("control %x", c)
	}
}

// Laps are compared by their difference, also where they wrap.
func TestSlotWord(t *testing.T) {
	const laps = uint64(1) << slotLapBits
	for range 1000 {
		lap, d := rand.Uint64N(laps), rand.Int64N(1<<30)-1<<29
		w := fullSlot((lap+uint64(d))%laps, 1<<24-1)
		if w.ahead(lap) != d || !w.full() || w.frame() != 1<<24-1 {
			t.Fatalf("slot %x is %d ahead of %d, want %d", w, w.ahead(lap), lap, d)
		}
		if e := emptySlot(lap); e.full() || e.ahead(lap) != 0 || e.frame() != 0 {
			t.Fatalf("slot %x", e)
		}
	}
	if w := emptySlot(0); w.ahead(laps-1) != 1 {
		t.Errorf("lap 0 is %d ahead of the last", w.ahead(laps-1))
	}
}

// A ring whose laps and positions wrap is a ring like any other.
func TestRingWraps(t *testing.T) {
	for _, start := range []uint64{1<<slotLapBits*4 - 6, 1<<64 - 6} { // capacity 4: the laps wrap, then the positions
		w := newWorld(t, onHeap, smallOptions())
		m := w.create("box", 4)
		for p := start; p != start+4; p++ {
			m.ring[p&m.mask].Store(uint64(emptySlot(p >> m.shift)))
		}
		m.rec[recHead].Store(start)
		m.rec[recTail].Store(start)
		r := m.Receiver()
		for i := range 40 {
			for range 1 + i%4 {
				must(t, m.TrySendBytes([]byte("x")))
			}
			if i%4 == 3 {
				want(t, "a full mailbox", m.TrySendBytes([]byte("x")), ErrMailboxFull)
			}
			for range 1 + i%4 {
				msg, ok := r.TryReceive()
				if !ok {
					t.Fatalf("from position %d: round %d: nothing is received", start, i)
				}
				msg.Release()
			}
		}
		r.Close()
		m.Close(shm.Stopped)
		again := w.create("again", 4)
		must(t, again.TrySendBytes([]byte("x")))
		w.me.wantText("again", "x").release()
	}
}
