package sys

import "time"

// base pairs the process's monotonic clock with the machine's: reading time.Since is a few tens of nanoseconds, reading the
// machine's clock through a system call several times that.
var (
	baseTime  = time.Now()
	baseNanos = machineNanos()
)

// Now returns nanoseconds of a clock that every process of this machine shares and that never jumps: CLOCK_MONOTONIC where
// there is one. A time from before a suspend or a reboot means nothing after it.
func Now() int64 { return baseNanos + int64(time.Since(baseTime)) }

// At converts a Go time, which must carry a monotonic reading, to the scale of Now.
func At(t time.Time) int64 { return baseNanos + int64(t.Sub(baseTime)) }

// Time converts a value of Now's scale back to a Go time.
func Time(nanos int64) time.Time { return baseTime.Add(time.Duration(nanos - baseNanos)) }
