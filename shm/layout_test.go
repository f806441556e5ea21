package shm

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

// The hash of everything that two builds must agree on, by ABI number. A change of the layout makes this test fail; then the
// ABI number is raised, and the new pair is added here.
var layouts = map[int]uint64{
	1: 0xd1d447a8f1ab860d,
	2: 0xff6aaae25dec6468,
}

// shared describes the shared bytes: every number that another build of this package would have to know.
func shared() string {
	var b strings.Builder
	say := func(what string, n ...any) { fmt.Fprintf(&b, "%s %d\n", what, n) }
	say("pages", pageSize, wordSize, headerSize, MaxName, MaxSystemName)
	say("header", hdrMagic, hdrABI, hdrLayout, hdrSize, hdrProcesses, hdrMailboxes, hdrRingWords, hdrSpans, hdrMaxMessage,
		hdrOwnerPID, hdrOwnerStart, hdrCreated, hdrInstance, hdrRingsUsed, hdrEnded, hdrNameLen, hdrName, hdrBoot, hdrDirectory,
		hdrCounters, hdrWanted, hdrTurn, deadReasons, uint64(magic))
	say("process", procWord, procPID, procStart, procNameLen, procExit, procBell, procLook, procSummary, procCalls, procName,
		procWords, CallNumbers, procLifeShift, procWordOf(1023, ProcDead), ProcFree, ProcReserved, ProcLive, ProcDead)
	say("name", nameRecord, nameVersion, nameHash, nameLenOffset, nameBytesOffset, slotEmpty, slotFirst, MailboxWords)
	say("frames", spanSize, frameHeader, smallestFrame, framesPerSpan, indexBits, classSizes)
	say("spans", classUse(3), runUse(5), partUse(7, 9))
	say("owner", uint64(MakeOwner(1, MakeProcessID(3, 5), Taken).Because(Stopped)), uint64(attachedTo(7, 9)), uint64(Abandoned),
		uint64(Waiting), uint64(IsCall), uint64(Detail))
	say("states", Free, Held, Queued, Taken, Deferred, Replied, Failed, Lent, Settling, Attached, states)
	say("reasons", NoReason, Crashed, WorkerDied, Stopped, Expired, Unknown, ValueLost, Undecodable, NoMethod, Corrupt, Undeliverable,
		SystemEnded, HandlerFailed, DroppedLetters, Reasons)
	var h frameHead
	say("frame", unsafe.Offsetof(h.length), unsafe.Offsetof(h.codec), unsafe.Offsetof(h.kind), unsafe.Offsetof(h.attempts),
		unsafe.Offsetof(h.reason), unsafe.Offsetof(h.caller), unsafe.Offsetof(h.mailbox), unsafe.Offsetof(h.body),
		unsafe.Offsetof(h.method), unsafe.Offsetof(h.deadline), unsafe.Offsetof(h.enqueued), unsafe.Offsetof(h.sender),
		unsafe.Offsetof(h.origin), unsafe.Offsetof(h.chain), unsafe.Offsetof(h.value), unsafe.Offsetof(h.status),
		unsafe.Offsetof(h.trace), TraceBytes, unsafe.Offsetof(h.detached), unsafe.Sizeof(h))
	for _, o := range []Options{{}, {Processes: 3, Mailboxes: 100, RingBytes: 4096, MessageBytes: 1 << 20, MaxMessage: 1 << 19}} {
		g, _ := o.geometry()
		say("geometry", *g)
	}
	return b.String()
}

func TestLayoutNeedsNewABI(t *testing.T) {
	text := shared()
	if got := Hash(text); layouts[ABI] != got {
		t.Errorf("the layout of ABI %d has the hash %#x, was %#x: a changed layout needs a new ABI number\n%s", ABI, got, layouts[ABI], text)
	}
}

// No two words of a table lie in the same place.
func TestLayoutWordsAreApart(t *testing.T) {
	for name, words := range map[string][]int{
		"header": {
			hdrMagic, hdrABI, hdrLayout, hdrSize, hdrProcesses, hdrMailboxes, hdrRingWords, hdrSpans, hdrMaxMessage, hdrOwnerPID,
			hdrOwnerStart, hdrCreated, hdrInstance, hdrRingsUsed, hdrEnded, hdrNameLen, hdrName, hdrBoot, hdrDirectory, hdrCounters, hdrWanted, hdrTurn,
		},
		"process": {procWord, procPID, procStart, procNameLen, procExit, procBell, procLook, procSummary, procCalls, procName},
	} {
		seen := map[int]bool{}
		for _, w := range words {
			if seen[w] {
				t.Errorf("%s: word %d is used twice", name, w)
			}
			seen[w] = true
		}
	}
	if hdrNameEnd > hdrBoot || hdrDirectory >= hdrCounters || hdrCountersEnd > hdrWanted || hdrWanted >= headerWords || procCalls+callWords > procName {
		t.Error("words overlap")
	}
}

func TestClasses(t *testing.T) {
	for i, size := range classSizes {
		if size%64 != 0 || i > 0 && size <= classSizes[i-1] {
			t.Errorf("class %d has %d bytes", i, size)
		}
		if n := spanSize / int64(size); n < 1 || n > framesPerSpan {
			t.Errorf("class %d: %d frames in a span", i, n)
		}
		if payload := int(size) - frameHeader; classOf(payload) != i || classOf(payload+1) != i+1 {
			t.Errorf("a payload of %d bytes is in class %d, one byte more in %d", payload, classOf(payload), classOf(payload+1))
		}
		if waste := spanSize % size; waste > spanSize/16 {
			t.Errorf("class %d wastes %d bytes of a span", i, waste)
		}
	}
	if classOf(0) != 0 || classOf(-5) != 0 {
		t.Error("nothing does not fit the smallest class")
	}
}

func TestOwnerWord(t *testing.T) {
	p := MakeProcessID(1023, 1023)
	w := MakeOwner(1<<32-1, p, Settling).With(Abandoned | Waiting | IsCall | Detail).Because(DroppedLetters)
	if w.Generation() != 1<<32-1 || w.Holder() != p || w.State() != Settling || w.Reason() != DroppedLetters ||
		!w.Has(Abandoned|Waiting|IsCall|Detail) {
		t.Errorf("%v", w)
	}
	if got := w.Without(Waiting).To(MakeProcessID(1, 2), Held); got.Has(Waiting) || !got.Has(Abandoned|IsCall|Detail) ||
		got.Reason() != NoReason || got.Holder() != MakeProcessID(1, 2) || got.Generation() != w.Generation() {
		t.Errorf("%v", got)
	}
	if w.With(1<<63) != w || w.Without(^Owner(0)) == 0 {
		t.Error("With and Without change more than flags")
	}
	for life := range uint32(1024) {
		if id := MakeProcessID(5, life); id.Life() != life || id.Index() != 5 {
			t.Fatalf("%v", id)
		}
	}
	if id := MakeProcessID(5, 1024); id.Life() != 0 || id.Index() != 5 {
		t.Errorf("life 1024 of process 5 is %v", id)
	}
	a := attachedTo(1<<24-1, 1<<32-1)
	if a.State() != Attached || a.head() != 1<<24-1 || a.Generation() != 1<<32-1 {
		t.Errorf("%v", a)
	}
	for _, s := range []fmt.Stringer{w, a, State(13), Reason(15), ProcessState(9), p, Owner(^uint64(0))} {
		if s.String() == "" {
			t.Errorf("%#v has no text", s)
		}
	}
}
