package supervisor

import (
	"context"
	"fmt"
	"sync"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// DeadLetter is a one-way message that was accepted and not handled.
type DeadLetter struct {
	To      string // the actor that it was for
	From    string // the actor whose handler sent it, if one did
	Method  string // empty when this program does not know it
	Reason  string // why it was not handled
	Payload []byte // as it was encoded; empty when it went by reference
}

// letterBox keeps the dead letters of a system: a mailbox in the segment whose receiver lets them lie until somebody asks,
// and drops the oldest when there are too many.
type letterBox struct {
	box   *mailbox.Mailbox
	limit int
	asked chan letterRequest
	ended chan struct{}
	stop  context.CancelFunc

	mu    sync.Mutex
	names map[uint32]string // of mailboxes, also of those that were closed since
}

type letterRequest struct {
	max   int
	reply chan []DeadLetter
}

const lettersName = systemPrefix + "dead-letters"

func openLetters(r *root) (*letterBox, error) {
	limit := r.spec.letters()
	// Twice the limit: the receiver needs a moment to drop the oldest.
	box, err := r.hub.Create(lettersName, min(2*limit, mailbox.MaxCapacity), shm.Hash(lettersName))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &letterBox{
		box: box, limit: limit, asked: make(chan letterRequest), ended: make(chan struct{}), stop: cancel,
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
		rx.Bits()
		select {
		case q := <-l.asked:
			q.reply <- l.take(rx, q.max)
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

func (l *letterBox) take(rx *mailbox.Receiver, most int) (list []DeadLetter) {
	for len(list) < most {
		m, ok := rx.TryReceive()
		if !ok {
			break
		}
		list = append(list, l.letter(&m))
		m.Release()
	}
	return list
}

func (l *letterBox) letter(m *mailbox.Message) DeadLetter {
	d := DeadLetter{
		To: l.name(m.Header.Origin), From: l.name(m.Header.Sender), Method: actor.MethodName(m.Header.Method),
		Reason: m.Header.Reason.String(),
	}
	if b, err := m.Bytes(); err == nil && m.Header.Value == 0 {
		d.Payload = append([]byte(nil), b...)
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

// read takes up to most letters, oldest first.
func (l *letterBox) read(ctx context.Context, most int) ([]DeadLetter, error) {
	q := letterRequest{most, make(chan []DeadLetter, 1)}
	for {
		_ = l.box.Control(mailbox.ControlPing)
		select {
		case l.asked <- q:
			return <-q.reply, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-l.ended:
			return nil, actor.ErrSystemEnded
		}
	}
}

func (l *letterBox) close() {
	l.stop()
	<-l.ended
	l.box.Close(shm.SystemEnded)
}
