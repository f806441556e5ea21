package shm

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/word"
)

// Segment is one mapping of a segment. Its methods may be called from any goroutine.
type Segment struct {
	geo      geometry // from the header, checked once; the shared copy is never read again
	mem      memory
	file     *os.File // nil on the heap
	lock     *os.File // of a file backing, while its owner lives
	readOnly bool
	owner    bool
	self     uint32      // the owner's entry, in the owner
	left     bool        // by an owner that died
	orphans  []ProcessID // its processes
	ended    bool        // by its owner, in order
	aside    bool        // its file has another name now

	header    []word.Word
	processes []word.Word
	ready     []word.Word
	index     []word.Word
	names     []word.Word
	mailboxes []word.Word
	rings     []word.Word
	spans     []word.Word
	owners    []word.Word

	mu        word.Mutex           // guards what only the owner writes: directory, process grants, ring memory; and entered
	granted   uint32               // the entry after the one granted last
	seats     []seat               // the process table as it is, by the owner's own account; nil elsewhere
	ringsUsed uint64               // ring words handed out, likewise
	stamp     [headerWords]uint64  // the header as the owner wrote it
	entered   map[uint32]ProcessID // what this process entered as, by entry
	closed    atomic.Bool
}

// Create makes a segment, or takes over the file that a dead owner left. The calling process owns it and has entry Self of the
// process table.
func Create(o Options) (*Segment, error) {
	g, err := o.geometry()
	if err != nil {
		return nil, err
	}
	var file, lock *os.File
	left := false // by an owner that died
	switch {
	case o.Heap:
	case o.File != "":
		if file, lock, left, err = openFile(o.File, g); err != nil {
			return nil, err
		}
	default:
		if file, err = createMemory(o.Name, g.size); err != nil {
			return nil, err
		}
	}
	s, err := mapSegment(file, *g, false)
	if err != nil {
		closeFile(file)
		closeFile(lock)
		return nil, err
	}
	s.owner, s.lock, s.left, s.seats = true, lock, left, make([]seat, g.processes)
	if left {
		err = s.recover(o.Name)
	} else {
		s.writeHeader(o.Name)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.stampHeader()
	if file != nil && o.File == "" {
		if err := sys.Seal(file); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	id, err := s.Grant("main")
	if err == nil {
		err = s.Enter(id)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.self = id.Index()
	return s, nil
}

func createMemory(name string, size int64) (*os.File, error) {
	if err := fits(size); err != nil {
		return nil, err
	}
	f, err := sys.MemoryFile("shmactor:"+name, size)
	return f, noSpace(err, size, "anonymous memory")
}

// noRoom is how the kernel says that there is none: on the file system, in memory, in a quota, under the limit of a file's size.
var noRoom = []error{syscall.ENOSPC, syscall.ENOMEM, syscall.EDQUOT, syscall.EFBIG}

// noSpace says what was needed when there was no room for it.
func noSpace(err error, size int64, where string) error {
	if slices.ContainsFunc(noRoom, func(e error) bool { return errors.Is(err, e) }) {
		return fmt.Errorf("shm: a segment needs %d bytes of %s and there is no room (%w); lower MessageBytes, Mailboxes or "+
			"MaxMessage, or make room: %w", size, where, err, ErrNoSpace)
	}
	return err
}

// mapSegment maps file, or heap memory if it is nil, and cuts it into its tables.
func mapSegment(file *os.File, g geometry, readOnly bool) (*Segment, error) {
	s := &Segment{geo: g, file: file, readOnly: readOnly}
	if file == nil {
		s.mem = heapMemory(g.size)
	} else {
		mem, err := sys.Map(file, g.size, !readOnly)
		if err != nil {
			return nil, noSpace(err, g.size, "address space")
		}
		s.mem = mem
	}
	s.header = s.mem.words(0, headerWords)
	s.processes = s.mem.words(g.processOff, g.processes*procWords)
	s.ready = s.mem.words(g.readyOff, g.processes*g.readyWords)
	s.index = s.mem.words(g.indexOff, g.indexSlots)
	s.names = s.mem.words(g.nameOff, g.mailboxes*nameRecord/wordSize)
	s.mailboxes = s.mem.words(g.mailboxOff, g.mailboxes*MailboxWords)
	s.rings = s.mem.words(g.ringOff, g.ringWords)
	s.spans = s.mem.words(g.spanOff, g.spans)
	s.owners = s.mem.words(g.ownerOff, g.spans*framesPerSpan)
	return s, nil
}

func (s *Segment) writeHeader(name string) {
	g, h := &s.geo, s.header
	for i, v := range map[int]int64{
		hdrSize: g.size, hdrProcesses: g.processes, hdrMailboxes: g.mailboxes, hdrRingWords: g.ringWords,
		hdrSpans: g.spans, hdrMaxMessage: g.maxMessage, hdrOwnerPID: int64(os.Getpid()), hdrCreated: time.Now().UnixNano(),
		hdrABI: ABI, hdrNameLen: int64(len(name)),
	} {
		h[i].Store(uint64(v))
	}
	start, _ := sys.OwnStartTime()
	h[hdrOwnerStart].Store(start)
	h[hdrLayout].Store(layoutHash)
	h[hdrBoot].Store(Hash(sys.BootID()))
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	h[hdrInstance].Store(binary.NativeEndian.Uint64(id[:]))
	copy(s.mem.bytes(hdrName*wordSize, MaxSystemName), name)
	h[hdrMagic].Store(magic) // last: a reader that sees it sees the rest
}

// AttachFile maps the segment in f, which was inherited or received from its owner; the segment keeps f. It takes only a file
// of this user, whose header and size agree, and that cannot shrink if it is a memory file.
func AttachFile(f *os.File) (*Segment, error) {
	info, err := f.Stat()
	if err == nil && !ownedByUs(info) {
		err = fmt.Errorf("shm: %s is another user's: %w", f.Name(), os.ErrPermission)
	}
	if err != nil {
		return nil, err
	}
	return attach(f, false)
}

// AttachReadOnly maps the segment in f for reading. Nothing reached through it can write to the segment.
func AttachReadOnly(f *os.File) (*Segment, error) { return attach(f, true) }

func attach(f *os.File, readOnly bool) (*Segment, error) {
	g, err := readGeometry(f)
	if err != nil {
		return nil, err
	}
	return mapSegment(f, *g, readOnly)
}

// readGeometry reads the header from the file, not from a mapping, so that every number is a private copy from the start.
func readGeometry(f *os.File) (*geometry, error) {
	g, _, err := readHeader(f)
	return g, err
}

// readHeader also returns in which boot of the machine the segment was made.
func readHeader(f *os.File) (g *geometry, boot uint64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || sys.IsMemoryFile(f) && !sys.Sealed(f) {
		return nil, 0, fmt.Errorf("shm: the size of %s (%v) is not fixed: an access could fault: %w", f.Name(), info.Mode(), ErrIncompatible)
	}
	buf := make([]byte, headerSize)
	if _, err := f.ReadAt(buf, 0); err != nil {
		return nil, 0, fmt.Errorf("shm: %s has no header: %w", f.Name(), ErrIncompatible)
	}
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(buf[i*wordSize:]) }
	switch {
	case word(hdrMagic) != magic:
		return nil, 0, fmt.Errorf("shm: %s is not a segment (it starts with %x): %w", f.Name(), buf[:8], ErrIncompatible)
	case word(hdrABI) != ABI:
		return nil, 0, fmt.Errorf("shm: %s has ABI %d, this program ABI %d: %w", f.Name(), word(hdrABI), ABI, ErrIncompatible)
	case word(hdrLayout) != layoutHash:
		return nil, 0, fmt.Errorf("shm: %s has layout %x, this program %x: %w", f.Name(), word(hdrLayout), layoutHash, ErrIncompatible)
	}
	g = &geometry{
		processes: int64(word(hdrProcesses)), mailboxes: int64(word(hdrMailboxes)), ringWords: int64(word(hdrRingWords)),
		spans: int64(word(hdrSpans)), maxMessage: int64(word(hdrMaxMessage)),
	}
	if err := g.check(); err != nil {
		return nil, 0, fmt.Errorf("shm: %s: %w: %w", f.Name(), err, ErrCorrupt)
	}
	g.lay()
	if g.size != int64(word(hdrSize)) || g.size != info.Size() {
		return nil, 0, fmt.Errorf("shm: %s has %d bytes, its header says %d and its tables need %d: %w",
			f.Name(), info.Size(), word(hdrSize), g.size, ErrCorrupt)
	}
	return g, word(hdrBoot), nil
}

// Close lets go of the mapping. It does not wait for others: a view that is still held reads zeros from now on. The owner
// calls End first.
func (s *Segment) Close() error {
	if !s.closed.CompareAndSwap(false, true) || s.file == nil {
		return nil
	}
	defer closeFile(s.lock)
	var removed error
	if s.lock != nil && s.aside {
		removed = os.Remove(s.lock.Name())
	} else if s.lock != nil && s.ended { // in order: nothing is left in it that anybody waits for
		removed = errors.Join(os.Remove(s.file.Name()), os.Remove(s.lock.Name()))
	}
	return errors.Join(removed, sys.Retire(s.mem), s.file.Close())
}

func closeFile(f *os.File) {
	if f != nil {
		_ = f.Close()
	}
}

// End marks the system as ended in order, for those who look from outside or wait inside.
func (s *Segment) End() {
	s.ended = true
	s.header[hdrEnded].Store(1)
}

// SetAside gives the file of a segment that is corrupt another name, PATH.N.old, so that nobody takes it over. It does nothing
// for a segment without one. The owner calls it before Close.
func (s *Segment) SetAside() error {
	if s.lock == nil || s.aside {
		return nil
	}
	s.aside = true
	return os.Rename(s.file.Name(), asideName(s.file.Name()))
}

// Ended reports whether the owner has ended the system.
func (s *Segment) Ended() bool { return s.header[hdrEnded].Load() != 0 }

// File is the file behind the segment, nil on the heap. It stays the segment's.
func (s *Segment) File() *os.File { return s.file }

// Owned reports whether this process created the segment.
func (s *Segment) Owned() bool { return s.owner }

// Self is the owner's entry of the process table.
func (s *Segment) Self() uint32 { return s.self }

// Durable reports whether the segment is a file that outlives its owner.
func (s *Segment) Durable() bool { return s.lock != nil }

// Shared reports whether other processes can attach.
func (s *Segment) Shared() bool { return s.file != nil }

// writable refuses to write to a segment that was attached for reading: its memory would answer with a fault.
func (s *Segment) writable() error {
	if s.readOnly {
		return fmt.Errorf("shm: %w", ErrReadOnly)
	}
	return nil
}

// owned refuses what only the owner may do.
func (s *Segment) owned() error {
	if !s.owner {
		return fmt.Errorf("shm: only the owner of a segment does that: %w", ErrReadOnly)
	}
	return nil
}

// Size is the segment's size in bytes.
func (s *Segment) Size() int64 { return s.geo.size }

// MaxMessage is the largest message in bytes.
func (s *Segment) MaxMessage() int { return int(s.geo.maxMessage) }

// Processes is the size of the process table.
func (s *Segment) Processes() int { return int(s.geo.processes) }

// Mailboxes is the size of the mailbox table.
func (s *Segment) Mailboxes() int { return int(s.geo.mailboxes) }

// Info is what the header says about a segment.
type Info struct {
	Name       string
	ABI        int
	OwnerPID   int
	OwnerStart uint64 // ticks since boot
	Created    time.Time
	Instance   uint64
	Ended      bool
}

// Info reads the header.
func (s *Segment) Info() Info {
	h := s.header
	return Info{
		Name:       s.text(hdrName*wordSize, h[hdrNameLen].Load(), MaxSystemName),
		ABI:        int(h[hdrABI].Load()),
		OwnerPID:   int(h[hdrOwnerPID].Load()),
		OwnerStart: h[hdrOwnerStart].Load(),
		Created:    time.Unix(0, int64(h[hdrCreated].Load())),
		Instance:   h[hdrInstance].Load(),
		Ended:      s.Ended(),
	}
}

// text copies a string of n bytes, at most limit, out of the segment.
func (s *Segment) text(off int64, n uint64, limit int64) string {
	return string(s.mem.bytes(off, int64(min(n, uint64(limit)))))
}

// Mailbox returns the words of mailbox record i, or nil when there is no such record. Package mailbox lays them out.
func (s *Segment) Mailbox(i uint32) []word.Word {
	if int64(i) >= s.geo.mailboxes {
		return nil
	}
	at := int64(i) * MailboxWords
	return s.mailboxes[at : at+MailboxWords : at+MailboxWords]
}

// RingWords returns n words of ring memory from word at, or nil when they lie outside.
func (s *Segment) RingWords(at, n uint64) []word.Word {
	if at > uint64(len(s.rings)) || n > uint64(len(s.rings))-at {
		return nil
	}
	return s.rings[at : at+n : at+n]
}

// NewRing hands out n words of ring memory for ever. Only the owner calls it.
func (s *Segment) NewRing(n uint64) (at uint64, err error) {
	if err := s.writable(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at = s.ringsUsed
	if s.RingWords(at, n) == nil {
		return 0, fmt.Errorf("shm: a ring of %d messages needs %d bytes, %d of %d are in use; raise RingBytes: %w",
			n, n*wordSize, at*wordSize, s.geo.ringWords*wordSize, ErrNoSpace)
	}
	s.ringsUsed = at + n
	s.header[hdrRingsUsed].Store(s.ringsUsed)
	return at, nil
}

// KeepRings says up to where ring memory is in use, after an owner that died: what it had handed out behind that, and nobody had got
// yet, is free. Only the owner calls it, before anything else of rings.
func (s *Segment) KeepRings(end uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ringsUsed = min(end, s.ringsUsed)
	s.header[hdrRingsUsed].Store(s.ringsUsed)
}

// Count adds one to the counter of dead letters with reason r.
func (s *Segment) Count(r Reason) { s.header[hdrCounters+int(r&(deadReasons-1))].Add(1) }

// DeadLetterCounts returns how many messages became dead letters, by reason.
func (s *Segment) DeadLetterCounts() (counts [Reasons]uint64) {
	for i := range counts {
		counts[i] = s.header[hdrCounters+i].Load()
	}
	return counts
}
