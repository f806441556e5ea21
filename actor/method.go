package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmactor/shmactor/internal/codec"
	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// Method is a typed method of a kind: a function of the actor's value that Call, Send, TrySend and SendAfter reach through a
// Ref. Methods are made once, in package-level variables. Safe for concurrent use.
type Method[T, Req, Res any] struct{ m *method[T, Req, Res] }

type method[T, Req, Res any] struct {
	class *class
	name  string
	id    uint64 // hash of kind, name and both types: two builds that disagree do not understand each other by accident
	fn    func(T, context.Context, Req) (Res, error)
	req   *codec.Codec[Req]
	res   *codec.Codec[Res]
	err   error // why the types cannot be sent to another process
	idle  sync.Pool
}

// handler is a method without its types.
type handler struct {
	name   string
	handle func(l *Life, ctx *handling) mailbox.Outcome
}

// NewMethod gives a kind a method. What is wrong with it (a name that is taken, a type that cannot be encoded) is reported by everything that
// uses the kind, first of all by the start of the system. Methods without an argument or a result use struct{}.
func NewMethod[T, Req, Res any](k Kind[T], name string, fn func(T, context.Context, Req) (Res, error)) Method[T, Req, Res] {
	m := &method[T, Req, Res]{class: k.class, name: name, fn: fn}
	m.idle.New = func() any { return new(exchange[Req, Res]) }
	var reqErr, resErr error
	m.req, reqErr = codec.For[Req]()
	m.res, resErr = codec.For[Res]()
	types := fmt.Sprintf("%T -> %T", *new(Req), *new(Res))
	if reqErr == nil && resErr == nil {
		types = m.req.TypeName() + " -> " + m.res.TypeName()
	} else if m.err = fmt.Errorf("actor: method %s.%s: %w", k.class.name, name, errors.Join(reqErr, resErr)); !k.class.inProcess {
		k.class.fail(m.err)
	}
	m.id = shm.Hash(k.class.name + "." + name + ": " + types)
	k.class.define(m.id, &handler{name, m.handle})
	return Method[T, Req, Res]{m}
}

