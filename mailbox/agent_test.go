package mailbox

import (
	"context"
	"fmt"
	"sync"

	"github.com/shmactor/shmactor/internal/testkit"
)

// agent carries out orders with one hub.
type agent struct {
	hub *Hub

	mu        sync.Mutex
	boxes     map[string]*Mailbox
	receivers map[string]*Receiver
	messages  map[int]*Message
	drafts    []Draft
	cancels   map[int]context.CancelFunc // of calls, by the number that their order gave
	replies   []Reply
	last      int
}

func newAgent(h *Hub) *agent {
	return &agent{
		hub: h, boxes: map[string]*Mailbox{}, receivers: map[string]*Receiver{}, messages: map[int]*Message{},
		cancels: map[int]context.CancelFunc{},
	}
}

// box opens a mailbox, and keeps the handle as a program would; "open" gets a new one.
func (a *agent) box(name string) (*Mailbox, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.boxes[name]; m != nil {
		return m, nil
	}
	m, err := a.hub.Open(name)
	if err == nil {
		a.boxes[name] = m
	}
	return m, err
}

// receiver takes over the receiving side the first time.
func (a *agent) receiver(o command) (*Receiver, error) {
	m, err := a.box(o.Box)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.receivers[o.Box]
	if r == nil {
		r = m.Receiver()
		r.Redeliver(o.Most)
		a.receivers[o.Box] = r
	}
	return r, nil
}

// hold keeps a message in the agent's hands.
func (a *agent) hold(m Message) answer {
	b, err := m.Bytes()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	a.messages[a.last] = &m
	return answer{
		Fault: faultOf(err), Msg: a.last, Data: append([]byte(nil), b...), Call: m.IsCall(), From: m.Header.Caller, Why: m.Header.Reason,
		Token: m.Token(), N: int(m.Header.Attempts),
	}
}

func (a *agent) message(n int) *Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.messages[n]
}

// payload is what a sending order sends: its data, or as many bytes as it says.
func (o command) payload() []byte {
	if o.Size > 0 {
		return pattern(o.Size, byte(o.N))
	}
	return o.Data
}

// pattern is a text of n bytes that no other seed gives.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31) ^ byte(i>>8) ^ seed
	}
	return b
}

func (o command) context() (context.Context, context.CancelFunc) {
	if o.Wait == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), testkit.Scale(o.Wait))
}

// do carries out one order.
func (a *agent) do(o command) answer {
	if f := a.ops()[o.Op]; f != nil {
		return f(o)
	}
	if f := messageOps[o.Op]; f != nil {
		m := a.message(o.Msg)
		if m == nil {
			return answer{Fault: &fault{Text: fmt.Sprintf("no message %d", o.Msg)}}
		}
		return f(m, o)
	}
	return answer{Fault: &fault{Text: fmt.Sprintf("no operation %q", o.Op)}}
}

func result(err error) answer { return answer{Fault: faultOf(err)} }

func (a *agent) ops() map[string]func(command) answer {
	return map[string]func(command) answer{
		"hello":    func(command) answer { return answer{} },
		"open":     a.open,
		"send":     a.send,
		"call":     a.call,
		"cancel":   a.cancel,
		"draft":    a.draft,
		"discard":  a.discard,
		"keep":     a.keep,
		"value":    a.sendValue,
		"receive":  a.receive,
		"retire":   a.retire,
		"begin":    a.begin,
		"control":  func(o command) answer { return a.withBox(o, func(m *Mailbox) error { return m.Control(o.Bits) }) },
		"claim":    a.claim,
		"waitfor":  a.waitFor,
		"callers":  a.callers,
		"serve":    a.serve,
		"senders":  a.senders,
		"acker":    a.acker,
		"above":    a.above,
		"flood":    a.flood,
		"play":     a.play,
		"kept":     func(command) answer { return answer{N: a.hub.Kept()} },
		"closehub": func(o command) answer { a.hub.Close(ErrSystemEnded); return answer{} },
	}
}

func (a *agent) withBox(o command, f func(*Mailbox) error) answer {
	m, err := a.box(o.Box)
	if err == nil {
		err = f(m)
	}
	return result(err)
}

func (a *agent) open(o command) answer {
	a.mu.Lock()
	delete(a.boxes, o.Box)
	delete(a.receivers, o.Box)
	a.mu.Unlock()
	m, err := a.box(o.Box)
	if err != nil {
		return result(err)
	}
	return answer{N: int(m.Incarnation())}
}

