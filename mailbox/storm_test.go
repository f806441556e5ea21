package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// stats is what became of the calls of a storm.
type stats struct {
	Calls, Replies, Late, Failed, Wrong int
	First                               string // wrong thing
}

func (s *stats) add(o stats) {
	s.Calls += o.Calls
	s.Replies += o.Replies
	s.Late += o.Late
	s.Failed += o.Failed
	s.Wrong += o.Wrong
	if s.First == "" {
		s.First = o.First
	}
}

func (s *stats) wrong(format string, args ...any) {
	s.Wrong++
	if s.First == "" {
		s.First = fmt.Sprintf(format, args...)
	}
}

// stormHeader is what a request and its reply begin with: who called, the how-many-th call it is, and the size of the reply.
const stormHeader = 24

func stormMessage(who uint64, n, reply uint64, size int) []byte {
	b := make([]byte, stormHeader, stormHeader+size)
	binary.LittleEndian.PutUint64(b, who)
	binary.LittleEndian.PutUint64(b[8:], n)
	binary.LittleEndian.PutUint64(b[16:], reply)
	return append(b, pattern(size, byte(who)^byte(n))...)
}

// readStorm reads a message and says whether it is whole.
func readStorm(b []byte) (who, n, reply uint64, whole bool) {
	if len(b) < stormHeader {
		return 0, 0, 0, false
	}
	who, n, reply = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	seed := byte(who) ^ byte(n)
	for i, c := range b[stormHeader:] {
		if c != byte(i*31)^byte(i>>8)^seed {
			return who, n, reply, false
		}
	}
	return who, n, reply, true
}

// serve answers the calls of a mailbox until it is told to stop, and tells how many. Some of them it defers and answers later,
// and its reply is of the size that the call asks for. Wait is how long it takes for each.
func (a *agent) serve(o command) answer {
	r, err := a.receiver(o)
	if err != nil {
		return result(err)
	}
	defer a.retire(o)
	var s stats
	for {
		m, bits, err := r.Receive(context.Background())
		if err != nil {
			return result(err)
		}
		if bits&ControlStop != 0 {
			return answer{Stats: s}
		}
		b, err := m.Bytes()
		who, n, size, whole := readStorm(b)
		if err != nil || !whole {
			s.wrong("a request of %d bytes is not whole: %v", len(b), err)
		}
		s.Calls++
		for end := time.Now().Add(o.Wait); o.Wait > 0 && time.Now().Before(end); {
		}
		if !m.IsCall() {
			m.Release()
			continue
		}
		a.answerStorm(&s, &m, stormMessage(who, n, 0, int(size)), n%5 == 0)
	}
}

func (a *agent) answerStorm(s *stats, m *Message, reply []byte, deferred bool) {
	if deferred {
		t := m.Token()
		if err := m.Defer(); err != nil {
			s.Late++
			return
		}
		claimed, err := a.hub.Claim(t)
		if err != nil {
			s.Late++ // its caller gave up
			return
		}
		m = &claimed
	}
	err := m.Reply(reply)
	switch {
	case err == nil:
		s.Replies++
	case errors.Is(err, ErrReplied):
		s.Late++
	case errors.Is(err, shm.ErrNoSpace):
		s.Failed++
		_ = m.Fail(shm.Corrupt, "no room for the reply")
	default:
		s.wrong("a reply of %d bytes: %v", len(reply), err)
	}
}

