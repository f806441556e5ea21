package shm

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// The segment, in the order of its offsets. Everything is made of 64-bit words in the byte order of the machine.
//
//	0          header            4 KiB      magic, ABI, layout hash, geometry, name, counters
//	processes  Processes x 768 B            process word, pid, bell, sleeping, call bitmap, name
//	ready      Processes x (two levels)     which mailboxes of that process are ready
//	index      2 x Mailboxes words          open addressing: hash -> mailbox index
//	names      Mailboxes x 128 B            the full name of each mailbox
//	mailboxes  Mailboxes x 384 B            the records of package mailbox
//	rings      RingWords words              the rings of package mailbox
//	spans      Spans words                  what each span is carved into
//	owners     Spans x 341 words            the owner word of each frame
//	frames     Spans x 64 KiB               frames: a header of 128 B and the payload
//
// Tables start on a page, so that no two parties' words share a cache line by accident.
const (
	// ABI is the version of everything shared: a process attaches only to a segment of its own ABI.
	ABI = 2

	magic    = 0x726f7463616d6873 // "shmactor" in little-endian bytes
	pageSize = 4096
	wordSize = 8

	// MaxName is the longest name of a mailbox, in bytes.
	MaxName = nameRecord - nameBytesOffset
	// MaxProcesses is the largest process table.
	MaxProcesses = 1 << processBits
	// MaxMailboxes is the largest mailbox table.
	MaxMailboxes = 1 << 24
)

// Words of the header.
const (
	hdrMagic = iota
	hdrABI
	hdrLayout
	hdrSize
	hdrProcesses
	hdrMailboxes
	hdrRingWords
	hdrSpans
	hdrMaxMessage
	hdrOwnerPID
	hdrOwnerStart
	hdrCreated   // wall clock, Unix nanoseconds
	hdrInstance  // random: tells two segments apart
	hdrRingsUsed // ring words handed out
	hdrEnded     // 1 when the owner closed the system in order
	hdrNameLen
	hdrName        // 64 bytes
	hdrNameEnd     = hdrName + MaxSystemName/wordSize
	hdrBoot        = hdrNameEnd  // hash of the machine's boot id
	hdrDirectory   = hdrBoot + 1 // version of the directory's index: odd while the owner moves its words
	hdrCounters    = 64          // counters of dead letters, by reason
	hdrWanted      = 96          // who waits for a frame; a line of its own
	hdrTurn        = 97          // whose turn it is to get one
	hdrCountersEnd = hdrCounters + deadReasons
	headerSize     = pageSize
	// MaxSystemName is the longest name of a segment or a process, in bytes.
	MaxSystemName      = 64
	deadReasons        = 16
	headerWords        = headerSize / wordSize
	_             uint = headerWords - hdrCountersEnd // pinned: the header fits
	_             uint = hdrCounters - hdrDirectory - 1
)

// Words of an entry of the process table.
const (
	procWord    = 0  // state 4 | life 10
	procPID     = 1  // written by the process before it goes LIVE
	procStart   = 2  // start time in ticks since boot
	procNameLen = 3  // bytes
	procExit    = 4  // why it died, written by the owner with the verdict
	procBell    = 8  // bell u32 | sleeping u32: a line of their own
	procLook    = 9  // 1: look at everything
	procSummary = 16 // bit i: word i of the call bitmap is not 0
	procCalls   = 24 // call bitmap
	procName    = procCalls + callWords
	procWords   = procName + MaxSystemName/wordSize // 96 words: 768 B

	callWords = 64
	// CallNumbers is how many call numbers a process has before two calls share one.
	CallNumbers = callWords * 64
)

// The records of a name and of a mailbox.
const (
	nameRecord      = 128
	nameVersion     = 0 // word: odd while the owner writes the record
	nameHash        = 1 // word: xxhash64 of the name
	nameBytesOffset = 17
	nameLenOffset   = 16 // byte
	// MailboxWords is the size of a mailbox's record, which package mailbox lays out.
	MailboxWords = 48
)

