package actor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
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
	c := k.class
	if c == nil {
		c = newClass("", nil)
		c.errs = []error{errZeroKind}
	}
	if fn == nil {
		c.fail(fmt.Errorf("actor: method %q of kind %q has no function", name, c.name))
	}
	m := &method[T, Req, Res]{class: c, name: name, fn: fn}
	m.idle.New = func() any { return new(exchange[Req, Res]) }
	var reqErr, resErr error
	m.req, reqErr = codec.For[Req]() // of its own: it learns how large its messages are
	m.res, resErr = codec.For[Res]()
	types := reflect.TypeFor[Req]().String() + " -> " + reflect.TypeFor[Res]().String()
	if reqErr == nil && resErr == nil {
		types = m.req.TypeName() + " -> " + m.res.TypeName()
	} else if m.err = fmt.Errorf("actor: method %s.%s: %w", c.name, name, errors.Join(reqErr, resErr)); !c.inProcess || c.encoded {
		c.fail(m.err)
	}
	m.id = shm.Hash(c.name + "\x00" + name + "\x00" + types) // names have no control characters
	c.define(m.id, &handler{name, m.handle})
	return Method[T, Req, Res]{m}
}

func (c *class) define(id uint64, h *handler) {
	if err := shm.CheckName(h.name); err != nil {
		c.fail(fmt.Errorf("actor: method of kind %q: %w", c.name, err))
	}
	c.mu.Lock()
	old := *c.methods.Load()
	next := make(map[uint64]*handler, len(old)+1)
	taken := false
	for i, o := range old {
		taken = taken || o.name == h.name
		next[i] = o
	}
	next[id] = h
	c.methods.Store(&next)
	c.mu.Unlock()
	if taken {
		c.fail(fmt.Errorf("actor: kind %q has two methods %q: %w", c.name, h.name, ErrNameTaken))
	}
}

// Name is the method's name.
func (m Method[T, Req, Res]) Name() string {
	if m.m == nil {
		return ""
	}
	return m.m.name
}

// exchange carries a call inside one process.
type exchange[Req, Res any] struct {
	place mailbox.Local
	req   Req
	res   Res
	err   error
	done  atomic.Bool // set after res and err: the edge that the race detector sees
}

// answer puts the reply where the caller looks; beside an error there is no result, as across processes.
func (x *exchange[Req, Res]) answer(r Res, err error) {
	if x.err = err; err == nil {
		x.res = r
	}
	x.done.Store(true)
}

func (x *exchange[Req, Res]) clear() {
	x.req, x.res, x.err = *new(Req), *new(Res), nil
	x.done.Store(false)
}

// Call sends req to the actor and waits for the result, or for the end of ctx: its deadline travels with the request, and a request that
// is reached too late is not run. Nothing is sent when ctx has ended before. An error of the handler comes back as it is, from another
// process with its text and its registered identity; the result beside it is the zero value. With ErrWorkerDied, ErrCrashed or the
// context's error the handler may or may not have run.
//
// A call made with a handler's context, or one that was made from it, is refused with ErrCycle when the actor that is called
// waits, directly or through others, for the actor whose handler that is. A handler that makes several calls at once, on
// goroutines of its own, is taken to wait for all of them, and only one of them is seen by other actors: a circle through another
// ends by the deadline. An actor that has deferred its reply is not waited for.
func (m Method[T, Req, Res]) Call(ctx context.Context, to Ref[T], req Req) (res Res, err error) {
	if ctx.Err() != nil {
		return res, ended(ctx, context.Cause(ctx))
	}
	box, err := m.m.target(to)
	if err != nil {
		return res, err
	}
	var number uint32
	if h := handlingOf(ctx); h != nil && h.life.sys.shares(to.target.sys) {
		var cycle bool
		if number, cycle = h.await(box); cycle {
			return res, fmt.Errorf("actor %q calls %s of %q, which waits for it: %w", h.life.name, m.m.name, to.target.name, ErrCycle)
		}
		if number != 0 {
			defer h.awaited(number)
		}
	}
	if m.m.local(to.target.sys, box) {
		return m.m.callHere(ctx, to.target, box, req, number)
	}
	return m.m.callAway(ctx, to.target, box, &req, number)
}

