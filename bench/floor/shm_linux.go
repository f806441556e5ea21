package floor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Shm is a peer that shares memory with this process: two words on two cache lines, one for each way, and the bytes beside them. Who waits
// looks a few times, then looks and yields for a while, then sleeps on a futex.
type Shm struct {
	*child
	mem  []byte
	most int
	seq  uint32
}

// line is one way of the exchange, on a cache line of its own. Short messages lie in it, others behind the two lines.
type line struct {
	seq    atomic.Uint32 // of the last message
	sleeps atomic.Uint32 // the reader does
	length uint32
	short  [shortSize]byte
}

const (
	lineSize  = 64
	shortSize = lineSize - 12

	looks     = 64                    // without yielding
	spinTime  = 50 * time.Microsecond // then with yielding
	yields    = 5                     // between two looks at the clock
	futexWait = 0
	futexWake = 1
)

var _ [lineSize - unsafe.Sizeof(line{})]struct{} // it fits

// NewShm starts a peer for messages of at most most bytes.
func NewShm(most int) (*Shm, error) {
	f, err := os.CreateTemp("/dev/shm", "floor-")
	if err != nil {
		return nil, err
	}
	err = errors.Join(os.Remove(f.Name()), f.Truncate(int64(shmSize(most))))
	var mem []byte
	if err == nil {
		mem, err = mapShm(f.Fd(), most)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	c, err := start(kindShm, most, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, syscall.Munmap(mem))
	}
	return &Shm{child: c, mem: mem, most: most}, nil
}

func mapShm(fd uintptr, most int) ([]byte, error) {
	return syscall.Mmap(int(fd), 0, shmSize(most), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_POPULATE)
}

// shmSize is the memory for two lines and two messages.
func shmSize(most int) int {
	page := os.Getpagesize()
	return (2*lineSize + 2*most + page - 1) / page * page
}

// way is the line and the memory for long messages of one way: 0 there, 1 back.
func way(mem []byte, most, n int) (*line, []byte) {
	at := 2*lineSize + n*most
	return (*line)(unsafe.Pointer(&mem[n*lineSize])), mem[at : at+most]
}

// Call sends req and reads the reply into res.
func (s *Shm) Call(req, res []byte) error {
	there, out := way(s.mem, s.most, 0)
	back, in := way(s.mem, s.most, 1)
	s.seq++
	there.put(s.seq, out, req)
	back.wait(s.seq - 1)
	b := back.get(in)
	if len(b) != len(res) {
		return fmt.Errorf("floor: %d bytes came back, not %d", len(b), len(res))
	}
	copy(res, b)
	return nil
}

// Close ends the other process.
func (s *Shm) Close() error { return errors.Join(s.end(), syscall.Munmap(s.mem)) }

func serveShm(fd uintptr, most int) error {
	mem, err := mapShm(fd, most)
	if err != nil {
		return err
	}
	there, in := way(mem, most, 0)
	back, out := way(mem, most, 1)
	for seq := uint32(0); ; {
		there.wait(seq)
		seq++
		back.put(seq, out, there.get(in))
	}
}

// put writes a message and wakes its reader.
func (l *line) put(seq uint32, long, b []byte) {
	l.length = uint32(len(b))
	if len(b) <= shortSize {
		copy(l.short[:], b)
	} else {
		copy(long, b)
	}
	l.seq.Store(seq)
	if l.sleeps.Load() != 0 {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&l.seq)), futexWake, 1, 0, 0, 0)
	}
}

// get is the message, where it lies.
func (l *line) get(long []byte) []byte {
	if n := int(l.length); n > shortSize {
		return long[:n]
	}
	return l.short[:l.length]
}

// wait waits until the message after old is there.
func (l *line) wait(old uint32) {
	for range looks {
		if l.seq.Load() != old {
			return
		}
	}
	for end := time.Now().Add(spinTime); time.Now().Before(end); runtime.Gosched() {
		for range yields {
			_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
			if l.seq.Load() != old {
				return
			}
		}
	}
	l.sleeps.Store(1)
	for l.seq.Load() == old {
		_, _, _ = syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&l.seq)), futexWait, uintptr(old), 0, 0, 0)
	}
	l.sleeps.Store(0)
}
