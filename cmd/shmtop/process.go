package main

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"github.com/shmactor/shmactor/shm"
)

// process is one entry of the process table, with what the kernel says about it.
type process struct {
	shm.ProcessInfo
	name   string // as it is shown
	kernel kernelState
	cpu    time.Duration // used since its start
	rss    int64         // resident memory in bytes, shared pages included
}

// kernelState is what the kernel says about a process.
type kernelState string

const (
	processGone    kernelState = "gone"
	processRunning kernelState = "running" // or about to, or asleep
	processStopped kernelState = "stopped"
)

// usable reports whether the process can do its work, as far as table and kernel know.
func (p *process) usable() bool { return p.State == shm.ProcLive && p.kernel != processGone }

// clockTick is the unit of times in /proc, on every architecture that Go knows.
const clockTick = time.Second / 100

// readProcess asks the kernel about the process with that pid and start time.
func readProcess(info shm.ProcessInfo) process {
	p := process{ProcessInfo: info, kernel: processGone}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(info.PID) + "/stat")
	if err != nil {
		return p
	}
	// The second field is the program's name in parentheses, which may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const first, state, utime, stime, start, rss = 3, 3, 14, 15, 22, 24
	number := func(field int) int64 {
		if len(fields) <= field-first {
			return 0
		}
		n, _ := strconv.ParseInt(string(fields[field-first]), 10, 64)
		return n
	}
	if uint64(number(start)) != info.Start {
		return p // that pid is another process's now
	}
	p.cpu = time.Duration(number(utime)+number(stime)) * clockTick
	p.rss = number(rss) * int64(os.Getpagesize())
	switch fields[state-first][0] {
	case 'Z', 'X': // it has exited
	case 'T', 't':
		p.kernel = processStopped
	default:
		p.kernel = processRunning
	}
	return p
}
