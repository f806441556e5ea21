package shm

import (
	"fmt"

	"github.com/shmactor/shmactor/internal/sys"
)

// Options size a segment. The zero value is a segment of 16 MiB that fits a container of 64 MB.
//
// The size is fixed at creation and every page of it is reserved then:
//
//	processes x (768 B + mailboxes/8 B) + mailboxes x (128 + 384 + 16..32 B) + ring memory + message memory + 4.2 % of it
//
// where a mailbox of capacity c needs 8c bytes of ring memory.
type Options struct {
	// Name is what tools show; at most 64 bytes.
	Name string
	// Processes is the largest number of processes at one time, the owner included. Default 64, at most 1,024.
	Processes int
	// Mailboxes is the largest number of mailboxes at one time. Default 4,096.
	Mailboxes int
	// RingBytes is the memory of all rings. Default 512 bytes (64 messages) a mailbox.
	RingBytes int64
	// MessageBytes is the memory of all messages. Default 12 MiB, or four times MaxMessage if that is more; rounded up to
	// spans of 64 KiB.
	MessageBytes int64
	// MaxMessage is the largest message in bytes, at most half of MessageBytes. Default 1 MiB.
	MaxMessage int64
	// Heap puts the segment on the Go heap of this process. Nobody else can attach; the race detector sees it.
	Heap bool
	// File, if not empty, is the path of a file that backs the segment instead of an anonymous memory file. It outlives the
	// processes: a segment that a dead owner left there is taken over if it has this size and is of this boot, else set aside as
	// PATH.N.old. A system that ends in order removes it. Anything else at the path is an error.
	File string
}

// Defaults and limits of Options.
const (
	DefaultProcesses    = 64
	DefaultMailboxes    = 4096
	DefaultMessageBytes = 12 << 20
	DefaultMaxMessage   = 1 << 20
	defaultRingBytes    = 512 // a mailbox
	runsPerMaximum      = 4   // messages of the largest size that the default message memory holds
)

// geometry turns options into sizes, or says which option is out of its bounds.
func (o Options) geometry() (*geometry, error) {
	if len(o.Name) > MaxSystemName {
		return nil, fmt.Errorf("shm: segment name of %d bytes, at most %d: %w", len(o.Name), MaxSystemName, ErrBadName)
	}
	if o.RingBytes < 0 { // less than a word would be taken for none
		return nil, fmt.Errorf("shm: bad options: RingBytes is %d", o.RingBytes)
	}
	g := &geometry{
		processes:  orDefault(int64(o.Processes), DefaultProcesses),
		mailboxes:  orDefault(int64(o.Mailboxes), DefaultMailboxes),
		maxMessage: orDefault(o.MaxMessage, DefaultMaxMessage),
	}
	g.ringWords = orDefault(o.RingBytes, g.mailboxes*defaultRingBytes) / wordSize
	bytes := orDefault(o.MessageBytes, max(DefaultMessageBytes, runsPerMaximum*(g.maxMessage+frameHeader)))
	g.spans = align(bytes, spanSize) / spanSize
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("shm: bad options: %w", err)
	}
	g.lay()
	return g, nil
}

func orDefault(n, def int64) int64 {
	if n == 0 {
		return def
	}
	return n
}

// Size is how many bytes a segment with these options takes.
func (o Options) Size() (int64, error) {
	g, err := o.geometry()
	if err != nil {
		return 0, err
	}
	return g.size, nil
}

// fits refuses a segment that the memory cgroup cannot hold: its kernel would answer the first touch with the OOM killer,
// not with an error.
func fits(size int64) error {
	return fitsInto(size, sys.MemoryLimit)
}

func fitsInto(size int64, memory func() (limit, used int64, ok bool)) error {
	limit, used, ok := memory()
	if ok && size > limit-used {
		return fmt.Errorf("shm: a segment of %d bytes does not fit: the memory cgroup allows %d and %d are in use; "+
			"lower MessageBytes, Mailboxes or MaxMessage, or raise memory.max: %w", size, limit, used, ErrNoSpace)
	}
	return nil
}
