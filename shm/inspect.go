package shm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What those who only look ask for. Nothing here writes, and every loop is bounded by the geometry.

// Usage is how the message memory is used. Frames of a span that is not carved do not exist yet.
type Usage struct {
	States [states]int64 // frames by state; Free counts the free frames of carved spans
	Bytes  [states]int64 // their memory, headers included

	Total, Carved int64 // message memory in bytes, and how much of it is carved into frames
	Estimated     bool  // not every owner word was read: the counts of frames are extrapolated
}

// Used is the memory of the frames that hold a message: all but the free ones and those that a process keeps for itself.
func (u *Usage) Used() int64 { return u.sum(Queued, states) }

// Kept is the memory of the frames that processes hold: their caches, and what is being filled or read.
func (u *Usage) Kept() int64 { return u.Bytes[Held] }

func (u *Usage) sum(from, to State) (n int64) {
	for s := from; s < to; s++ {
		n += u.Bytes[s]
	}
	return n
}

// Usage counts the frames by state, reading at most about limit owner words: of more it reads those of evenly spaced spans
// and extrapolates.
func (s *Segment) Usage(limit int) Usage {
	u := Usage{Total: s.geo.spans * spanSize}
	var words int64 // how many owner words there are to read
	for span := range s.geo.spans {
		size, n := spanUse(s.spans[span].Load()).frames()
		words += n
		u.Carved += size * n
	}
	u.Carved = min(u.Carved, u.Total)
	step := 1 + words/max(1, int64(limit))
	u.Estimated = step > 1
	for span := int64(0); span < s.geo.spans; span += step {
		s.countSpan(&u, span, step)
	}
	for st := range u.Bytes { // what overlaps is the work of no correct program, or was read while it changed
		u.Bytes[st] = min(u.Bytes[st], u.Total)
	}
	return u
}

func (s *Segment) countSpan(u *Usage, span, weight int64) {
	size, n := spanUse(s.spans[span].Load()).frames()
	if size > (s.geo.spans-span)*spanSize {
		return
	}
	at := span * framesPerSpan
	for k := range n {
		if st := Owner(s.owners[at+k].Load()).State(); st < states {
			u.States[st] += weight
			u.Bytes[st] += weight * size
		}
	}
}

// RingBytes is the ring memory: how much was handed out for ever, and how much there is.
func (s *Segment) RingBytes() (used, total int64) {
	words := min(s.header[hdrRingsUsed].Load(), uint64(s.geo.ringWords))
	return int64(words) * wordSize, s.geo.ringWords * wordSize
}

// Enqueued reads when the message was sent, machine clock, 0 when that was not sampled. The frame may belong to somebody
// else: what it says counts only if the word that named the frame has not changed afterwards.
func (f Frame) Enqueued() int64 { return f.head.enqueued }

// ProgramOf finds the program that process pid belongs to, as its owner or one of its workers. The error wraps
// os.ErrNotExist when there is no such process or it holds no segment, os.ErrPermission when it is another user's, and
// ErrIncompatible when it is another version's.
func ProgramOf(pid int) (Program, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return Program{}, fmt.Errorf("shm: process %d: %w", pid, err)
	}
	refused := fmt.Errorf("shm: process %d holds no segment: %w", pid, os.ErrNotExist)
	for _, e := range fds {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || !strings.HasPrefix(target, memoryFilePrefix) {
			continue
		}
		fd, _ := strconv.Atoi(e.Name())
		s, err := Program{PID: pid, FD: fd}.Open()
		if err != nil {
			refused = err
			continue
		}
		info := s.Info()
		closeSegment(s)
		if info.OwnerPID == pid {
			return Program{
				Name: info.Name, PID: pid, Start: info.OwnerStart, FD: fd, ABI: info.ABI, Created: info.Created,
			}, nil
		}
		if p, ok := programWithPID(info.OwnerPID); ok {
			return p, nil
		}
	}
	return Program{}, refused
}

func programWithPID(pid int) (Program, bool) {
	all, err := Programs()
	if err != nil {
		return Program{}, false
	}
	for _, p := range all {
		if p.PID == pid {
			return p, true
		}
	}
	return Program{}, false
}
