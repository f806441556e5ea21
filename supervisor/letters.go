package supervisor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// DeadLetter is a one-way message that was accepted and not handled.
type DeadLetter struct {
	To       string // the actor that it was for
	From     string // the actor whose handler sent it, if one did
	Method   string // empty when this program does not know it
	Reason   string // why it was not handled
	Attempts int    // how often its handler was begun, of a kind with actor.Redeliver
	Payload  []byte // as it was encoded; empty when it went by reference
	Size     int    // of the payload in bytes; another process gets of a very large one only the beginning
}

// letterBox keeps the dead letters of a system: a mailbox in the segment whose receiver lets them lie until somebody asks,
// and drops the oldest when there are too many.
type letterBox struct {
	box   *mailbox.Mailbox
	limit int
	asked chan *letterRequest
	ended chan struct{}
	stop  context.CancelFunc
	next  *DeadLetter // taken, and too large for the answer before; of the receiver's goroutine

	mu    sync.Mutex
	names map[uint32]string // of mailboxes, also of those that were closed since
}

// letterRequest asks for letters. Either its receiver answers it or who asked gives up, never both.
type letterRequest struct {
	most, bytes int
	claimed     atomic.Bool
	reply       chan []DeadLetter
}

const lettersName = systemPrefix + "dead-letters"

// lettersCapacity is the room for dead letters of which limit are kept: the receiver needs a moment to drop the oldest.
func lettersCapacity(limit int) int { return max(2*limit, lettersRoom) }

const lettersRoom = 64

func openLetters(r *root) (*letterBox, error) {
	limit := r.spec.letters()
	box, err := r.hub.Create(lettersName, lettersCapacity(limit), shm.Hash(lettersName))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &letterBox{
		box: box, limit: limit, asked: make(chan *letterRequest, 1), ended: make(chan struct{}), stop: cancel,
		names: map[uint32]string{},
	}
	r.hub.SetLetters(box)
	go l.keep(ctx, r)
	return l, nil
}

// keep is the receiver's goroutine.
func (l *letterBox) keep(ctx context.Context, r *root) {
	defer close(l.ended)
	rx := l.box.Receiver()
	defer rx.Close()
	for {
		rx.Bits() // before the look: who asks does so first, and then sets a bit
		select {
		case q := <-l.asked:
			if q.claimed.CompareAndSwap(false, true) {
				q.reply <- l.take(rx, q)
			}
			continue
		default:
		}
		l.drop(rx, r.seg)
		if err := rx.Above(ctx, l.limit); err != nil {
			return
		}
	}
}

// drop makes room for newer letters, and for live messages when there is no frame for them.
func (l *letterBox) drop(rx *mailbox.Receiver, seg *shm.Segment) {
	keep := l.limit
	if seg.Wanted() {
		keep = min(keep, rx.Depth()*3/4)
	}
	for rx.Depth() > keep {
		m, ok := rx.TryReceive()
		if !ok {
			return
		}
		seg.Count(shm.DroppedLetters)
		m.Release()
	}
}

// take takes what was asked for, and no more bytes than that, but at least one letter.
func (l *letterBox) take(rx *mailbox.Receiver, q *letterRequest) (list []DeadLetter) {
	for room := q.bytes; len(list) < q.most; l.next = nil {
		if l.next == nil {
			m, ok := rx.TryReceive()
			if !ok {
				break
			}
			d := l.letter(&m)
			m.Release()
			if strings.HasPrefix(d.Method, systemPrefix) {
				continue // the runtime's own, cut off by the death of the program: nobody else sent it
			}
			l.next = &d
		}
		d := *l.next
		room -= letterBytes + len(d.To) + len(d.From) + len(d.Method)
		if len(list) == 0 {
			d.Payload = d.Payload[:min(len(d.Payload), max(0, room))]
		}
		if room -= len(d.Payload); room < 0 && len(list) > 0 {
			break
		}
		list = append(list, d)
	}
	return list
}

// letterBytes is what a letter takes in an answer besides its names and its payload, at most.
const letterBytes = 128

func (l *letterBox) letter(m *mailbox.Message) DeadLetter {
	d := DeadLetter{
		To: l.name(m.Header.Origin), From: l.name(m.Header.Sender), Method: actor.MethodName(m.Header.Method),
		Reason: m.Header.Reason.String(), Attempts: int(m.Header.Attempts),
	}
	if b, err := m.Bytes(); err == nil && m.Header.Value == 0 {
		d.Payload, d.Size = append([]byte(nil), b...), len(b)
	}
	return d
}

// remember keeps the name of a mailbox for letters that are read after it was closed.
func (l *letterBox) remember(box uint32, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[box] = name
}

func (l *letterBox) name(indexPlusOne uint32) string {
	if indexPlusOne == 0 {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if name := l.names[indexPlusOne-1]; name != "" {
		return name
	}
	return fmt.Sprintf("mailbox %d", indexPlusOne-1)
}

// read takes up to most letters of together not much more than that many bytes, oldest first.
func (l *letterBox) read(ctx context.Context, most, bytes int) ([]DeadLetter, error) {
	q := &letterRequest{most: most, bytes: bytes, reply: make(chan []DeadLetter, 1)}
	asked := l.asked
	for {
		select {
		case asked <- q:
			asked = nil // once
			_ = l.box.Control(mailbox.ControlPing)
		case list := <-q.reply:
			return list, nil
		case <-ctx.Done():
			if q.claimed.CompareAndSwap(false, true) {
				return nil, context.Cause(ctx)
			}
			return <-q.reply, nil
		case <-l.ended:
			if q.claimed.CompareAndSwap(false, true) {
				return nil, actor.ErrSystemEnded
			}
			return <-q.reply, nil
		}
	}
}

// close ends the receiver. With leaves the letters stay where they are.
func (l *letterBox) close(leaves bool) {
	l.stop()
	<-l.ended
	if !leaves {
		l.box.Close(shm.SystemEnded)
	}
}
