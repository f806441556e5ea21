package actor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/shmactor/shmactor/internal/codec"
	"github.com/shmactor/shmactor/mailbox"
)

// What this package adds to codecs: values whose own methods panic are errors, and replies are written where they are sent from.

// appendTo is c.Append with a panic of the value's methods as an error.
func appendTo[T any](c *codec.Codec[T], dst []byte, v *T) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v: panic: %v", ErrNotEncodable, reflect.TypeFor[T](), p)
		}
	}()
	return c.Append(dst, v)
}

// sizeHint is c.SizeHint, at most limit; no more than a guess when the value's methods panic.
func sizeHint[T any](c *codec.Codec[T], v *T, limit int) (n int) {
	defer func() { _ = recover() }() // writing the value says it better
	return max(0, min(c.SizeHint(v), limit))
}

// inside reports whether what was appended to room lies in it: it may have been too long, or the value's method has put it
// elsewhere.
func inside(room, b []byte) bool {
	return len(b) == 0 || len(b) <= len(room) && &b[0] == &room[0]
}

// codecs has the codec of each type that codecOf was asked for.
var codecs sync.Map // reflect.Type -> *codec.Codec of it

// codecOf is codec.For, which looks through the whole type, done once.
func codecOf[T any]() (*codec.Codec[T], error) {
	t := reflect.TypeFor[T]()
	if c, ok := codecs.Load(t); ok {
		return c.(*codec.Codec[T]), nil
	}
	c, err := codec.For[T]()
	if err == nil {
		codecs.Store(t, c)
	}
	return c, err
}

// Status of a reply.
const (
	statusValue uint32 = iota // the payload is the result
	statusFault               // the payload is a fault
	statusLocal               // the result is in the exchange
)

// written is a reply that was written into the memory of its message, and is not sent yet.
type written struct {
	length int
	codec  codec.ID
	status uint32
}

func (w written) send(msg *mailbox.Message) error {
	return msg.Answer(w.length, uint8(w.codec), w.status)
}

// writeValue writes a result straight into the request's frame, or into a larger one. When it cannot be sent, the error says
// why, and what was written says it to the caller.
func writeValue[Res any](msg *mailbox.Message, c *codec.Codec[Res], res *Res) (written, error) {
	room, err := msg.Room(sizeHint(c, res, msg.Largest()))
	if err != nil {
		room = nil // no memory for what it may need: it is written elsewhere first, perhaps it needs less
	}
	room = room[:min(len(room), msg.Largest())]
	b, err := appendTo(c, room[:0:len(room)], res)
	switch {
	case err != nil || inside(room, b):
	case len(b) > msg.Largest():
		err = fmt.Errorf("%d bytes, at most %d; raise MaxMessage: %w", len(b), msg.Largest(), ErrTooLarge)
	default:
		if room, err = msg.Room(len(b)); err == nil {
			copy(room, b)
		}
	}
	if err != nil {
		err = fmt.Errorf("the reply cannot be sent: %w", err)
		return writeFault(msg, err), err
	}
	return written{len(b), c.ID(), statusValue}, nil
}

// writeFault writes an error. It always fits: with no memory for the whole of it, as much as the request's own frame holds.
func writeFault(msg *mailbox.Message, err error) written {
	f := faultOf(err)
	b := f.bytes(msg.Largest())
	room, roomErr := msg.Room(len(b))
	if roomErr != nil {
		room = msg.Overwrite()
		b = f.bytes(len(room))
	}
	return written{copy(room, b), faultCodec.ID(), statusFault}
}

// writeRequest writes a request straight into a frame. The frame's size is a guess from what was sent before; a request that
// does not fit is moved to a larger one.
func writeRequest[Req any](ctx context.Context, h *mailbox.Hub, c *codec.Codec[Req], req *Req, control bool) (d mailbox.Draft, err error) {
	held := false
	defer func() {
		if held { // there is an error, or a method of req has ended this goroutine
			h.Discard(&d)
		}
	}()
	d, err = h.Draft(sizeHint(c, req, h.Segment().MaxMessage()))
	if err != nil && !errors.Is(err, ErrNoSpace) {
		return d, err
	}
	held = err == nil // without memory for what it may need, it is written elsewhere first: perhaps it needs less
	var room []byte
	if held {
		room = d.Frame.Payload()
		room = room[:min(len(room), h.Segment().MaxMessage())]
	}
	b, err := appendTo(c, room[:0:len(room)], req)
	if err != nil {
		return d, err
	}
	if !held || len(b) > len(room) {
		if held {
			held = false
			h.Discard(&d)
		}
		if d, err = draft(ctx, h, len(b), control); err != nil {
			return d, err
		}
		room = d.Frame.Payload()
	}
	if !inside(room, b) {
		copy(room, b)
	}
	d.Header.Length = uint32(len(b))
	held = false
	return d, nil
}

// atOnce is the context of operations that do not wait.
var atOnce context.Context = noWait{context.Background()}

type noWait struct{ context.Context }

// draft takes a frame, and waits for one unless ctx is atOnce. What a handler sends with its context may use the reserve: it has a message
// in hand, whose frame is free when it is done. So may control.
func draft(ctx context.Context, h *mailbox.Hub, n int, control bool) (mailbox.Draft, error) {
	reserved := control || handlingOf(ctx) != nil
	switch {
	case reserved && ctx == atOnce:
		return h.DraftReserved(n)
	case ctx == atOnce:
		return h.Draft(n)
	case reserved:
		return h.DraftWaitReserved(ctx, n)
	}
	return h.DraftWait(ctx, n)
}
