//go:build !linux

package sys

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// sleepers holds, per word, a channel that is closed at the next wake. Without a futex only the goroutines of this process
// can be woken, which is all that a heap segment has.
var sleepers = struct {
	sync.Mutex
	of map[*atomic.Uint32]chan struct{}
}{of: map[*atomic.Uint32]chan struct{}{}}

// FutexWait sleeps while *addr holds val, until a FutexWake on the same word by this process, or timeout nanoseconds (none
// if negative). It may return early for no reason: callers look again.
func FutexWait(addr *atomic.Uint32, val uint32, timeout int64) {
	sleepers.Lock()
	if addr.Load() != val {
		sleepers.Unlock()
		return
	}
	ch := sleepers.of[addr]
	if ch == nil {
		ch = make(chan struct{})
		sleepers.of[addr] = ch
	}
	sleepers.Unlock()
	if timeout < 0 {
		<-ch
		return
	}
	timer := time.NewTimer(time.Duration(timeout))
	defer timer.Stop()
	select {
	case <-ch:
	case <-timer.C:
	}
}

// FutexWake wakes all sleepers on addr in this process.
func FutexWake(addr *atomic.Uint32, _ int) {
	sleepers.Lock()
	ch := sleepers.of[addr]
	delete(sleepers.of, addr)
	sleepers.Unlock()
	if ch != nil {
		close(ch)
	}
}

// Yield offers the processor to another goroutine.
func Yield() { runtime.Gosched() }

func machineNanos() int64 { return time.Now().UnixNano() }
