package shm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestDirectory(t *testing.T) {
	s := create(t, small())
	if _, ok := s.Lookup("a"); ok || s.Name(0) != "" {
		t.Error("an empty directory holds something")
	}
	must(t, s.Insert("a", 2))
	must(t, s.Insert("b", 5))
	for name, want := range map[string]uint32{"a": 2, "b": 5} {
		if m, ok := s.Lookup(name); !ok || m != want || s.Name(want) != name {
			t.Errorf("%q: %d, %v; mailbox %d has the name %q", name, m, ok, want, s.Name(want))
		}
	}
	if err := s.Insert("a", 3); !errors.Is(err, ErrNameTaken) {
		t.Errorf("a name twice: %v", err)
	}
	if err := s.Insert("c", 8); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a mailbox that is not there: %v", err)
	}
	if s.Name(8) != "" || s.Name(1<<32-1) != "" {
		t.Error("mailboxes that are not there have names")
	}
	s.Remove(2)
	s.Remove(2)
	if _, ok := s.Lookup("a"); ok || s.Name(2) != "" {
		t.Error("a is still there")
	}
	must(t, s.Insert("a", 3))
	if m, ok := s.Lookup("a"); !ok || m != 3 {
		t.Errorf("a: %d, %v", m, ok)
	}
	s.Remove(3)
	s.Remove(5)
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "counter/1", "ü/ж/本", strings.Repeat("n", MaxName), " ", "a b", "/"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", strings.Repeat("n", MaxName+1), "a\nb", "\x00", "a\x1b[31m", "\x7f", "\xff", "a\xc3", "\u0085", "a\u009b31m", "\u0080",
	} {
		if err := CheckName(name); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", name, err)
		}
		if err := create(t, small()).Insert(name, 0); !errors.Is(err, ErrBadName) {
			t.Errorf("%q was registered: %v", name, err)
		}
	}
	s := create(t, small())
	long := strings.Repeat("n", MaxName)
	must(t, s.Insert(long, 1))
	if s.Name(1) != long {
		t.Errorf("the longest name became %q", s.Name(1))
	}
	s.Remove(1)
}

// sameSlot finds names that begin their probe at one slot of a directory with so many slots.
func sameSlot(slots uint64, n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprint("n", i); Hash(name)%slots == slots-2 { // so that the probe wraps
			names = append(names, name)
		}
	}
	return names
}

// sameHash finds two names with equal upper halves of their hashes: the index tells them apart by the full name only.
func sameHash() (a, b string) {
	seen := map[uint64]string{}
	for i := 0; ; i++ {
		name := fmt.Sprint(i)
		if other, ok := seen[Hash(name)>>32]; ok {
			return other, name
		}
		seen[Hash(name)>>32] = name
	}
}

func TestDirectoryCollisions(t *testing.T) {
	s := create(t, small())
	names := sameSlot(uint64(s.geo.indexSlots), s.Mailboxes())
	for i, name := range names {
		must(t, s.Insert(name, uint32(i)))
	}
	if err := s.Insert("one more", 0); err == nil {
		s.Remove(0)
		t.Error("a mailbox got a second name")
	}
	for i, name := range names {
		if m, ok := s.Lookup(name); !ok || m != uint32(i) {
			t.Errorf("%q: %d, %v, want %d", name, m, ok, i)
		}
	}
	for _, i := range []int{3, 0, 7, 5, 1, 2, 6, 4} { // in the middle, first, last
		s.Remove(uint32(i))
		names[i] = ""
		for j, name := range names {
			if m, ok := s.Lookup(name); name != "" && (!ok || m != uint32(j)) {
				t.Errorf("after %d was removed: %q: %d, %v, want %d", i, name, m, ok, j)
			}
		}
		if _, err := s.Check(); err != nil {
			t.Error(err)
		}
	}
	for at := range s.index {
		if w := s.index[at].Load(); w != slotEmpty {
			t.Errorf("slot %d of the empty directory is %x", at, w)
		}
	}
}

func TestDirectoryEqualHashes(t *testing.T) {
	a, b := sameHash()
	s := create(t, small())
	must(t, s.Insert(a, 1))
	if m, ok := s.Lookup(b); ok {
		t.Errorf("%q is found as %q, mailbox %d", b, a, m)
	}
	must(t, s.Insert(b, 2))
	for name, want := range map[string]uint32{a: 1, b: 2} {
		if m, ok := s.Lookup(name); !ok || m != want {
			t.Errorf("%q: %d, %v, want %d", name, m, ok, want)
		}
	}
	if _, err := s.Check(); err != nil {
		t.Error(err)
	}
	s.Remove(1)
	if m, ok := s.Lookup(b); !ok || m != 2 {
		t.Errorf("after %q was removed: %q: %d, %v", a, b, m, ok)
	}
	s.Remove(2)
}