// Send sends req one way: nil means that the actor's mailbox accepted it. It waits for room until ctx ends, and sends
// nothing when that has ended before. Those who wait for room are served in order, and are not passed by who comes later.
func (m Method[T, Req, Res]) Send(ctx context.Context, to Ref[T], req Req) error {
	if ctx.Err() != nil {
		return ended(ctx, context.Cause(ctx))
	}
	box, err := m.m.target(to)
	if err != nil {
		return err
	}
	d, err := m.m.oneWay(ctx, to.target, box, &req)
	if err == nil {
		err = box.Send(ctx, &d)
	}
	return ended(ctx, named(to.target, err))
}

// TrySend is Send that returns ErrMailboxFull, or ErrNoSpace, at once instead of waiting.
func (m Method[T, Req, Res]) TrySend(to Ref[T], req Req) error {
	box, err := m.m.target(to)
	if err != nil {
		return err
	}
	d, err := m.m.oneWay(atOnce, to.target, box, &req)
	if err == nil {
		err = box.TrySend(&d)
	}
	return named(to.target, err)
}

// target resolves a ref for this method.
func (m *method[T, Req, Res]) target(to Ref[T]) (*mailbox.Mailbox, error) {
	if m == nil {
		return nil, fmt.Errorf("actor: the zero Method is no method; make it with NewMethod: %w", ErrIncompatible)
	}
	if m.class.broken.Load() {
		return nil, m.class.problem()
	}
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

// local reports whether a message goes by reference: the actor lives in this process, and nobody wants it encoded, or nobody
// can. An actor that is only here can be nowhere else before it has started.
func (m *method[T, Req, Res]) local(s *System, box *mailbox.Mailbox) bool {
	at := box.Process()
	here := at == s.hub.Self() || at == 0 && m.class.inProcess && s.home()
	return here && (m.err != nil || !s.encode && !m.class.encoded)
}

// header fills in what all messages of a method say.
func (m *method[T, Req, Res]) header(ctx context.Context, s *System, h *shm.Header) {
	h.Method = m.id
	if m.req != nil {
		h.Codec = uint8(m.req.ID())
	}
	if on := handlingOf(ctx); on != nil && on.life.sys.shares(s) {
		h.Sender = on.life.box.Index() + 1
	}
}

func (m *method[T, Req, Res]) callHere(ctx context.Context, to *target, box *mailbox.Mailbox, req Req, number uint32) (res Res, err error) {
	d, err := draft(ctx, to.sys.hub, 0, m.class.control)
	if err != nil {
		return res, ended(ctx, named(to, err))
	}
	x := m.idle.Get().(*exchange[Req, Res])
	x.req = req
	d.SetValue(x, &x.place)
	m.header(ctx, to.sys, &d.Header)
	d.Header.Deadline, d.Header.Chain = deadline(ctx), uint64(number)
	r, err := box.Call(ctx, &d)
	if err != nil {
		return res, ended(ctx, named(to, err)) // x is not used again: the handler may still have it
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

func (m *method[T, Req, Res]) callAway(ctx context.Context, to *target, box *mailbox.Mailbox, req *Req, number uint32) (res Res, err error) {
	d, err := m.encode(ctx, to.sys, req)
	if err != nil {
		return res, ended(ctx, named(to, err))
	}
	m.header(ctx, to.sys, &d.Header)
	d.Header.Deadline, d.Header.Chain = deadline(ctx), uint64(number)
	r, err := box.Call(ctx, &d)
	if err != nil {
		return res, ended(ctx, named(to, err))
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
func (m *method[T, Req, Res]) oneWay(ctx context.Context, to *target, box *mailbox.Mailbox, req *Req) (d mailbox.Draft, err error) {
	if s := to.sys; m.local(s, box) && (s.home() || m.err != nil) {
		if d, err = draft(ctx, s.hub, 0, m.class.control); err == nil {
			d.SetValue(*req, nil)
		}
	} else {
		d, err = m.encode(ctx, s, req)
	}
	if err == nil {
		m.header(ctx, to.sys, &d.Header)
	}
	return d, err
}

// encode makes a draft of the bytes of a request.
func (m *method[T, Req, Res]) encode(ctx context.Context, s *System, req *Req) (d mailbox.Draft, err error) {
	if m.err != nil {
		return d, m.err
	}
	if d, err = writeRequest(ctx, s.hub, m.req, req, m.class.control); err != nil {
		return d, fmt.Errorf("the request of %s: %w", m.name, err)
	}
	return d, nil
}

// handle is the receiving side: it decodes, runs the method, and replies.
func (m *method[T, Req, Res]) handle(l *Life, on *handling) mailbox.Outcome {
	on.shape = (*exchange[Req, Res])(nil)
	v, local, err := on.message.Value()
	switch {
	case err != nil:
		return on.refuse(shm.ValueLost, "")
	case local:
		return m.handleHere(l, on, v)
	}
	var req Req
	if err := m.decode(&on.message, &req); err != nil {
		return on.refuse(shm.Undecodable, fmt.Sprintf("method %s: %v", m.name, err))
	}
	if on.state.Load() != handlingOpen {
		return mailbox.Handled // fenced while it was decoded
	}
	res, err := m.fn(l.value.(T), on, req)
	if !on.returned() {
		return mailbox.Handled // deferred: somebody else answers
	}
	if !on.call {
		return on.endOneWay(nil, err)
	}
	var w written
	if err != nil {
		w = writeFault(&on.message, err)
	} else {
		w, err = writeValue(&on.message, m.res, &res)
	}
	if on.settle() {
		_ = w.send(&on.message)
	}
	return outcomeOf(err)
}

// handleHere handles a message that came by reference.
func (m *method[T, Req, Res]) handleHere(l *Life, on *handling, v any) mailbox.Outcome {
	x, isCall := v.(*exchange[Req, Res])
	req, fits := v.(Req)
	switch {
	case on.call && isCall:
		on.reply, req = x, x.req
	case on.call || isCall || !fits && v != nil:
		return on.refuse(shm.NoMethod, fmt.Sprintf("method %s: it came as a %T", m.name, v))
	}
	res, err := m.fn(l.value.(T), on, req)
	if !on.returned() {
		return mailbox.Handled
	}
	if !on.call {
		return on.endOneWay(v, err)
	}
	if on.settle() {
		x.answer(res, err)
		_ = on.message.Answer(0, 0, statusLocal)
	}
	return outcomeOf(err)
}

func outcomeOf(err error) mailbox.Outcome {
	if err != nil {
		return mailbox.HandlerFailed
	}
	return mailbox.Handled
}

// refuse ends a message that cannot be handled.
func (h *handling) refuse(why shm.Reason, text string) mailbox.Outcome {
	if h.settle() {
		refuse(&h.message, why, text)
	}
	return mailbox.HandlerFailed
}

// endOneWay ends a one-way message: an error of its handler reaches nobody else, so it makes a dead letter.
func (h *handling) endOneWay(v any, err error) mailbox.Outcome {
	if h.settle() {
		if err != nil {
			h.message.Bury(shm.HandlerFailed, v)
		} else {
			h.message.Release()
		}
	}
	return outcomeOf(err)
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

// deadline is the deadline of a context on the machine's clock; 0 when there is none, or none that this clock counts to.
func deadline(ctx context.Context) int64 {
	d, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	at := sys.At(d)
	if at <= 0 && time.Until(d) > 0 {
		return 0
	}
	return max(1, at)
}

// ended makes the end of a context known by its own error also when that has another cause.
func ended(ctx context.Context, err error) error {
	if why := ctx.Err(); why != nil && err != nil && !errors.Is(err, why) && errors.Is(err, context.Cause(ctx)) {
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
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
func (t *Timer) Stop() bool { return t.timer != nil && t.timer.Stop() }

// SendAfter sends req one way after d. A message that the mailbox has no room for then waits for room; one that cannot
// be delivered becomes a dead letter, or is counted as one when there is no actor, or it cannot be encoded. Timers of a system that ends
// send nothing.
func (m Method[T, Req, Res]) SendAfter(d time.Duration, to Ref[T], req Req) *Timer {
	return &Timer{time.AfterFunc(d, func() { m.m.sendLate(to, &req) })}
}

// sendLate runs on a goroutine of its own, so it may wait.
func (m *method[T, Req, Res]) sendLate(to Ref[T], req *Req) {
	if to.target == nil || to.target.sys == nil || to.target.sys.Err() != nil {
		return
	}
	s := to.target.sys
	box, err := m.target(to)
	if err != nil {
		why := shm.Unknown
		if errors.Is(err, ErrStopped) {
			why = shm.Stopped
		}
		s.hub.Segment().Count(why)
		return
	}
	d, err := m.oneWay(context.Background(), to.target, box, req)
	if err == nil {
		err = box.Send(context.Background(), &d)
	}
	if err == nil || s.Err() != nil {
		return
	}
	if d, err = m.encode(atOnce, s, req); err != nil {
		s.hub.Segment().Count(shm.Undeliverable)
		return
	}
	m.header(context.Background(), s, &d.Header)
	box.Bury(&d, shm.Undeliverable)
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
