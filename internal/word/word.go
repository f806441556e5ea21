//go:build !shmactor_points

// Package word is how packages shm and mailbox reach the words that processes share. In an ordinary build a Word is
// sync/atomic's Uint64 itself and a sleep is the futex, so nothing stands between the code and the instruction. Built with
// the tag shmactor_points every access goes through a Tracer first: that makes each of them a crash point, where a test can
// kill the process, and a scheduling point, where a test can choose who goes on.
package word

import (
	"sync"
	"sync/atomic"

	"github.com/shmactor/shmactor/internal/sys"
)

// Points reports whether this build has crash points.
const Points = false

// Word is a word of the segment.
type Word = atomic.Uint64

// Half is half a word: what a futex sleeps on.
type Half = atomic.Uint32

// Mutex orders goroutines of one process that touch shared words while they hold it.
type Mutex = sync.Mutex

// Sleep waits until addr no longer holds v. It may return early.
func Sleep(addr *Half, v uint32) { sys.FutexWait(addr, v, -1) }

// Wake wakes one sleeper on addr, in any process.
func Wake(addr *Half) { sys.FutexWake(addr, 1) }
