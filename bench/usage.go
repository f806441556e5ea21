package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// ownCPU is the processor time that this process has used.
func ownCPU() (used time.Duration, known bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// cpuTime is the processor time that this process has used, and that of a peer unless it is 0; known is false where the
// system does not tell.
func cpuTime(peer int) (used time.Duration, known bool) {
	used, known = ownCPU()
	if peer != 0 && known {
		var its time.Duration
		its, known = threadsCPU(peer)
		used += its
	}
	return used, known
}

// threadsCPU adds up the processor time of a process's threads: a file of the process as a whole has it in hundredths of a
// second only. A thread of Go's ends rarely, and what it used is missing then.
func threadsCPU(pid int) (used time.Duration, known bool) {
	for _, tid := range threads(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, tid))
		if err != nil {
			continue
		}
		var ran int64
		if _, err := fmt.Sscan(string(text), &ran); err == nil {
			used += time.Duration(ran)
			known = true
		}
	}
	return used, known
}
