package shm

import (
	"fmt"
	"structs"
	"unsafe"

	"github.com/shmactor/shmactor/internal/word"
)

// frameHead is the 128 bytes in front of a payload. Whoever holds the frame exclusively writes it; the atomic words may be
// read by others meanwhile.
type frameHead struct {
	_        structs.HostLayout
	length   uint32
	codec    uint8
	kind     uint8
	attempts uint8
	reason   Reason
	caller   word.Word // process ID 32 | call number 32; does not change until the frame is free
	mailbox  word.Word // index 32 | incarnation 32
	body     word.Word // index + 1 of the frame with the larger reply, 0 for none
	method   uint64    // hash of its name and types
	deadline int64     // machine clock, 0 for none
	enqueued int64     // machine clock, 0 when not sampled
	sender   uint32    // mailbox index + 1, 0 when no actor sent it
	origin   uint32    // the first receiver of a dead letter: mailbox index + 1
	chain    uint64    // the calls that this one belongs to
	value    uint64    // 0, or which life of a process holds the value that goes by reference
	status   uint32    // of a reply
	_        uint32
	trace    [TraceBytes]byte
	_        [7]byte
	detached word.Word // generation that an attached frame gets when it is let go
}

// TraceBytes is the size of a trace context: trace ID, span ID, flags.
const TraceBytes = 25

var _ = [1]struct{}{}[unsafe.Sizeof(frameHead{})-frameHeader]

// Frame is one frame in one of its generations. The zero Frame is none. It is a value: copies name the same frame.
type Frame struct {
	seg   *Segment
	head  *frameHead
	owner *word.Word
	index uint32
	gen   uint32
	off   int64 // of the payload
	size  int64 // of the payload
}

// frameAt returns the frame with an index read from the segment, in its present generation; ok is false when no frame has
// that index now. Where a frame lies follows from what its span is carved into, which is read once.
func (s *Segment) frameAt(index uint32) (f Frame, ok bool) {
	span, k := int64(index/framesPerSpan), int64(index%framesPerSpan)
	if span >= s.geo.spans {
		return f, false
	}
	size, n := spanUse(s.spans[span].Load()).frames()
	if k >= n || size > (s.geo.spans-span)*spanSize {
		return f, false
	}
	off := s.geo.frameOff + span*spanSize + k*size
	f = Frame{
		seg: s, head: s.mem.frameHead(off), owner: &s.owners[index], index: index,
		off: off + frameHeader, size: size - frameHeader,
	}
	f.gen = f.Owner().Generation()
	return f, true
}

// FrameAt returns the frame with an index that was read from a ring or a header, as it is now.
func (s *Segment) FrameAt(index uint32) (Frame, error) {
	f, ok := s.frameAt(index)
	if !ok {
		return f, fmt.Errorf("shm: no frame has index %d: %w", index, ErrCorrupt)
	}
	return f, nil
}

// Frames is the number of frame indexes; not each has a frame.
func (s *Segment) Frames() uint32 { return uint32(s.geo.spans) * framesPerSpan }

// IsZero reports whether f is no frame.
func (f Frame) IsZero() bool { return f.seg == nil }

// Index is the frame's number, as rings hold it.
func (f Frame) Index() uint32 { return f.index }

// Generation is the use of the frame that f names.
func (f Frame) Generation() uint32 { return f.gen }

// Owner loads the owner word.
func (f Frame) Owner() Owner { return Owner(f.owner.Load()) }

// Move changes the owner word from exactly old. It is the step that every table of the protocol is made of.
func (f Frame) Move(old, to Owner) bool { return f.owner.CompareAndSwap(uint64(old), uint64(to)) }

// Set stores the owner word: for the holder of a frame in a state that nobody else may leave.
func (f Frame) Set(to Owner) { f.owner.Store(uint64(to)) }

// Word returns the owner word for state s held by p in this generation.
func (f Frame) Word(p ProcessID, s State) Owner { return MakeOwner(f.gen, p, s) }

// Payload is the whole payload memory.
func (f Frame) Payload() []byte { return f.seg.mem.bytes(f.off, f.size) }

// Cap is the size of the payload memory.
func (f Frame) Cap() int { return int(f.size) }