func (c *class) define(id uint64, h *handler) {
	if err := shm.CheckName(h.name); err != nil {
		c.fail(fmt.Errorf("actor: method of kind %q: %w", c.name, err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.methods.Load()
	next := make(map[uint64]*handler, len(old)+1)
	for i, o := range old {
		if o.name == h.name {
			c.errs = append(c.errs, fmt.Errorf("actor: kind %q has two methods %q: %w", c.name, h.name, ErrNameTaken))
		}
		next[i] = o
	}
	next[id] = h
	c.methods.Store(&next)
}

// Name is the method's name.
func (m Method[T, Req, Res]) Name() string { return m.m.name }

// exchange carries a call inside one process.
type exchange[Req, Res any] struct {
	place mailbox.Local
	req   Req
	res   Res
	err   error
	done  atomic.Bool // set after res and err: the edge that the race detector sees
}

func (x *exchange[Req, Res]) answer(r Res, err error) {
	x.res, x.err = r, err
	x.done.Store(true)
}

func (x *exchange[Req, Res]) clear() {
	x.req, x.res, x.err = *new(Req), *new(Res), nil
	x.done.Store(false)
}

// Status of a reply.
const (
	statusValue uint32 = iota // the payload is the result
	statusFault               // the payload is a fault
	statusLocal               // the result is in the exchange
)

// Call sends req to the actor and waits for the result, or for the end of ctx: its deadline travels with the request, and a request that
// is reached too late is not run. An error of the handler comes back as it is, from another process with its text and its registered identity. With
// ErrWorkerDied, ErrCrashed or the context's error the handler may or may not have run.
func (m Method[T, Req, Res]) Call(ctx context.Context, to Ref[T], req Req) (res Res, err error) {
	if err := ctx.Err(); err != nil {
		return res, context.Cause(ctx)
	}
	box, err := m.m.target(to)
	if err != nil {
		return res, err
	}
	if h := handlingOf(ctx); h != nil && h.life.rx != nil {
		if h.life.rx.WaitFor(box) {
			return res, fmt.Errorf("actor %q calls %s of %q, which waits for it: %w", h.life.name, m.m.name, to.target.name, ErrCycle)
		}
		defer h.life.rx.WaitFor(nil)
	}
	if m.m.local(to.target.sys, box) {
		return m.m.callHere(ctx, to.target, box, req)
	}
	return m.m.callAway(ctx, to.target, box, &req)
}

// Send sends req one way: nil means that the actor's mailbox accepted it. It waits for room until ctx ends.
func (m Method[T, Req, Res]) Send(ctx context.Context, to Ref[T], req Req) error {
	box, d, err := m.m.oneWay(ctx, to, &req)
	if err != nil {
		return err
	}
	return named(to.target, box.Send(ctx, &d))
}

// TrySend is Send that returns ErrMailboxFull at once instead of waiting.
func (m Method[T, Req, Res]) TrySend(to Ref[T], req Req) error {
	box, d, err := m.m.oneWay(atOnce, to, &req)
	if err != nil {
		return err
	}
	return named(to.target, box.TrySend(&d))
}

// target resolves a ref for this method.
func (m *method[T, Req, Res]) target(to Ref[T]) (*mailbox.Mailbox, error) {
	box, err := to.target.box()
	if err != nil {
		return nil, err
	}
	if box.Kind() != m.class.hash {
		return nil, fmt.Errorf("actor %q is of kind %q, and method %q is of kind %q: %w", to.target.name,
			classes.kindName(box.Kind()), m.name, m.class.name, ErrIncompatible)
	}
	return box, nil
}

// local reports whether a call goes by reference: the actor lives in this process, and nobody wants it encoded.
func (m *method[T, Req, Res]) local(s *System, box *mailbox.Mailbox) bool {
	return box.Process() == s.hub.Self() && !s.encode && !m.class.encoded
}

// header fills in what all messages of a method say.
func (m *method[T, Req, Res]) header(ctx context.Context, h *shm.Header) {
	h.Method = m.id
	if m.req != nil {
		h.Codec = uint8(m.req.ID())
	}
	if on := handlingOf(ctx); on != nil {
		h.Sender = on.life.box.Index() + 1
	}
}

func (m *method[T, Req, Res]) callHere(ctx context.Context, to *target, box *mailbox.Mailbox, req Req) (res Res, err error) {
	d, err := to.sys.hub.DraftWait(ctx, 0)
	if err != nil {
		return res, named(to, err)
	}
	x := m.idle.Get().(*exchange[Req, Res])
	x.req = req
	d.SetValue(x, &x.place)
	m.header(ctx, &d.Header)
	d.Header.Deadline = deadline(ctx)
	r, err := box.Call(ctx, &d)
	if err != nil {
		return res, named(to, err) // x is not used again: the handler may still have it
	}
	defer r.Release()
	if r.Status != statusLocal {
		return m.result(to, &r)
	}
	if !x.done.Load() {
		return res, named(to, fmt.Errorf("its reply is not where it should be: %w", ErrCorrupt))
	}
	res, err = x.res, x.err
	x.clear()
	m.idle.Put(x)
	return res, err
}

func (m *method[T, Req, Res]) callAway(ctx context.Context, to *target, box *mailbox.Mailbox, req *Req) (res Res, err error) {
	d, err := m.encode(ctx, to, req)
	if err != nil {
		return res, err
	}
	m.header(ctx, &d.Header)
	d.Header.Deadline = deadline(ctx)
	r, err := box.Call(ctx, &d)
	if err != nil {
		return res, named(to, err)
	}
	defer r.Release()
	return m.result(to, &r)
}

// result decodes a reply that came as bytes.
func (m *method[T, Req, Res]) result(to *target, r *mailbox.Reply) (res Res, err error) {
	b, err := r.Bytes()
	switch {
	case err != nil:
		return res, named(to, err)
	case r.Status == statusFault:
		var f fault
		if err := faultCodec.Decode(b, &f); err != nil {
			return res, named(to, fmt.Errorf("its error cannot be read: %w: %w", err, ErrCorrupt))
		}
		return res, f.err()
	case m.res == nil || r.Status != statusValue || !m.res.Accepts(codec.ID(r.Codec)):
		return res, named(to, fmt.Errorf("its reply has status %d and codec %v: %w", r.Status, codec.ID(r.Codec), ErrIncompatible))
	}
	if err := m.res.Decode(b, &res); err != nil {
		return res, named(to, fmt.Errorf("its reply cannot be read: %w: %w", err, ErrIncompatible))
	}
	return res, nil
}

// oneWay makes the draft of a one-way message.
func (m *method[T, Req, Res]) oneWay(ctx context.Context, to Ref[T], req *Req) (box *mailbox.Mailbox, d mailbox.Draft, err error) {
	if box, err = m.target(to); err != nil {
		return nil, d, err
	}
	s := to.target.sys
	if m.local(s, box) && s.home() {
		if d, err = draft(ctx, s.hub, 0); err == nil {
			d.SetValue(*req, nil)
		}
	} else {
		d, err = m.encode(ctx, to.target, req)
	}
	if err != nil {
		return nil, d, named(to.target, err)
	}
	m.header(ctx, &d.Header)
	return box, d, nil
}

// atOnce is the context of operations that do not wait.
var atOnce context.Context = noWait{context.Background()}

type noWait struct{ context.Context }

// draft takes a frame, and waits for one unless ctx is atOnce.
func draft(ctx context.Context, h *mailbox.Hub, n int) (mailbox.Draft, error) {
	if ctx == atOnce {
		return h.Draft(n)
	}
	return h.DraftWait(ctx, n)
}

// encode encodes req straight into a frame. The frame's size is a guess from what was sent before; a request that does
// not fit is moved to a larger one.
func (m *method[T, Req, Res]) encode(ctx context.Context, to *target, req *Req) (d mailbox.Draft, err error) {
	if m.err != nil {
		return d, named(to, m.err)
	}
	h := to.sys.hub
	if d, err = draft(ctx, h, min(m.req.SizeHint(req), h.Segment().MaxMessage())); err != nil {
		return d, named(to, err)
	}
	room := d.Frame.Payload()
	b, err := m.req.Append(room[:0:len(room)], req)
	if err != nil {
		h.Discard(&d)
		return d, named(to, fmt.Errorf("the request of %s: %w", m.name, err))
	}
	if len(b) > len(room) {
		h.Discard(&d)
		if d, err = draft(ctx, h, len(b)); err != nil {
			return d, named(to, fmt.Errorf("the request of %s: %w", m.name, err))
		}
		copy(d.Frame.Payload(), b)
	}
	d.Header.Length = uint32(len(b))
	return d, nil
}

// handle is the receiving side: it decodes, runs the method, and replies.
func (m *method[T, Req, Res]) handle(l *Life, ctx *handling) mailbox.Outcome {
	msg := ctx.message
	v, local, err := msg.Value()
	if err != nil {
		l.refuse(shm.ValueLost, "")
		return mailbox.HandlerFailed
	}
	if local {
		return m.handleHere(l, ctx, v)
	}
	var req Req
	if err := m.decode(msg, &req); err != nil {
		l.refuse(shm.Undecodable, fmt.Sprintf("actor %q, method %s: %v", l.name, m.name, err))
		return mailbox.HandlerFailed
	}
	res, err := m.fn(l.value.(T), ctx, req)
	switch {
	case !ctx.returned():
		return mailbox.Handled // deferred: somebody else answers
	case !msg.IsCall():
		return m.endOneWay(msg, nil, err)
	case err != nil:
		_ = replyFault(msg, err)
		return mailbox.HandlerFailed
	}
	if err := replyValue(msg, m.res, &res); err != nil && !errors.Is(err, mailbox.ErrReplied) {
		return mailbox.HandlerFailed
	}
	return mailbox.Handled
}

// handleHere handles a message that came by reference.
func (m *method[T, Req, Res]) handleHere(l *Life, ctx *handling, v any) mailbox.Outcome {
	msg := ctx.message
	x, isCall := v.(*exchange[Req, Res])
	if !isCall || !msg.IsCall() {
		req, _ := v.(Req)
		_, err := m.fn(l.value.(T), ctx, req)
		return m.endOneWay(msg, v, err)
	}
	ctx.reply = x
	res, err := m.fn(l.value.(T), ctx, x.req)
	if !ctx.returned() {
		return mailbox.Handled
	}
	x.answer(res, err)
	_ = msg.Answer(0, 0, statusLocal)
	if err != nil {
		return mailbox.HandlerFailed
	}
	return mailbox.Handled
}

// endOneWay ends a one-way message: an error of its handler reaches nobody else, so it makes a dead letter.
func (m *method[T, Req, Res]) endOneWay(msg *mailbox.Message, v any, err error) mailbox.Outcome {
	if err != nil {
		msg.Bury(shm.HandlerFailed, v)
		return mailbox.HandlerFailed
	}
	msg.Release()
	return mailbox.Handled
}

func (m *method[T, Req, Res]) decode(msg *mailbox.Message, req *Req) error {
	if m.err != nil {
		return m.err
	}
	if !m.req.Accepts(codec.ID(msg.Header.Codec)) {
		return fmt.Errorf("it is encoded as %v, not %v", codec.ID(msg.Header.Codec), m.req.ID())
	}
	b, err := msg.Bytes()
	if err != nil {
		return err
	}
	return m.req.Decode(b, req)
}

// replyValue encodes a result straight into the request's frame, or into a larger one.
func replyValue[Res any](msg *mailbox.Message, c *codec.Codec[Res], res *Res) error {
	room, err := msg.Room(min(c.SizeHint(res), msg.Largest()))
	var b []byte
	if err == nil {
		b, err = c.Append(room[:0:len(room)], res)
	}
	if err == nil && len(b) > len(room) {
		if room, err = msg.Room(len(b)); err == nil {
			copy(room, b)
		}
	}
	if err != nil {
		return errors.Join(err, replyFault(msg, fmt.Errorf("the reply cannot be sent: %w", err)))
	}
	return msg.Answer(len(b), uint8(c.ID()), statusValue)
}

// replyFault answers with an error. It always fits: what is left out is named by what is in.
func replyFault(msg *mailbox.Message, err error) error {
	f := faultOf(err)
	b, encErr := faultCodec.Append(nil, &f)
	if encErr != nil {
		return msg.Fail(shm.Corrupt, encErr.Error())
	}
	room, roomErr := msg.Room(len(b))
	if roomErr != nil { // no memory for the whole of it: as much of the text as the request's own frame holds
		room = msg.Frame.Payload()
		f.Type, f.Value, f.Text = "", nil, f.Text[:min(len(f.Text), 32)]
		if b, encErr = faultCodec.Append(nil, &f); encErr != nil || len(b) > len(room) {
			return msg.Fail(shm.Corrupt, f.Text)
		}
	}
	return msg.Answer(copy(room, b), uint8(faultCodec.ID()), statusFault)
}

func deadline(ctx context.Context) int64 {
	if d, ok := ctx.Deadline(); ok {
		return max(1, sys.At(d))
	}
	return 0
}

// named says to whom an operation that failed was addressed.
func named(to *target, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("actor %q: %w", to.name, err)
}

// Timer is a message that waits for its time.
type Timer struct{ timer *time.Timer }

// Stop cancels the message, and reports whether it was not sent yet.
func (t *Timer) Stop() bool { return t.timer.Stop() }

// SendAfter sends req one way after d. A message that the mailbox has no room for then waits for room; one that cannot
// be delivered becomes a dead letter. Timers of a system that ends send nothing.
func (m Method[T, Req, Res]) SendAfter(d time.Duration, to Ref[T], req Req) *Timer {
	return &Timer{time.AfterFunc(d, func() { m.m.sendLate(to, &req) })}
}

// sendLate runs on a goroutine of its own, so it may wait.
func (m *method[T, Req, Res]) sendLate(to Ref[T], req *Req) {
	box, d, err := m.oneWay(context.Background(), to, req)
	if err == nil {
		err = box.Send(context.Background(), &d)
	}
	if err == nil || to.target == nil || to.target.sys == nil || to.target.sys.Err() != nil {
		return
	}
	if box == nil {
		to.target.sys.hub.Segment().Count(shm.Unknown)
	} else if d, draftErr := m.encode(atOnce, to.target, req); draftErr == nil {
		m.header(context.Background(), &d.Header)
		box.Bury(&d, shm.Undeliverable)
	}
}

// MethodName finds the name of a method from its number in a message: "kind.method", empty when this program has none with
// that number.
func MethodName(id uint64) string {
	classes.mu.RLock()
	defer classes.mu.RUnlock()
	for _, c := range classes.byName {
		if h := (*c.methods.Load())[id]; h != nil {
			return c.name + "." + h.name
		}
	}
	return ""
}