// Frames. A span is carved into frames of one class; a frame's index is span*framesPerSpan + its number in the span.
const (
	spanSize      = 64 << 10
	frameHeader   = 128
	smallestFrame = 192
	framesPerSpan = spanSize / smallestFrame // 341
	indexBits     = 24
	maxSpans      = (1 << indexBits) / framesPerSpan
)

// classSizes are the frame sizes, header included: four to a doubling, then the even parts of a span.
var classSizes = [...]uint32{
	192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096,
	5440, 6528, 8192, 9344, 10880, 13056, 16384, 21824, 32768, 65536,
}

// geometry is what the header says about the tables, checked once and kept in private memory.
type geometry struct {
	processes, mailboxes, ringWords, spans, maxMessage int64

	processOff, readyOff, indexOff, nameOff, mailboxOff, ringOff, spanOff, ownerOff, frameOff, size int64

	readySummary, readyWords, indexSlots int64 // words per process, and slots
}

func align(n, to int64) int64 { return (n + to - 1) / to * to }

// lay computes every offset from the five sizes. The sizes were checked: no product here overflows.
func (g *geometry) lay() {
	readyBits := (g.mailboxes + 63) / 64
	g.readySummary = (readyBits + 63) / 64
	g.readyWords = align(g.readySummary+readyBits, 8)
	g.indexSlots = 16
	for g.indexSlots < 2*g.mailboxes {
		g.indexSlots *= 2
	}
	off := int64(headerSize)
	table := func(bytes int64) int64 {
		at := off
		off = align(off+bytes, pageSize)
		return at
	}
	g.processOff = table(g.processes * procWords * wordSize)
	g.readyOff = table(g.processes * g.readyWords * wordSize)
	g.indexOff = table(g.indexSlots * wordSize)
	g.nameOff = table(g.mailboxes * nameRecord)
	g.mailboxOff = table(g.mailboxes * MailboxWords * wordSize)
	g.ringOff = table(g.ringWords * wordSize)
	g.spanOff = table(g.spans * wordSize)
	g.ownerOff = table(g.spans * framesPerSpan * wordSize)
	g.frameOff = table(g.spans * spanSize)
	g.size = off
}

// check says which size is out of its bounds, by the name of its option.
func (g *geometry) check() error {
	for _, c := range []struct {
		what       string
		n, min, to int64
	}{
		{"Processes", g.processes, 1, MaxProcesses},
		{"Mailboxes", g.mailboxes, 1, MaxMailboxes},
		{"RingBytes in words", g.ringWords, 0, 1 << 32},
		{"MessageBytes in spans", g.spans, 1, maxSpans},
		{"MaxMessage", g.maxMessage, 1, maxSpans * spanSize},
	} {
		if c.n < c.min || c.n > c.to {
			return fmt.Errorf("%s is %d, want %d to %d", c.what, c.n, c.min, c.to)
		}
	}
	if bytes := g.spans * spanSize; g.maxMessage > bytes/2 {
		return fmt.Errorf("MaxMessage %d needs MessageBytes of at least %d, not %d", g.maxMessage, 2*g.maxMessage, bytes)
	}
	return nil
}

// layoutHash changes when a size or an offset above does.
var layoutHash = xxhash.Sum64String(fmt.Sprint(ABI, headerSize, hdrBoot, hdrDirectory, hdrCounters, hdrWanted, hdrTurn, deadReasons,
	procWords, procBell, procCalls, nameRecord, nameBytesOffset, MailboxWords, spanSize, frameHeader, framesPerSpan, classSizes, ownerLayout, awake))

// Hash is the hash by which names are found and method types compared: xxhash64.
func Hash(s string) uint64 { return xxhash.Sum64String(s) }

// Pinned at compile time: entries are whole cache lines, and the largest index fits its field.
var (
	_ = [1]struct{}{}[procWords%8]
	_ = [1]struct{}{}[MailboxWords%8]
	_ = [1]struct{}{}[procWords-96]
	_ = [1]struct{}{}[framesPerSpan-341]
)
