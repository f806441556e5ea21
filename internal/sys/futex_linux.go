package sys

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	futexWait = 0
	futexWake = 1
)

// FutexWait sleeps while *addr holds val, until a FutexWake on the same word (of any process), a signal, or timeout
// nanoseconds (none if negative). It may return early for no reason: callers look again. The thread blocks; the Go
// scheduler gives its P away after a while, so at most a few goroutines of a process may sleep here.
func FutexWait(addr *atomic.Uint32, val uint32, timeout int64) {
	var ts *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(timeout)
		ts = &t
	}
	// Errors are EAGAIN (the word changed), EINTR and ETIMEDOUT: to the caller all mean "look again".
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWait, uintptr(val),
		uintptr(unsafe.Pointer(ts)), 0, 0)
}

// FutexWake wakes up to n sleepers on addr, in any process that maps it.
func FutexWake(addr *atomic.Uint32, n int) {
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWake, uintptr(n), 0, 0, 0)
}

// Yield offers the processor to another thread of the machine.
func Yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
