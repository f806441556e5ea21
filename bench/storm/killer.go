package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmactor/shmactor/shm"
)

const (
	pollTime    = 200 * time.Microsecond
	earlyMax    = 8 * time.Millisecond  // after a worker joined: it is starting its actors
	readyMax    = 25 * time.Millisecond // after its actors have started
	stopMax     = 20 * time.Millisecond
	cradleMax   = 250 * time.Millisecond // between kills of workers that have not joined yet
	settledTime = 10 * time.Second       // after it, a kill counts as never settled
)

// killer kills and stops the worker processes of this process.
type killer struct {
	ledger *ledger
	seg    *shm.Segment
	over   <-chan struct{}

	mu      sync.Mutex
	kills   map[int]*kill // the last of each worker, by pid
	settled []time.Duration
}

// kill is one kill of a worker that was ready.
type kill struct {
	at     time.Time
	freed  time.Duration
	answer atomic.Int64 // when the last caller was told, after at
}

// told is what a caller says that learned of the death of a worker.
func (k *killer) told(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if one := k.kills[pid]; one != nil {
		one.answer.Store(max(one.answer.Load(), int64(time.Since(one.at))))
	}
}

// hunt kills worker w again and again.
func (k *killer) hunt(w int, rng *rand.Rand) {
	name, last := workerName(w), 0
	for {
		p, ok := k.await(func() (shm.ProcessInfo, bool) {
			p, ok := k.find(name)
			return p, ok && p.PID != last
		})
		if !ok {
			return
		}
		if rng.IntN(4) == 0 {
			k.pause(rng, earlyMax)
		} else {
			_, ok = k.await(func() (shm.ProcessInfo, bool) {
				now, there := k.find(name)
				ready := k.ledger.ready[2*w].Load() == uint64(p.PID) && k.ledger.ready[2*w+1].Load() == uint64(p.PID)
				return now, ready || !there || now.PID != p.PID
			})
			if !ok {
				return
			}
			k.pause(rng, readyMax)
		}
		last = p.PID
		if !k.strike(p, rng) {
			last = 0 // it lives on
		}
	}
}

// await polls until there is what is waited for; ok is false when the storm is over.
func (k *killer) await(look func() (shm.ProcessInfo, bool)) (p shm.ProcessInfo, ok bool) {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		select {
		case <-k.over:
			return p, false
		case <-tick.C:
		}
		if p, ok = look(); ok {
			return p, true
		}
	}
}

func (k *killer) pause(rng *rand.Rand, most time.Duration) {
	timer := time.NewTimer(time.Duration(rng.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.over:
	}
}

// find finds the process of a worker that has joined.
func (k *killer) find(name string) (p shm.ProcessInfo, ok bool) {
	for i := range uint32(k.seg.Processes()) {
		p, _ := k.seg.Process(i)
		if p.Name == name && p.State == shm.ProcLive && p.PID > 1 && p.PID != os.Getpid() {
			return p, true
		}
	}
	return p, false
}

// strike stops a worker for a while, or kills it, or both; it is false when the worker lives on.
func (k *killer) strike(p shm.ProcessInfo, rng *rand.Rand) bool {
	h, err := child(p.PID)
	if err != nil {
		return true // somebody else's kill, and the end of it
	}
	defer func() { _ = h.Release() }()
	if k.seg.ID(p.ID.Index()) != p.ID || !k.seg.Alive(p.ID) {
		return true // the number is another's by now
	}
	if rng.IntN(4) == 0 {
		if h.Signal(syscall.SIGSTOP) != nil {
			return true
		}
		k.ledger.count(countStops)
		k.pause(rng, stopMax)
		if rng.IntN(2) == 0 {
			_ = h.Signal(syscall.SIGCONT) // if somebody else has killed it meanwhile, it is gone
			return false
		}
	}
	one := &kill{at: time.Now()}
	k.mu.Lock()
	k.kills[p.PID] = one
	k.mu.Unlock()
	if h.Signal(syscall.SIGKILL) != nil { // somebody else was faster
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.kills, p.PID)
		return true
	}
	k.ledger.count(countKills)
	k.settle(p, one)
	return true
}

// settle waits until the entry of a killed process is free, and so its frames are.
func (k *killer) settle(p shm.ProcessInfo, one *kill) {
	for end := one.at.Add(settledTime); ; time.Sleep(pollTime) {
		if now, _ := k.seg.Process(p.ID.Index()); now.ID != p.ID || now.State == shm.ProcFree {
			break
		}
		if time.Now().After(end) {
			complain("worker %q (pid %d) was killed, and %v later its entry is not free", p.Name, p.PID, settledTime)
			break
		}
	}
	one.freed = time.Since(one.at)
	// Its callers may be told a little later. When the record is closed they have been.
	time.AfterFunc(time.Second, func() { k.close(p.PID, one) })
}

// close makes a figure of a kill.
func (k *killer) close(pid int, one *kill) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settled = append(k.settled, max(one.freed, time.Duration(one.answer.Load())))
	if k.kills[pid] == one {
		delete(k.kills, pid)
	}
}

// cradle kills workers that have not joined yet: children that the process table does not name.
func (k *killer) cradle(rng *rand.Rand) {
	for {
		k.pause(rng, cradleMax)
		select {
		case <-k.over:
			return
		default:
		}
		all := children()
		for _, pid := range all {
			if k.joined(pid) {
				continue
			}
			if h, err := child(pid); err == nil {
				if h.Signal(syscall.SIGKILL) == nil {
					k.ledger.count(countKills)
					k.ledger.count(countCradle)
				}
				_ = h.Release()
				break
			}
		}
	}
}

func (k *killer) joined(pid int) bool {
	for i := range uint32(k.seg.Processes()) {
		if p, _ := k.seg.Process(i); p.PID == pid {
			return true
		}
	}
	return false
}

// child opens a process that is a living child of this one. The handle is opened first: from then on the number cannot come to mean
// another process, so what is found out holds.
func child(pid int) (*os.Process, error) {
	h, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] != "Z" && f[1] == strconv.Itoa(os.Getpid()) {
			return h, nil
		}
	}
	return nil, errors.Join(os.ErrProcessDone, h.Release())
}

// children lists the children of this process, zombies too.
func children() (pids []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for f := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
