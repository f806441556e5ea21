package shm

import (
	"fmt"
	"strings"
)

// Owner is the owner word of a frame: the whole truth about it.
//
//	63           32 31      22 21      12 11     8 7   6   5   4 3     0
//	| generation   | process  | life     | reason | D | C | W | A | state |
//
// and in the state Attached, which has no owner:
//
//	| generation of the head  | index of the head frame | 0 | state |
//
// Whoever changes an owner word does it by CAS from the exact word that it read, or, in a state that only the holder may
// leave, by a store. docs/protocol.md has who may leave each state.
type Owner uint64

// State is the low four bits of an owner word.
type State uint8

// The states of a frame.
const (
	Free     State = iota // nobody's; any process may take it
	Held                  // private to its holder: being filled, being read, or in a cache
	Queued                // complete; in a ring or about to be
	Taken                 // out of the ring's reach, being handled
	Deferred              // the handler returned without a reply; a bearer of its token may answer
	Replied               // the reply is in the payload or the attached body; the caller's
	Failed                // the call ended without a reply; the caller's
	Lent                  // failed, but a goroutine of the holder may still read the request
	Settling              // the sweeper took it from a dead process
	Attached              // a part of another frame's message
	states
)

var stateNames = [states]string{
	"free", "held", "queued", "taken", "deferred", "replied", "failed", "lent", "settling", "attached",
}

// String names the state.
func (s State) String() string {
	if s < states {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Flags of an owner word.
const (
	Abandoned Owner = 1 << 4 // the caller has given up
	Waiting   Owner = 1 << 5 // the caller is parked and wants to be woken
	IsCall    Owner = 1 << 6 // somebody waits for the end of this message
	Detail    Owner = 1 << 7 // the payload holds the text of the failure
	flags           = Abandoned | Waiting | IsCall | Detail
)

// Reason is why a message was not answered: four bits of the owner word, and of the header of a dead letter.
type Reason uint8

// The reasons.
const (
	NoReason       Reason = iota
	Crashed               // the actor panicked or its goroutine ended
	WorkerDied            // the process that handled it died
	Stopped               // the actor was stopped for good
	Expired               // its deadline had passed before it was handled
	Unknown               // no such actor, or the mailbox is another actor's now
	ValueLost             // it was a Go value of a process that has died
	Undecodable           // its bytes cannot be read as what its method takes
	NoMethod              // its method is not one of the actor's, or has other types
	Corrupt               // its frame makes no sense
	Undeliverable         // the receiver refused it: its mailbox was full or closed
	SystemEnded           // the system was closed
	HandlerFailed         // the handler of a one-way message returned an error
	DroppedLetters        // the dead-letter mailbox was full and dropped its oldest
	Exhausted             // each attempt that its kind allows was cut off by a crash or a death
	Reasons        = deadReasons
)

var reasonNames = [...]string{
	"none", "crashed", "worker died", "stopped", "expired", "not found", "value died with its process", "cannot be decoded",
	"no such method", "corrupt", "undeliverable", "system ended", "handler failed", "dropped", "too many attempts",
}

// String says the reason in a few words.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

const (
	processBits = 10
	lifeBits    = 10
	reasonShift = 8
	lifeShift   = 12
	procShift   = lifeShift + lifeBits
	genShift    = 32
	headShift   = 8
	stateMask   = Owner(15)
	ownerLayout = "gen32 process10 life10 reason4 D C W A state4; attached: headgen32 head24"
)

// ProcessID names one process for good: its index in the process table, and which life of that index it is.
type ProcessID uint32

// MakeProcessID puts an ID together.
func MakeProcessID(index, life uint32) ProcessID {
	return ProcessID(index<<lifeBits | life&(1<<lifeBits-1))
}

// Index is the entry of the process table.
func (p ProcessID) Index() uint32 { return uint32(p) >> lifeBits & (1<<processBits - 1) }

// Life counts the uses of the entry.
func (p ProcessID) Life() uint32 { return uint32(p) & (1<<lifeBits - 1) }

// String is the index and the life, with a dot between.
func (p ProcessID) String() string { return fmt.Sprintf("%d.%d", p.Index(), p.Life()) }

// MakeOwner returns a word in state s held by p, without flags.
func MakeOwner(gen uint32, p ProcessID, s State) Owner {
	return Owner(gen)<<genShift | Owner(p)<<lifeShift | Owner(s)
}

func attachedTo(head, headGen uint32) Owner {
	return Owner(headGen)<<genShift | Owner(head)<<headShift | Owner(Attached)
}

// State is the frame's state.
func (o Owner) State() State { return State(o & stateMask) }

// Generation is the frame's generation, or its head's in the state Attached.
func (o Owner) Generation() uint32 { return uint32(o >> genShift) }

// Holder is the process in the word.
func (o Owner) Holder() ProcessID { return ProcessID(o >> lifeShift & (1<<(processBits+lifeBits) - 1)) }

// Reason is the reason in the word.
func (o Owner) Reason() Reason { return Reason(o >> reasonShift & 15) }

// Has reports whether all flags of f are set.
func (o Owner) Has(f Owner) bool { return o&f == f }

// With returns the word with the flags of f set.
func (o Owner) With(f Owner) Owner { return o | f&flags }

// Without returns the word with the flags of f cleared.
func (o Owner) Without(f Owner) Owner { return o &^ (f & flags) }

// To returns the word in state s held by p, with the flags kept and no reason.
func (o Owner) To(p ProcessID, s State) Owner {
	return MakeOwner(o.Generation(), p, s) | o&flags
}

// Because returns the word with the reason r.
func (o Owner) Because(r Reason) Owner {
	return o&^(15<<reasonShift) | Owner(r&15)<<reasonShift
}

func (o Owner) head() uint32 { return uint32(o>>headShift) & (1<<indexBits - 1) }

// String spells the word out.
func (o Owner) String() string {
	if o.State() == Attached {
		return fmt.Sprintf("attached(frame %d, generation %d)", o.head(), o.Generation())
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%v(process %v, generation %d)", o.State(), o.Holder(), o.Generation())
	for _, f := range []struct {
		bit  Owner
		name string
	}{{Abandoned, "+abandoned"}, {Waiting, "+waiting"}, {IsCall, "+call"}, {Detail, "+detail"}} {
		if o.Has(f.bit) {
			s.WriteString(f.name)
		}
	}
	if r := o.Reason(); r != NoReason {
		s.WriteString(" because " + r.String())
	}
	return s.String()
}
