package sys

import "time"

// baseTime and baseNanos pair the process's monotonic clock with the machine's: reading time.Since is a few tens of
// nanoseconds, reading the machine's clock through a system call several times that.
var baseTime, baseNanos = pairClocks()

// pairClocks reads both clocks at once, as nearly as it can: a process may be descheduled between two readings.
func pairClocks() (at time.Time, nanos int64) {
	const tries = 8
	best := time.Duration(1<<63 - 1)
	for range tries {
		before := time.Now()
		n := machineNanos()
		if gap := time.Since(before); gap < best {
			best, at, nanos = gap, before.Add(gap/2), n
		}
	}
	return at, nanos
}

// Now returns nanoseconds of a clock that every process of this machine shares and that never jumps: CLOCK_MONOTONIC where
// there is one. A time from before a suspend or a reboot means nothing after it.
func Now() int64 { return baseNanos + int64(time.Since(baseTime)) }

// Exact is Now without the error of the pairing, through a system call: what two processes read of it can be put in order.
func Exact() int64 { return machineNanos() }

// At converts a Go time, which must carry a monotonic reading, to the scale of Now.
func At(t time.Time) int64 { return baseNanos + int64(t.Sub(baseTime)) }

// Time converts a value of Now's scale back to a Go time.
func Time(nanos int64) time.Time { return baseTime.Add(time.Duration(nanos - baseNanos)) }
