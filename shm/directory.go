package shm

import (
	"errors"
	"fmt"
	"unicode"

	"github.com/shmactor/shmactor/internal/word"
)

// The directory maps a name to the index of its mailbox: open addressing over xxhash64, one word a slot, and beside it the
// full names, so that two names with one hash are told apart. Only the owner writes; everybody reads without a lock.
//
//	index word: | upper half of the hash 32 | mailbox index + 1, 32 |   0 empty

const (
	slotEmpty = 0
	slotFirst = 1
)

func indexWord(hash uint64, mailbox uint32) uint64 { return hash>>32<<32 | uint64(mailbox+slotFirst) }

// CheckName says what is wrong with a name.
func CheckName(name string) error {
	if name == "" {
		return fmt.Errorf("shm: the empty string is no name: %w", ErrBadName)
	}
	if len(name) > MaxName {
		return fmt.Errorf("shm: the name %.20q... has %d bytes, at most %d: %w", name, len(name), MaxName, ErrBadName)
	}
	for _, r := range name {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return fmt.Errorf("shm: the name %q holds a character that cannot be shown: %w", name, ErrBadName)
		}
	}
	return nil
}

func (s *Segment) nameWord(mailbox uint32, word int) *word.Word {
	return &s.names[int(mailbox)*nameRecord/wordSize+word]
}

// Insert gives a name to a mailbox that has none. Only the owner calls it.
func (s *Segment) Insert(name string, mailbox uint32) error {
	if err := errors.Join(s.writable(), CheckName(name)); err != nil {
		return err
	}
	if int64(mailbox) >= s.geo.mailboxes {
		return fmt.Errorf("shm: mailbox %d of %d: %w", mailbox, s.geo.mailboxes, ErrCorrupt)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if has := s.Name(mailbox); has != "" {
		return fmt.Errorf("shm: mailbox %d has the name %q: %w", mailbox, has, ErrNameTaken)
	}
	hash := Hash(name)
	at, err := s.freeSlot(hash, name)
	if err != nil {
		return err
	}
	s.writeName(mailbox, hash, name)
	s.index[at].Store(indexWord(hash, mailbox)) // sync: name
	return nil
}

// freeSlot finds the slot of a new name: the first empty one of its probe.
func (s *Segment) freeSlot(hash uint64, name string) (slot uint64, err error) {
	mask := uint64(s.geo.indexSlots - 1)
	for i := range uint64(s.geo.indexSlots) {
		at := (hash + i) & mask
		w := s.index[at].Load()
		if w == slotEmpty {
			return at, nil
		}
		if w>>32 == hash>>32 && s.Name(uint32(w)-slotFirst) == name {
			return 0, fmt.Errorf("shm: %q: %w", name, ErrNameTaken)
		}
	}
	return 0, fmt.Errorf("shm: the directory is full: %w", ErrNoSpace)
}

// writeName writes a name record under its version, so that a reader sees all of it or tries again.
func (s *Segment) writeName(mailbox uint32, hash uint64, name string) {
	v := s.nameWord(mailbox, nameVersion)
	v.Add(1)
	s.nameWord(mailbox, nameHash).Store(hash)
	var rec [nameRecord]byte
	rec[nameLenOffset] = byte(len(name))
	copy(rec[nameBytesOffset:], name)
	for i := nameLenOffset / wordSize; i < nameRecord/wordSize; i++ {
		s.nameWord(mailbox, i).Store(nativeWord(rec[i*wordSize:]))
	}
	v.Add(1)
}

// Remove takes the name of a mailbox away. Only the owner calls it.
func (s *Segment) Remove(mailbox uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := s.Name(mailbox)
	if name == "" {
		return
	}
	hash, mask := Hash(name), uint64(s.geo.indexSlots-1)
	want := indexWord(hash, mailbox)
	for i := range uint64(s.geo.indexSlots) {
		at := (hash + i) & mask
		w := s.index[at].Load()
		if w == slotEmpty {
			break
		}
		if w == want {
			s.emptySlot(at)
			break
		}
	}
	s.writeName(mailbox, 0, "")
}

// emptySlot empties a slot and moves those behind it that a probe would no longer reach, so that the index never fills with
// what was removed. Each is stored in its new place before the old one changes, under the version of the directory: who
// finds a name found it, who does not looks whether the version stayed.
func (s *Segment) emptySlot(at uint64) {
	mask, version := uint64(s.geo.indexSlots-1), &s.header[hdrDirectory]
	version.Add(1) // sync: directory
	next := at
	for range s.geo.indexSlots - 1 {
		next = (next + 1) & mask
		w := s.index[next].Load()
		m := uint32(w) - slotFirst
		if w == slotEmpty || int64(m) >= s.geo.mailboxes {
			break
		}
		home := s.nameWord(m, nameHash).Load() & mask
		if (next-home)&mask >= (next-at)&mask { // its probe passes the empty slot
			s.index[at].Store(w)
			at = next
		}
	}
	s.index[at].Store(slotEmpty)
	version.Add(1) // sync: directory
}

// Lookup finds the mailbox of a name.
func (s *Segment) Lookup(name string) (mailbox uint32, ok bool) {
	const tries = 4
	hash, version := Hash(name), &s.header[hdrDirectory]
	for range tries {
		before := version.Load() // sync: directory
		if mailbox, ok = s.probe(hash, name); ok {
			return mailbox, true
		}
		if before%2 == 0 && version.Load() == before {
			return 0, false
		}
	}
	// The owner removes one name after the other, or was descheduled in the middle of it: the records stay where they are.
	for m := range uint32(s.geo.mailboxes) {
		if s.nameWord(m, nameHash).Load() == hash && s.Name(m) == name {
			return m, true
		}
	}
	return 0, false
}

// probe looks for a name where its hash says.
func (s *Segment) probe(hash uint64, name string) (mailbox uint32, ok bool) {
	mask := uint64(s.geo.indexSlots - 1)
	for i := range uint64(s.geo.indexSlots) {
		w := s.index[(hash+i)&mask].Load() // sync: name
		if w == slotEmpty {
			break
		}
		if m := uint32(w) - slotFirst; w>>32 == hash>>32 && s.Name(m) == name {
			return m, true
		}
	}
	return 0, false
}

// Name is the name of a mailbox, empty if it has none.
func (s *Segment) Name(mailbox uint32) string {
	if int64(mailbox) >= s.geo.mailboxes {
		return ""
	}
	const tries = 64 // the owner writes a name in well under a microsecond
	for range tries {
		before := s.nameWord(mailbox, nameVersion).Load()
		var rec [nameRecord]byte
		for i := nameLenOffset / wordSize; i < nameRecord/wordSize; i++ {
			putNativeWord(rec[i*wordSize:], s.nameWord(mailbox, i).Load())
		}
		if before%2 == 0 && s.nameWord(mailbox, nameVersion).Load() == before {
			return string(rec[nameBytesOffset : nameBytesOffset+min(int(rec[nameLenOffset]), MaxName)])
		}
	}
	return ""
}