// Header is what the sender of a message says about it.
type Header struct {
	Length      uint32 // of the payload
	Codec       uint8
	Kind        uint8
	Attempts    uint8
	Reason      Reason    // of a dead letter
	Caller      ProcessID // who waits for the end of a call
	Call        uint32    // the caller's number for it
	Mailbox     uint32    // to whom
	Incarnation uint32    // which use of that mailbox
	Method      uint64
	Deadline    int64  // machine clock, 0 for none
	Enqueued    int64  // machine clock, 0 when not sampled
	Sender      uint32 // mailbox index + 1, 0 when no actor sent it
	Origin      uint32 // the first receiver of a dead letter: mailbox index + 1
	Chain       uint64 // which call of its sender it is, as that says that it waits
	Value       uint64 // 0, or which life of a process holds the value that goes by reference
	Status      uint32 // of a reply
}

// SetHeader writes the header of a frame that is being filled. It clears the body and the trace context.
func (f Frame) SetHeader(h *Header) {
	d := f.head
	d.length, d.codec, d.kind, d.attempts, d.reason = h.Length, h.Codec, h.Kind, h.Attempts, h.Reason
	setWord(&d.caller, uint64(h.Caller)<<32|uint64(h.Call))
	setWord(&d.mailbox, uint64(h.Mailbox)<<32|uint64(h.Incarnation))
	setWord(&d.body, 0)
	d.method, d.deadline, d.enqueued = h.Method, h.Deadline, h.Enqueued
	d.sender, d.origin, d.chain, d.value, d.status = h.Sender, h.Origin, h.Chain, h.Value, h.Status
	d.trace = [TraceBytes]byte{}
}

// setWord stores v if it is not there already: an atomic store costs many times a load, and frames are often used again for
// the same two parties.
func setWord(w *word.Word, v uint64) {
	if w.Load() != v {
		w.Store(v)
	}
}

// Header reads the header of a frame that the caller holds.
func (f Frame) Header() Header {
	d := f.head
	caller := d.caller.Load()
	mailbox := d.mailbox.Load()
	return Header{
		Length: d.length, Codec: d.codec, Kind: d.kind, Attempts: d.attempts, Reason: d.reason,
		Caller: ProcessID(caller >> 32), Call: uint32(caller), Mailbox: uint32(mailbox >> 32), Incarnation: uint32(mailbox),
		Method: d.method, Deadline: d.deadline, Enqueued: d.enqueued, Sender: d.sender, Origin: d.origin,
		Chain: d.chain, Value: d.value, Status: d.status,
	}
}

// SetReply writes what the header says of the reply that is in the payload, or in the body.
func (f Frame) SetReply(length uint32, codec uint8, status uint32) {
	f.head.length, f.head.codec, f.head.status = length, codec, status
}

// Caller reads who waits for the end of a call. It may be read of a frame that somebody else holds.
func (f Frame) Caller() (p ProcessID, call uint32) {
	w := f.head.caller.Load()
	return ProcessID(w >> 32), uint32(w)
}

// To reads which use of which mailbox the message is for. It may be read of a frame that somebody else holds.
func (f Frame) To() (mailbox, incarnation uint32) {
	w := f.head.mailbox.Load()
	return uint32(w >> 32), uint32(w)
}

// SetTo writes for which use of which mailbox the message is.
func (f Frame) SetTo(mailbox, incarnation uint32) {
	f.head.mailbox.Store(uint64(mailbox)<<32 | uint64(incarnation))
}

// SetLetter makes the message a dead letter: why, and whose it was. The reason comes last: it says that the rest is there.
func (f Frame) SetLetter(why Reason, origin uint32) {
	f.head.origin = origin + 1
	f.head.reason = why // step: letter.reason
}

// SetAttempts writes how often the message's handler was begun.
func (f Frame) SetAttempts(n uint8) { f.head.attempts = n }

// Trace is the trace context in the header.
func (f Frame) Trace() [TraceBytes]byte { return f.head.trace }

// SetTrace writes the trace context into the header.
func (f Frame) SetTrace(t [TraceBytes]byte) { f.head.trace = t }
