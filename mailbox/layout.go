package mailbox

import (
	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

// The record of a mailbox, 48 words. Each group is a cache line or two, and has one kind of writer.
//
//	 0  state: incarnation 32 | life of the actor 24 | state 8     the owner of the segment
//	 1  where the ring starts, in words of ring memory
//	 2  capacity, a power of two
//	 3  kind: hash of its name
//	 4  position at which this incarnation began
//	 8  tail: a hint that lags                                     senders
//	 9  refused: times a sender found the ring full
//	16  head                                                       the consumer
//	17  in hand: generation 32 | attempts 6 | last 1 | set 1 | frame index 24     the consumer; the owner when it closes
//	24  consumer: epoch 32 | - | process 20 | parked 1             the consumer, the owner
//	25  control: incarnation 32 | life of the actor 24 | bits 8    anybody
//	26  room bits: process index mod 64                            senders
//	27  waits-for: number of the call 32 | mailbox index + 1, 32   the consumer; who ends the call clears it
//	28  turn: who is next to get room; position 56 | process index mod 64, plus 1   8     the consumer; who had it
//	29  line for the turn: process index mod 64                    senders
//	32  counters: handled, errors, crashes, expired, abandoned, stale     the consumer; dead letters: who makes one
//	40  peak depth, handling since (machine clock, 0 when idle)    the consumer
//
// The ring: capacity slot words
//
//	| lap 39 | full 1 | frame index 24 |
//
// Position p lies in slot p mod capacity, in lap p div capacity. Laps go on for ever and wrap: they are compared by their difference.
const (
	recState = iota
	recRing
	recCapacity
	recKind
	recBase

	recTail    = 8
	recRefused = 9

	recHead = 16
	recHand = 17

	recConsumer = 24
	recControl  = 25
	recRoom     = 26
	recWaitsFor = 27
	recTurn     = 28
	recLine     = 29

	recHandled   = 32
	recErrors    = 33
	recCrashes   = 34
	recExpired   = 35
	recAbandoned = 36
	recDead      = 37
	recStale     = 38

	recPeak  = 40
	recSince = 41
)

// MaxCapacity is the largest capacity of a mailbox.
const MaxCapacity = 1 << 20

// The states of a mailbox.
const (
	stateClosed = 0
	stateOpen   = 1
)

type stateWord uint64

func makeState(incarnation, life uint32, state uint64) stateWord {
	return stateWord(uint64(incarnation)<<32 | uint64(life&(1<<24-1))<<8 | state)
}

func (w stateWord) incarnation() uint32 { return uint32(w >> 32) }
func (w stateWord) life() uint32        { return uint32(w>>8) & (1<<24 - 1) }
func (w stateWord) open() bool          { return w&0xff == stateOpen }

type consumerWord uint64

const parkedBit consumerWord = 1

func makeConsumer(epoch uint32, p shm.ProcessID) consumerWord {
	return consumerWord(uint64(epoch)<<32 | uint64(p)<<1)
}

func (w consumerWord) epoch() uint32          { return uint32(w >> 32) }
func (w consumerWord) process() shm.ProcessID { return shm.ProcessID(w >> 1 & (1<<20 - 1)) }
func (w consumerWord) parked() bool           { return w&parkedBit != 0 }

type controlWord uint64

const controlBits = 1<<8 - 1

func makeControl(incarnation, life uint32) controlWord {
	return controlWord(makeState(incarnation, life, 0))
}

func (w controlWord) incarnation() uint32 { return stateWord(w).incarnation() }
func (w controlWord) life() uint32        { return stateWord(w).life() }
func (w controlWord) bits() uint64        { return uint64(w & controlBits) }

// of reports whether the word is for the same use and life of the mailbox as another.
func (w controlWord) of(other controlWord) bool { return w&^controlBits == other }

// handWord names the message that a receiver with redelivery has in hand; 0 is none. In front of the ring it is what a slot is
// in it.
type handWord uint64

const (
	handSet           = handWord(1) << 24
	handLast          = handWord(1) << 25
	handAttemptsShift = 26

	// MaxAttempts is the largest number of attempts that a message can be given.
	MaxAttempts = 63
)

// makeHand returns the word of a message whose handler was begun so many times of at most most.
func makeHand(f shm.Frame, attempts, most int) handWord {
	w := handWord(f.Generation())<<32 | handWord(attempts&MaxAttempts)<<handAttemptsShift | handSet | handWord(f.Index())
	if attempts >= most {
		w |= handLast
	}
	return w
}

func (w handWord) generation() uint32 { return uint32(w >> 32) }
func (w handWord) attempts() int      { return int(w>>handAttemptsShift) & MaxAttempts }
func (w handWord) last() bool         { return w&handLast != 0 }
func (w handWord) set() bool          { return w&handSet != 0 }
func (w handWord) frame() uint32      { return uint32(w & (handSet - 1)) }

type slotWord uint64

const (
	wordBytes     = 8
	slotLapShift  = 25
	slotLapBits   = 64 - slotLapShift
	slotFullBit   = slotWord(1) << 24
	slotFrameMask = slotFullBit - 1
)

func emptySlot(lap uint64) slotWord { return slotWord(lap << slotLapShift) }
func fullSlot(lap uint64, f uint32) slotWord {
	return emptySlot(lap) | slotFullBit | slotWord(f)&slotFrameMask
}
func (w slotWord) full() bool    { return w&slotFullBit != 0 }
func (w slotWord) frame() uint32 { return uint32(w & slotFrameMask) }
func (w slotWord) ahead(lap uint64) int64 {
	return int64(uint64(w>>slotLapShift)-lap) << slotLapShift >> slotLapShift
}
func load(ring []word.Word, i uint64) slotWord { return slotWord(ring[i].Load()) }
func swap(ring []word.Word, i uint64, old, to slotWord) bool {
	return ring[i].CompareAndSwap(uint64(old), uint64(to))
}
