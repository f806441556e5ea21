package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// ledger is the file into which every process enters what it does, mapped by all of them:
//
//	counters   64 words of 64 bits
//	ready      one for each target: the process that started its actor last
//	next       one for each sender: the number of its next message
//	order      one for each sender and target: the number after the message that began last
//	entries    one word of 32 bits for each message, by sender
//
// Senders are the callers, the targets, whose handlers send too, and the callers in clients. The file is sparse.
type ledger struct {
	file  *os.File
	bytes []byte
	shape shape

	counters, ready, next, order []atomic.Uint64
	entries                      []atomic.Uint32
}

// shape says how large the parts of a ledger are.
type shape struct{ callers, workers, perSender uint64 }

// guests are the targets that come and go.
const guests = 3

// Targets are two in each worker, then one in the program itself, then the guests.
func (s shape) home() uint64 { return 2 * s.workers }

func (s shape) targets() uint64 { return s.home() + 1 + guests }

func (s shape) senders() uint64 { return s.callers + s.targets() + clients*clientCallers }

// client is the first sender of a client.
func (s shape) client(n uint64) uint64 { return s.callers + s.targets() + n*clientCallers }

func (s shape) words() uint64 {
	return counterWords + s.targets() + s.senders() + s.senders()*s.targets()
}

func (s shape) size() int64 { return int64(8*s.words() + 4*s.senders()*s.perSender) }

// Counters.
const (
	countCallers = iota // the shape
	countWorkers
	countPerSender
	countKills   // of workers
	countCradle  // of these, of workers that had not joined yet
	countClients // killed
	countStops
	countLetters // taken out
	countTorn    // messages that were not whole
	countOrder   // messages that came before an earlier one of the same sender
	countTwice   // messages that began a second time
	countAlien   // payloads of dead letters that name no message
	countStuck   // calls that waited for ever
	countLives   // of the program, that were started
	countStorms  // of these, that were ready and began to send
	counterWords = 64
)

// Bits of an entry.
const (
	entryBegun   = 1 << 0 // counts of 4 bits
	entryDone    = 1 << 4
	entryLetter  = 1 << 8
	entryCount   = 15
	entryOneWay  = 1 << 12
	entryInHand  = 1 << 13 // the dead letter's reason is one that a message in hand can have
	entryDied    = 1 << 14 // and that is the death of its worker
	entryPut     = 1 << 15 // a call whose handler defers the answer
	entrySent    = 1 << 16 // is about to be sent
	entryTook    = 1 << 17 // the outcomes: a reply, or accepted
	entryFailed  = 1 << 18
	entryRefused = 1 << 19
	entryCrashed = 1 << 20 // failed, with ErrCrashed
	outcomes     = entryTook | entryFailed | entryRefused
)

// createLedger makes the file, for openLedger in every process.
func createLedger(path string, s shape) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = first(err, f.Close()) }()
	var head []byte
	for _, n := range []uint64{s.callers, s.workers, s.perSender} {
		head = binary.NativeEndian.AppendUint64(head, n)
	}
	if _, err := f.Write(head); err != nil {
		return err
	}
	return f.Truncate(s.size())
}

// openLedger maps the ledger into this process.
func openLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 24)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, first(err, f.Close())
	}
	number := func(i int) uint64 { return binary.NativeEndian.Uint64(head[8*i:]) }
	s := shape{number(countCallers), number(countWorkers), number(countPerSender)}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(s.size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, first(fmt.Errorf("the ledger cannot be mapped: %w", err), f.Close())
	}
	l := &ledger{file: f, bytes: b, shape: s}
	words := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&b[0])), s.words())
	part := func(n uint64) []atomic.Uint64 {
		p := words[:n:n]
		words = words[n:]
		return p
	}
	l.counters, l.ready, l.next, l.order = part(counterWords), part(s.targets()), part(s.senders()), part(s.senders()*s.targets())
	l.entries = unsafe.Slice((*atomic.Uint32)(unsafe.Pointer(&b[8*s.words()])), s.senders()*s.perSender)
	return l, nil
}

func (l *ledger) close() error { return first(syscall.Munmap(l.bytes), l.file.Close()) }

// first is the first error of several.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ledgers are those of the actors of this process, which never unmap one.
var ledgers struct {
	sync.Mutex
	byPath map[string]*ledger
}

func ledgerOf(path string) (*ledger, error) {
	ledgers.Lock()
	defer ledgers.Unlock()
	if l := ledgers.byPath[path]; l != nil {
		return l, nil
	}
	l, err := openLedger(path)
	if err != nil {
		return nil, err
	}
	ledgers.byPath = map[string]*ledger{path: l}
	return l, nil
}

// closeLedger forgets the one ledger of a life that has ended.
func closeLedger() error {
	ledgers.Lock()
	defer ledgers.Unlock()
	for path, l := range ledgers.byPath {
		delete(ledgers.byPath, path)
		return l.close()
	}
	return nil
}

func (l *ledger) count(c int) { l.counters[c].Add(1) }

func (l *ledger) counted(c int) uint64 { return l.counters[c].Load() }

// draw takes the next number of a sender. A number is never taken twice, whoever dies; ok is false when there is none left.
func (l *ledger) draw(sender uint64) (id uint64, ok bool) {
	n := l.next[sender].Add(1) - 1
	return sender*l.shape.perSender + n, n < l.shape.perSender
}

// known reports whether a number is one of a message that was sent.
func (l *ledger) known(id uint64) bool {
	return id < uint64(len(l.entries)) && l.entries[id].Load()&entrySent != 0
}

func (l *ledger) begin(target, id uint64) {
	order := &l.order[id/l.shape.perSender*l.shape.targets()+target]
	if order.Load() > id {
		l.count(countOrder)
	}
	order.Store(id + 1)
	if was := l.entries[id].Add(entryBegun) - entryBegun; was&entryCount != 0 {
		l.count(countTwice)
	}
}

func (l *ledger) done(id uint64) { l.entries[id].Add(entryDone) }

// exclusive runs f while nobody kills this process. The lock ends with its holder.
func (l *ledger) exclusive(f func() error) (err error) {
	if err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	defer func() { err = first(err, syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)) }()
	return f()
}
