package main

import (
	"errors"
	"reflect"
	"syscall"
)

const canPin = true

// cpuMask is what the kernel reads in pinThread. It lies here because a package-level variable never moves: its address may be
// passed as a number. Only one goroutine pins.
var cpuMask [maxCPUs / 64]uint64

// pinThread lets a thread run on these CPUs only. A thread that has ended is no error.
func pinThread(tid int, cpus []int) error {
	clear(cpuMask[:])
	for _, c := range cpus {
		cpuMask[c/64] |= 1 << (c % 64)
	}
	const size = uintptr(maxCPUs / 8)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(tid), size, reflect.ValueOf(&cpuMask).Pointer())
	if errno == 0 || errors.Is(errno, syscall.ESRCH) {
		return nil
	}
	return errno
}
