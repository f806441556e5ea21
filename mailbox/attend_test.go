package mailbox

import (
	"slices"
	"testing"
)

// sleepless is a doorbell that writes down what its waiter does, in order.
type sleepless struct {
	did       []string
	announced func() // what happens around the announcement
	slept     func()
}

func (s *sleepless) Announce() uint32 {
	s.did = append(s.did, "announce")
	s.announced()
	return 0
}

func (s *sleepless) Sleep(uint32) {
	s.did = append(s.did, "sleep")
	s.slept()
}

func (s *sleepless) Awake() { s.did = append(s.did, "awake") }

// A bit that is set after the waiter looked, by somebody who did not see it announce that it sleeps, is found by the second look:
// nobody rings for it.
func TestWaiterLooksAgainBeforeItSleeps(t *testing.T) {
	h, bits := new(Hub), 0
	bell := &sleepless{}
	bell.announced = func() {
		if len(bell.did) == 2 { // the first time
			bits++
		}
	}
	bell.slept = func() {
		if bits > 0 {
			t.Error("the waiter sleeps, and a bit is set")
		}
		h.err.Store(&ErrSystemEnded)
	}
	h.attend(bell, func() bool {
		bell.did = append(bell.did, "look")
		found := bits > 0
		bits = 0
		return found
	})
	want := []string{"look", "announce", "look", "awake", "look", "announce", "look", "sleep", "awake"}
	if !slices.Equal(bell.did, want) {
		t.Errorf("the waiter did %q, want %q", bell.did, want)
	}
}

// A hub that is closed after the waiter looked is seen before it sleeps: the bell that Close rings may come before the announcement.
func TestWaiterDoesNotSleepInAClosedHub(t *testing.T) {
	h := new(Hub)
	bell := &sleepless{announced: func() { h.err.Store(&ErrSystemEnded) }, slept: func() { t.Error("the waiter sleeps") }}
	h.attend(bell, func() bool { return false })
	if want := []string{"announce", "awake"}; !slices.Equal(bell.did, want) {
		t.Errorf("the waiter did %q, want %q", bell.did, want)
	}
}