// The directory agrees with a map after any sequence of operations, and a name for each mailbox always fits.
func TestDirectoryAgainstMap(t *testing.T) {
	s := create(t, small())
	rng := rand.New(rand.NewPCG(1, 2))
	names, boxes := map[string]uint32{}, map[uint32]string{}
	steps := 20_000
	if testing.Short() {
		steps = 2000
	}
	for range steps {
		m := uint32(rng.IntN(s.Mailboxes()))
		if name, ok := boxes[m]; ok && rng.IntN(3) == 0 {
			s.Remove(m)
			delete(names, name)
			delete(boxes, m)
		} else if !ok {
			name := fmt.Sprint("n", rng.IntN(200))
			_, taken := names[name]
			err := s.Insert(name, m)
			if taken && !errors.Is(err, ErrNameTaken) || !taken && err != nil {
				t.Fatalf("%q for mailbox %d, taken %v: %v", name, m, taken, err)
			}
			if !taken {
				names[name], boxes[m] = m, name
			}
		}
		used := 0
		for at := range s.index {
			if s.index[at].Load() != slotEmpty {
				used++
			}
		}
		if used != len(names) {
			t.Fatalf("%d slots of the index are in use for %d names", used, len(names))
		}
		probe := fmt.Sprint("n", rng.IntN(200))
		want, there := names[probe]
		if got, ok := s.Lookup(probe); ok != there || got != want {
			t.Fatalf("%q: %d, %v, want %d, %v", probe, got, ok, want, there)
		}
	}
	if _, err := s.Check(); err != nil {
		t.Error(err)
	}
	for m := range boxes {
		s.Remove(m)
	}
}

// An owner that was descheduled while it moved the words of the index hides no name.
func TestLookupBesideStoppedOwner(t *testing.T) {
	s := create(t, small())
	must(t, s.Insert("a", 1))
	must(t, s.Insert("b", 2))
	at, err := s.freeSlot(Hash("c"), "c")
	must(t, err)
	s.header[hdrDirectory].Add(1)
	for slot := range s.index { // a word on its way
		if w := s.index[slot].Load(); w == indexWord(Hash("a"), 1) {
			s.index[slot].Store(slotEmpty)
			defer func() { s.index[slot].Store(w); s.header[hdrDirectory].Add(1); s.Remove(1); s.Remove(2) }()
		}
	}
	for name, want := range map[string]uint32{"a": 1, "b": 2} {
		if m, ok := s.Lookup(name); !ok || m != want {
			t.Errorf("%q: %d, %v, want %d", name, m, ok, want)
		}
	}
	if m, ok := s.Lookup("c"); ok {
		t.Errorf("c is found as mailbox %d; its slot is %d", m, at)
	}
}

// beside runs readers as long as the owner's work goes on.
func beside(t *testing.T, read func(rng *rand.Rand) error, work func()) {
	var done atomic.Bool
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			for rng := rand.New(rand.NewPCG(uint64(i), 1)); !done.Load(); {
				if err := read(rng); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work()
	done.Store(true)
	group.Wait()
}

func roundsOf(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// Readers beside an owner that takes names away and gives them again: they find what stays, however it is moved.
func TestLookupFindsWhatStays(t *testing.T) {
	o := small()
	o.Mailboxes = 64
	s := create(t, o)
	names := sameSlot(uint64(s.geo.indexSlots), s.Mailboxes()) // one long probe: the first that goes moves all others
	for i, name := range names {
		must(t, s.Insert(name, uint32(i)))
	}
	changes := make([]atomic.Uint64, len(names)) // odd while a name is away
	beside(t, func(rng *rand.Rand) error {
		m := rng.IntN(len(names))
		before := changes[m].Load()
		got, ok := s.Lookup(names[m])
		if ok && got != uint32(m) || !ok && before%2 == 0 && changes[m].Load() == before {
			return fmt.Errorf("%q: %d, %v, want %d", names[m], got, ok, m)
		}
		return nil
	}, func() {
		for i := range roundsOf(20_000) {
			m := i % len(names) // the first of the probe, and then the last
			changes[m].Add(1)
			s.Remove(uint32(m))
			if err := s.Insert(names[m], uint32(m)); err != nil {
				t.Error(err)
				return
			}
			changes[m].Add(1)
		}
	})
	if _, err := s.Check(); err != nil {
		t.Error(err)
	}
	for m := range uint32(s.Mailboxes()) {
		s.Remove(m)
	}
}

// A name is seen whole or not at all, and not under another's hash.
func TestNamesAreNotTorn(t *testing.T) {
	s := create(t, small())
	nameOf := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 1+i%MaxName) }
	beside(t, func(rng *rand.Rand) error {
		m := uint32(rng.IntN(2))
		if name := s.Name(m); name != "" && name != strings.Repeat(name[:1], len(name)) {
			return fmt.Errorf("mailbox %d has the name %q", m, name)
		}
		s.Lookup(nameOf(rng.IntN(1000)))
		return nil
	}, func() {
		for i := range roundsOf(50_000) {
			m := uint32(i % 2)
			s.Remove(m)
			if err := s.Insert(nameOf(i), m); err != nil {
				t.Error(err)
				return
			}
		}
	})
	s.Remove(0)
	s.Remove(1)
}

// A record that its writer never finished has no name, and reading it ends.
func TestNameOfUnfinishedRecord(t *testing.T) {
	s, err := Create(small())
	must(t, err)
	must(t, s.Insert("a", 1))
	s.nameWord(1, nameVersion).Add(1)
	if name := s.Name(1); name != "" {
		t.Errorf("the name %q", name)
	}
	if _, ok := s.Lookup("a"); ok {
		t.Error("it is found")
	}
}
