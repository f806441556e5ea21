package shm

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// The directory maps a name to the index of its mailbox: open addressing over xxhash64, one word a slot, and beside it the
// full names, so that two names with one hash are told apart. Only the owner writes; everybody reads without a lock.
//
//	index word: | upper half of the hash 32 | mailbox index + 2, 32 |   0 empty, 1 deleted

const (
	slotEmpty   = 0
	slotDeleted = 1
	slotFirst   = 2
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
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return fmt.Errorf("shm: the name %q holds a character that cannot be shown: %w", name, ErrBadName)
		}
	}
	return nil
}

func (s *Segment) nameWord(mailbox uint32, word int) *atomic.Uint64 {
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
	hash, mask := Hash(name), uint64(s.geo.indexSlots-1)
	free := int64(-1)
	for i := range uint64(s.geo.indexSlots) {
		at := (hash + i) & mask
		switch w := s.index[at].Load(); {
		case w == slotEmpty || w == slotDeleted:
			if free < 0 {
				free = int64(at)
			}
			if w == slotEmpty {
				s.writeName(mailbox, hash, name)
				s.index[free].Store(indexWord(hash, mailbox)) // sync: name
				return nil
			}
		case w>>32 == hash>>32 && s.Name(uint32(w)-slotFirst) == name:
			return fmt.Errorf("shm: %q: %w", name, ErrNameTaken)
		}
	}
	return fmt.Errorf("shm: the directory is full: %w", ErrNoSpace)
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
			s.index[at].Store(slotDeleted)
			s.pruneDeleted(at)
			break
		}
	}
	s.writeName(mailbox, 0, "")
}

// pruneDeleted empties deleted slots that no probe has to pass any more: those right before an empty one.
func (s *Segment) pruneDeleted(at uint64) {
	mask := uint64(s.geo.indexSlots - 1)
	if s.index[(at+1)&mask].Load() != slotEmpty {
		return
	}
	for range s.geo.indexSlots {
		if s.index[at].Load() != slotDeleted {
			return
		}
		s.index[at].Store(slotEmpty)
		at = (at - 1) & mask
	}
}

// Lookup finds the mailbox of a name.
func (s *Segment) Lookup(name string) (mailbox uint32, ok bool) {
	hash, mask := Hash(name), uint64(s.geo.indexSlots-1)
	for i := range uint64(s.geo.indexSlots) {
		w := s.index[(hash+i)&mask].Load() // sync: name
		if w == slotEmpty {
			return 0, false
		}
		m := uint32(w) - slotFirst
		if w != slotDeleted && w>>32 == hash>>32 && int64(m) < s.geo.mailboxes && s.Name(m) == name {
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
