package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The rows of calls to another process name their placement: "same" has all threads of both on one CPU, "cross" the program's
// on one and the other's on another, "default" wherever the system puts them.

// placer puts the threads of this process and of another on CPUs.
type placer struct {
	cpus   []int        // that this process may use, none where that is not known
	other  int          // the CPU that the other process gets in "cross", one of cpus
	pinned map[int]bool // processes that are not where the system likes
}

func newPlacer() *placer {
	p := &placer{cpus: allowedCPUs(), pinned: map[int]bool{}}
	if len(p.cpus) > 1 {
		p.other = distantCPU(p.cpus)
	}
	return p
}

// possible says why a placement is not possible here, nil when it is.
func (p *placer) possible(where string) error {
	switch {
	case where == placedByDefault:
		return nil
	case len(p.cpus) == 0:
		return fmt.Errorf("%s: impossible: this system does not pin threads: %w", where, errors.ErrUnsupported)
	case where == placedCross && len(p.cpus) == 1:
		return fmt.Errorf("%s: impossible: this process may use one CPU only", where)
	}
	return nil
}

// place pins all threads that this process and the one with pid peer have now; those that they make inherit it. Without a
// peer, 0, it is about this process alone.
func (p *placer) place(where string, peer int) error {
	if err := p.possible(where); err != nil {
		return err
	}
	own, its := p.cpus, p.cpus
	switch where {
	case placedSame:
		own, its = p.cpus[:1], p.cpus[:1]
	case placedCross:
		own, its = p.cpus[:1], []int{p.other}
	}
	err := p.pin(os.Getpid(), own, where)
	if peer != 0 {
		err = errors.Join(err, p.pin(peer, its, where))
	}
	return err
}

// pin pins a process, unless it is to be where the system likes and is.
func (p *placer) pin(pid int, cpus []int, where string) error {
	if where == placedByDefault && !p.pinned[pid] {
		return nil
	}
	p.pinned[pid] = where != placedByDefault
	return pinProcess(pid, cpus)
}

// describe says which CPUs the placements are.
func (p *placer) describe() string {
	switch len(p.cpus) {
	case 0:
		return "not available"
	case 1:
		return fmt.Sprintf("same: both on CPU %d; cross: impossible with one CPU", p.cpus[0])
	}
	return fmt.Sprintf("same: both on CPU %d; cross: program on CPU %[1]d, the other process on CPU %d", p.cpus[0], p.other)
}

// pinProcess pins all threads of a process. A thread that appears while it works may have been made by one that was not pinned
// yet, so it looks until there is no new one.
func pinProcess(pid int, cpus []int) error {
	pinned := map[int]bool{}
	for {
		fresh := false
		list := threads(pid)
		if len(list) == 0 {
			return fmt.Errorf("process %d has no threads to pin: has it ended?", pid)
		}
		for _, tid := range list {
			if pinned[tid] {
				continue
			}
			if err := pinThread(tid, cpus); err != nil {
				return fmt.Errorf("pin thread %d of process %d to CPUs %v: %w", tid, pid, cpus, err)
			}
			pinned[tid], fresh = true, true
		}
		if !fresh {
			return nil
		}
	}
}

// threads lists the threads of a process, none where there is no /proc.
func threads(pid int) (list []int) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			list = append(list, tid)
		}
	}
	return list
}

// allowedCPUs lists the CPUs that this process may use, none where the system does not pin threads.
func allowedCPUs() []int {
	if !canPin {
		return nil
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return parseCPUs(strings.TrimSpace(list))
		}
	}
	return nil
}

// parseCPUs reads a list as the kernel writes it, such as "0-3,8"; none when it is no such list.
func parseCPUs(list string) (cpus []int) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || first < 0 || first > last || last >= maxCPUs {
			return nil
		}
		for c := first; c <= last; c++ {
			cpus = append(cpus, c)
		}
	}
	return cpus
}

// maxCPUs bounds the number of a CPU.
const maxCPUs = 1024

// distantCPU picks the partner of the first CPU: the next one that is not another thread of the same core, if there is one.
func distantCPU(cpus []int) int {
	siblings := []int(nil)
	if text, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpus[0])); err == nil {
		siblings = parseCPUs(strings.TrimSpace(string(text)))
	}
	for _, c := range cpus[1:] {
		if !slices.Contains(siblings, c) {
			return c
		}
	}
	return cpus[1]
}