// send sends one message; N > 0 sends so many, numbered; Wait 0 waits for room for ever, below 0 not at all.
func (a *agent) send(o command) answer {
	return a.withBox(o, func(m *Mailbox) error {
		if o.Wait < 0 {
			return m.TrySendBytes(o.payload())
		}
		ctx, cancel := o.context()
		defer cancel()
		if o.N == 0 || o.Size > 0 {
			return m.SendBytes(ctx, o.payload())
		}
		for i := range o.N {
			if err := m.SendBytes(ctx, fmt.Appendf(nil, "%s %d", o.Data, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *agent) call(o command) answer {
	m, err := a.box(o.Box)
	if err != nil {
		return result(err)
	}
	ctx, cancel := o.context()
	defer cancel()
	if o.Msg != 0 {
		a.mu.Lock()
		a.cancels[o.Msg] = cancel
		a.mu.Unlock()
	}
	b, err := m.CallBytes(ctx, o.payload())
	return answer{Fault: faultOf(err), Data: b}
}

// cancel lets the caller of an earlier call give up.
func (a *agent) cancel(o command) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancels[o.Msg]()
	return answer{}
}

// draft takes N drafts of a size and keeps them.
func (a *agent) draft(o command) answer {
	for range max(1, o.N) {
		d, err := a.hub.Draft(o.Size)
		if err != nil {
			return result(err)
		}
		a.mu.Lock()
		a.drafts = append(a.drafts, d)
		a.mu.Unlock()
	}
	return answer{}
}

func (a *agent) discard(command) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.drafts {
		a.hub.Discard(&a.drafts[i])
	}
	a.drafts = nil
	return answer{}
}

// keep calls and keeps the reply.
func (a *agent) keep(o command) answer {
	m, err := a.box(o.Box)
	if err != nil {
		return result(err)
	}
	d, err := a.hub.Draft(len(o.Data))
	if err != nil {
		return result(err)
	}
	d.fill(o.Data)
	ctx, cancel := o.context()
	defer cancel()
	r, err := m.Call(ctx, &d)
	if err != nil {
		return result(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replies = append(a.replies, r)
	return answer{}
}

// sendValue sends or calls with a Go value by reference.
func (a *agent) sendValue(o command) answer {
	return a.withBox(o, func(m *Mailbox) error {
		d, err := a.hub.Draft(0)
		if err != nil {
			return err
		}
		d.SetValue(string(o.Data), nil)
		ctx, cancel := o.context()
		defer cancel()
		return m.Send(ctx, &d)
	})
}

// receive takes the next message: Wait below 0 does not wait.
func (a *agent) receive(o command) answer {
	r, err := a.receiver(o)
	if err != nil {
		return result(err)
	}
	if o.Wait < 0 {
		if bits := r.Bits(); bits != 0 {
			return answer{Bits: bits}
		}
		m, ok := r.TryReceive()
		if !ok {
			return result(errNothing)
		}
		return a.hold(m)
	}
	ctx, cancel := o.context()
	defer cancel()
	m, bits, err := r.Receive(ctx)
	if err != nil || bits != 0 {
		return answer{Fault: faultOf(err), Bits: bits}
	}
	return a.hold(m)
}

// begin begins the handler of a message; N is 1 when it may.
func (a *agent) begin(o command) answer {
	r, err := a.receiver(o)
	if err != nil || !r.Begin(a.message(o.Msg)) {
		return result(err)
	}
	return answer{N: 1}
}

// retire gives the receiving side back.
func (a *agent) retire(o command) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.receivers[o.Box]; r != nil {
		r.Close()
		delete(a.receivers, o.Box)
	}
	return answer{}
}

func (a *agent) claim(o command) answer {
	m, err := a.hub.Claim(o.Token)
	if err != nil {
		return result(err)
	}
	return a.hold(m)
}

// waitFor says for whom the receiver of a mailbox waits: nobody, if the data is empty. N is 1 for a circle.
func (a *agent) waitFor(o command) answer {
	m, err := a.box(o.Box)
	if err != nil {
		return result(err)
	}
	var to *Mailbox
	if len(o.Data) > 0 {
		if to, err = a.box(string(o.Data)); err != nil {
			return result(err)
		}
	}
	if m.WaitFor(to, 0) {
		return answer{N: 1}
	}
	return answer{}
}

// messageOps are what can be done with a message in the hands.
var messageOps = map[string]func(*Message, command) answer{
	"reply": func(m *Message, o command) answer { return result(m.Reply(o.payload())) },
	"fail":  func(m *Message, o command) answer { return result(m.Fail(o.Reason, string(o.Data))) },
	"defer": func(m *Message, o command) answer {
		t := m.Token()
		return answer{Fault: faultOf(m.Defer()), Token: t}
	},
	"lend":   func(m *Message, o command) answer { m.Lend(o.Reason); return answer{} },
	"return": func(m *Message, _ command) answer { m.Return(); return answer{} },
	"putback": func(m *Message, _ command) answer {
		if !m.PutBack() {
			return result(errNothing)
		}
		return answer{}
	},
	"release": func(m *Message, _ command) answer { m.Release(); return answer{} },
	"bury": func(m *Message, o command) answer {
		v, _, _ := m.Value()
		m.Bury(o.Reason, v)
		return answer{}
	},
	"room": func(m *Message, o command) answer { _, err := m.Room(o.Size); return result(err) },
	"look": func(m *Message, _ command) answer {
		return answer{N: int(m.Frame.Owner().State()), Bits: uint64(m.Frame.Owner())}
	},
	"take": func(m *Message, _ command) answer {
		v, local, err := m.Value()
		text, _ := v.(string)
		n := 0
		if local {
			n = 1
		}
		return answer{Fault: faultOf(err), Data: []byte(text), N: n}
	},
}
