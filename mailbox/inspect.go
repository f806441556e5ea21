package mailbox

import (
	"math/bits"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// Snapshot is what an Inspector saw at one moment. Its parts were read one after the other while the program went on, so
// they fit each other only nearly.
type Snapshot struct {
	Time time.Time // the wall clock, with a monotonic reading: rates divide by the time between two snapshots

	Segment     shm.Info
	Size        int64 // of the segment in bytes
	Limit       int   // of mailboxes
	Mailboxes   []Info
	Processes   []shm.ProcessInfo // entries of the process table that are not free
	DeadLetters [shm.Reasons]uint64
	Frames      shm.Usage

	RingBytes, RingBytesMax int64 // ring memory handed out, and in all
}

// Info is what there is to see of one mailbox from outside.
type Info struct {
	Index       uint32
	Incarnation uint32 // which use of the mailbox
	Name        string // empty while it is being closed
	Hash, Kind  uint64
	Restarts    uint32 // lives of its actor after the first
	Open        bool
	Corrupt     bool // its record names no ring that could be: depth and totals are not known

	Process shm.ProcessID // that receives, or received last; 0 when nobody did yet
	Worker  string        // name of that process, empty when its entry was given away
	Alive   bool          // that process was not declared dead
	Parked  bool          // the receiver sleeps

	Capacity, Depth, Peak int
	In, Out               uint64 // messages accepted and taken by this use of the mailbox
	Refused               uint64 // times a sender found no room
	Handled, Errors       uint64
	Crashes, Expired      uint64
	Abandoned, Dead       uint64 // calls given up in the queue, and messages that became dead letters
	Stale                 uint64 // slots that made no sense
	RoomWaiters           int    // processes with senders that wait for room

	Busy     time.Duration // since when the receiver handles a message, 0 when it does not or does not say
	Oldest   time.Duration // age of the oldest queued message, 0 when there is none or its time was not sampled
	Attempts int           // how often the handler of the message in hand was begun; 0 without redelivery, or when none is
	WaitsFor int64         // index of the mailbox whose reply the receiver waits for, -1 for none
}

// Inspect takes one snapshot.
func Inspect(seg *shm.Segment) Snapshot {
	var s Snapshot
	NewInspector(seg).Look(&s)
	return s
}

// Inspector looks at a segment from outside. It never writes, so a read-only mapping will do; it asks nothing of the
// program, which may be stopped; and it takes nothing that it reads on trust. One goroutine uses it.
type Inspector struct {
	seg   *shm.Segment
	now   int64
	procs []shm.ProcessInfo // the whole table, by index
	names []knownName       // by mailbox index
}

// knownName saves reading the name of a mailbox again: it is fixed while the mailbox is open in one incarnation.
type knownName struct {
	incarnation uint32
	text        string
	hash        uint64
}

// NewInspector returns an inspector of a segment.
func NewInspector(seg *shm.Segment) *Inspector { return &Inspector{seg: seg} }

// ownerWordsMax bounds how many owner words one look reads to tell how the message memory is used.
const ownerWordsMax = 1 << 18

// Look takes a snapshot, using the memory of an earlier one.
func (in *Inspector) Look(s *Snapshot) {
	in.now = sys.Now()
	s.Time = time.Now()
	s.Segment, s.Size, s.Limit = in.seg.Info(), in.seg.Size(), in.seg.Mailboxes()
	s.DeadLetters = in.seg.DeadLetterCounts()
	s.Frames = in.seg.Usage(ownerWordsMax)
	s.RingBytes, s.RingBytesMax = in.seg.RingBytes()
	in.lookAtProcesses(s)
	s.Mailboxes = s.Mailboxes[:0]
	for i := range uint32(in.seg.Mailboxes()) {
		rec := in.seg.Mailbox(i)
		if rec[recCapacity].Load() == 0 {
			continue // never used
		}
		if m, ok := in.mailbox(i, rec); ok {
			s.Mailboxes = append(s.Mailboxes, m)
		}
	}
}

func (in *Inspector) lookAtProcesses(s *Snapshot) {
	in.procs, s.Processes = in.procs[:0], s.Processes[:0]
	for i := range uint32(in.seg.Processes()) {
		p, _ := in.seg.Process(i)
		in.procs = append(in.procs, p)
		if p.State != shm.ProcFree {
			s.Processes = append(s.Processes, p)
		}
	}
}

// mailbox reads one record; ok is false for a mailbox that is closed, or whose use changed meanwhile.
func (in *Inspector) mailbox(i uint32, rec []word.Word) (m Info, ok bool) {
	state := stateWord(rec[recState].Load())
	name := in.name(i, state)
	if !state.open() && name.text == "" || stateWord(rec[recState].Load()).incarnation() != state.incarnation() {
		return m, false
	}
	m = Info{
		Index: i, Incarnation: state.incarnation(), Name: name.text, Hash: name.hash, Kind: rec[recKind].Load(),
		Restarts: max(1, state.life()) - 1, Open: state.open(),
		Refused:     rec[recRefused].Load(),
		Handled:     rec[recHandled].Load(),
		Errors:      rec[recErrors].Load(),
		Crashes:     rec[recCrashes].Load(),
		Expired:     rec[recExpired].Load(),
		Abandoned:   rec[recAbandoned].Load(),
		Dead:        rec[recDead].Load(),
		Stale:       rec[recStale].Load(),
		RoomWaiters: bits.OnesCount64(rec[recRoom].Load()), WaitsFor: -1,
		Busy: in.since(int64(rec[recSince].Load())),
	}
	if w := uint32(rec[recWaitsFor].Load()); w > 0 && int(w) <= in.seg.Mailboxes() {
		m.WaitsFor = int64(w) - 1
	}
	c := consumerWord(rec[recConsumer].Load())
	m.Process, m.Parked = c.process(), c.parked()
	m.Alive = in.seg.Alive(m.Process)
	if p := int(m.Process.Index()); p < len(in.procs) && in.procs[p].ID == m.Process {
		m.Worker = in.procs[p].Name
	}
	hand := handWord(rec[recHand].Load())
	if f, err := in.seg.FrameAt(hand.frame()); err == nil && hand.names(f, f.Owner(), m.Index, m.Incarnation) {
		m.Attempts = hand.attempts()
	}
	in.queue(rec, &m)
	return m, true
}

// name reads the name of a mailbox, or knows it from before. One that is closed may get another name in this incarnation.
func (in *Inspector) name(i uint32, state stateWord) knownName {
	for int(i) >= len(in.names) {
		in.names = append(in.names, knownName{})
	}
	known := &in.names[i]
	if state.open() && known.text != "" && known.incarnation == state.incarnation() {
		return *known
	}
	now := knownName{incarnation: state.incarnation(), text: in.seg.Name(i)}
	now.hash = shm.Hash(now.text)
	if state.open() {
		*known = now
	}
	return now
}

// lagMax is how many slots a position is followed beyond its hint. A slot is filled only by a sender that saw the tail
// there, and a consumer moves the head after each slot, so neither hint lags by more than one.
const lagMax = 4

// queue reads the positions and the ring.
func (in *Inspector) queue(rec []word.Word, m *Info) {
	capacity := rec[recCapacity].Load()
	ring := in.seg.RingWords(rec[recRing].Load(), capacity)
	if ring == nil || capacity > MaxCapacity || bits.OnesCount64(capacity) != 1 {
		m.Corrupt = true
		return
	}
	m.Capacity = int(capacity)
	head, tail := positions(rec)
	mask, shift := capacity-1, uint(bits.TrailingZeros64(capacity))
	// What lies behind the head has been taken; what lies behind the tail has been accepted.
	for range lagMax {
		if load(ring, head&mask).ahead(head>>shift) <= 0 {
			break
		}
		head++
	}
	if int64(tail-head) < 0 {
		tail = head
	}
	for range lagMax {
		if w := load(ring, tail&mask); w.ahead(tail>>shift) < 0 || w.ahead(tail>>shift) == 0 && !w.full() {
			break
		}
		tail++
	}
	m.Depth = int(min(tail-head, capacity))
	m.Peak = max(int(min(rec[recPeak].Load(), capacity)), m.Depth)
	base := rec[recBase].Load()
	m.In, m.Out = distance(base, head+uint64(m.Depth)), distance(base, head)
	if m.Depth > 0 {
		m.Oldest = in.oldest(ring, head&mask, head>>shift, m)
	}
}

// positions reads head and tail so that they are of one moment, if the queue is not busier than that.
func positions(rec []word.Word) (head, tail uint64) {
	const tries = 4
	head = rec[recHead].Load()
	for range tries {
		tail = rec[recTail].Load()
		again := rec[recHead].Load()
		if again == head {
			break
		}
		head = again
	}
	return head, tail
}

// distance is how many positions lie between two, 0 if they are the wrong way round.
func distance(from, to uint64) uint64 { return uint64(max(0, int64(to-from))) }

// oldest is how long the message at the head has been queued.
func (in *Inspector) oldest(ring []word.Word, at, lap uint64, m *Info) time.Duration {
	w := load(ring, at)
	if !w.full() || w.ahead(lap) != 0 {
		return 0
	}
	f, err := in.seg.FrameAt(w.frame())
	if err != nil {
		return 0
	}
	box, incarnation := f.To()
	sent := f.Enqueued()
	if box != m.Index || incarnation != m.Incarnation || load(ring, at) != w || f.Owner().Generation() != f.Generation() {
		return 0
	}
	return in.since(sent)
}

// since is the time from a moment of the machine's clock to now, at least 1 ns; 0 for the moment 0 and for one that cannot be.
func (in *Inspector) since(moment int64) time.Duration {
	if moment <= 0 || moment-in.now > int64(time.Second) {
		return 0
	}
	return time.Duration(max(1, in.now-moment))
}