// callers has N goroutines that call the mailboxes in the data, for a time or so many times each; Size is the largest request
// and reply, and Bits, if not 0, how many nanoseconds a call may take.
func (a *agent) callers(o command) answer {
	var boxes []*Mailbox
	for name := range strings.SplitSeq(string(o.Data), ",") {
		m, err := a.box(name)
		if err != nil {
			return result(err)
		}
		boxes = append(boxes, m)
	}
	end := time.Now().Add(o.Wait)
	var mu sync.Mutex
	var sum stats
	var group sync.WaitGroup
	for i := range o.N {
		group.Go(func() {
			c := caller{who: uint64(a.hub.self)<<32 | uint64(i), rng: rand.New(rand.NewPCG(uint64(a.hub.self), uint64(i))), order: o}
			for n := 0; n < o.Msg || o.Msg == 0 && time.Now().Before(end); n++ {
				c.call(boxes[c.rng.IntN(len(boxes))], uint64(n))
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(c.stats)
		})
	}
	group.Wait()
	return answer{Stats: sum}
}

// caller is one goroutine of callers.
type caller struct {
	who   uint64
	rng   *rand.Rand
	order command
	stats stats
}

func (c *caller) size() int {
	if c.rng.IntN(50) == 0 {
		return c.rng.IntN(c.order.Size)
	}
	return c.rng.IntN(min(300, c.order.Size))
}

func (c *caller) call(m *Mailbox, n uint64) {
	limit := testkit.Scale(limit)
	if c.order.Bits > 0 {
		limit = time.Duration(c.rng.Int64N(int64(c.order.Bits)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c.stats.Calls++
	reply := c.size()
	b, err := m.CallBytes(ctx, stormMessage(c.who, n, uint64(reply), c.size()))
	who, number, _, whole := readStorm(b)
	switch {
	case err == nil && (who != c.who || number != n || !whole || len(b) != stormHeader+reply):
		c.stats.wrong("the reply to call %d of %x is %d bytes for call %d of %x, whole: %v", n, c.who, len(b), number, who, whole)
	case err == nil:
		c.stats.Replies++
	case c.order.Bits > 0 && errors.Is(err, context.DeadlineExceeded):
		c.stats.Late++
	case errors.Is(err, shm.ErrCorrupt), errors.Is(err, ErrWorkerDied):
		c.stats.Failed++ // there was no room for the reply, or its server was killed
	default:
		c.stats.wrong("call %d of %x: %v", n, c.who, err)
	}
}

// storm lets all parties serve a mailbox each, and call all of them.
func storm(t *testing.T, w *world, parties []*party, served, called command) (calls stats) {
	t.Helper()
	var names []string
	var serving, calling []<-chan answer
	for i, p := range parties {
		name := fmt.Sprint("box", i)
		w.create(name, 32)
		names = append(names, name)
		served.Box = name
		serving = append(serving, p.later(served))
	}
	defer w.auditing()()
	called.Op, called.Data = "callers", []byte(strings.Join(names, ","))
	for _, p := range parties {
		calling = append(calling, p.later(called))
	}
	for _, done := range calling {
		a := <-done // a storm takes its time
		must(t, a.err())
		calls.add(a.Stats)
	}
	for i, done := range serving {
		must(t, w.boxes[names[i]].Control(ControlStop))
		a := soon(t, "the server stops", done)
		must(t, a.err())
		if a.Stats.Wrong > 0 {
			t.Errorf("a server found %d things wrong, the first: %s", a.Stats.Wrong, a.Stats.First)
		}
	}
	if calls.Wrong > 0 {
		t.Errorf("%d of %d calls went wrong, the first: %s", calls.Wrong, calls.Calls, calls.First)
	}
	if calls.Replies+calls.Late+calls.Failed+calls.Wrong != calls.Calls {
		t.Errorf("calls are missing: %+v", calls)
	}
	return calls
}

// Many callers in four processes: nobody gets another's reply, nothing is torn, nothing is left.
func TestStorm(t *testing.T) {
	for _, b := range backings {
		t.Run(string(b), func(t *testing.T) {
			w := newWorld(t, b, smallOptions())
			parties := []*party{w.me, w.peer(), w.peer(), w.peer()}
			long := 300 * time.Millisecond
			if b == asProcess && !testing.Short() {
				long = 2 * time.Second
			}
			calls := storm(t, w, parties, command{Op: "serve"}, command{N: 16, Size: 100_000, Wait: long})
			if calls.Late > 0 || calls.Replies == 0 {
				t.Errorf("%+v", calls)
			}
			t.Logf("%+v", calls)
		})
	}
}

// Calls that may take about as long as they do take: whatever the end of a call meets, there is one answer or none.
func TestStormOfTimeouts(t *testing.T) {
	for _, b := range backings {
		t.Run(string(b), func(t *testing.T) {
			w := newWorld(t, b, smallOptions())
			parties := []*party{w.me, w.peer(), w.peer(), w.peer()}
			each := 50
			if b == asProcess {
				each = 200_000 / (4 * 16)
			}
			if testing.Short() {
				each = 20
			}
			calls := storm(t, w, parties, command{Op: "serve"}, command{N: 16, Msg: each, Size: 3000, Bits: uint64(300 * time.Microsecond)})
			t.Logf("%+v", calls)
		})
	}
}
