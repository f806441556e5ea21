package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/supervisor"
)

// clerk is the actor that all cases call. What it does in an actor it also does when it is called directly: its methods
// are kept from being inlined there, so that a direct call is a call.
type clerk struct{}

// Pair is the request of the small scenario.
type Pair struct{ A, B int64 }

// Add adds two numbers.
//
//go:noinline
func (*clerk) Add(_ context.Context, p Pair) (int64, error) { return p.A + p.B, nil }

// Echo returns what it got.
//
//go:noinline
func (*clerk) Echo(_ context.Context, b []byte) ([]byte, error) { return b, nil }

var (
	clerks = actor.NewKind("clerk", func() *clerk { return new(clerk) })
	add    = actor.NewMethod(clerks, "add", (*clerk).Add)
	format = actor.NewMethod(clerks, "format", (*clerk).Format)
	echo   = actor.NewMethod(clerks, "echo", (*clerk).Echo)
)

// The scenarios, contexts and placements, in the order of the table.
const (
	small      = "small"
	large      = "large"
	largeBytes = "large-bytes"

	direct    = "direct"
	goroutine = "goroutine"
	worker    = "worker"

	placedByDefault = "default"
	placedSame      = "same"
	placedCross     = "cross"
)

var (
	scenarios  = []string{small, large, largeBytes}
	contexts   = []string{direct, goroutine, worker}
	placements = []string{placedByDefault, placedSame, placedCross}
)

const (
	systemName = "bench"
	workerName = "w1"

	bytesSize   = 31 << 10 // of the large-bytes scenario
	directBatch = 1000     // direct calls that are timed together where one is too short for the clock
)

// rig is the system that the cases run on: an actor in this process, and one in a worker process.
type rig struct {
	sys    *actor.System
	refs   map[string]actor.Ref[*clerk] // by context
	worker int                          // the pid of the worker process, 0 without one
}

// newRig starts what the chosen contexts need.
func newRig(ctx context.Context, chosen []string) (*rig, error) {
	var children []supervisor.Child
	for _, c := range chosen {
		switch c {
		case goroutine:
			children = append(children, supervisor.Actor("clerk/"+goroutine, clerks))
		case worker:
			children = append(children, supervisor.Worker(workerName, supervisor.Actor("clerk/"+worker, clerks)))
		}
	}
	sys, err := supervisor.Start(ctx, supervisor.Spec{Name: systemName, Children: children})
	if err != nil {
		return nil, err
	}
	r := &rig{sys: sys, refs: map[string]actor.Ref[*clerk]{}}
	for _, c := range chosen {
		if c != direct {
			r.refs[c] = clerks.Ref(sys, "clerk/"+c)
		}
	}
	for _, p := range sys.Processes() {
		if p.Name == workerName {
			r.worker = p.PID
		}
	}
	return r, nil
}

func (r *rig) close() error { return r.sys.Close() }

// subject is one scenario in one context: what the meter calls.
type subject struct {
	// batch is how many calls are timed together: 1 is each by itself.
	batch int
	// calls makes n calls and looks at each reply: at all of a small one, at a part of a large one that is another
	// from call to call, since the looks count as a part of the calls.
	calls func(n int) error
	// timed makes one call, times it, and then compares the whole reply.
	timed func() (time.Duration, error)
}

var errWrongReply = errors.New("wrong reply")

func wrongReply(call int, got, want any) error {
	return fmt.Errorf("call %d: %w: got %v, want %v", call, errWrongReply, got, want)
}

// exchange is what a scenario sends and what has to come back, by the number of the call.
type exchange[Req, Res any] struct {
	next   func(call int) Req
	glance func(call int, res *Res) error
	check  func(call int, res *Res) error
}

// newSubject makes the subject that sends the exchange through call.
func newSubject[Req, Res any](x exchange[Req, Res], call func(Req) (Res, error)) *subject {
	n := 0
	return &subject{
		batch: 1,
		calls: func(count int) error {
			for range count {
				n++
				res, err := call(x.next(n))
				if err != nil {
					return err
				}
				if err := x.glance(n, &res); err != nil {
					return err
				}
			}
			return nil
		},
		timed: func() (time.Duration, error) {
			n++
			req := x.next(n)
			start := time.Now()
			res, err := call(req)
			d := time.Since(start)
			if err != nil {
				return d, err
			}
			return d, x.check(n, &res)
		},
	}
}

// caller returns the function that makes a call in a context.
func caller[Req, Res any](r *rig, where string, m actor.Method[*clerk, Req, Res],
	fn func(*clerk, context.Context, Req) (Res, error),
) func(Req) (Res, error) {
	ctx := context.Background()
	if where == direct {
		c := new(clerk)
		return func(req Req) (Res, error) { return fn(c, ctx, req) }
	}
	ref := r.refs[where]
	return func(req Req) (Res, error) { return m.Call(ctx, ref, req) }
}

// subject makes the subject of a scenario in a context.
func (r *rig) subject(scenario, where string) *subject {
	switch scenario {
	case small:
		s := newSubject(smallExchange(), caller(r, where, add, (*clerk).Add))
		if where == direct {
			s.batch, s.calls = directBatch, directAdds
		} else {
			s.calls = addsTo(r.refs[where])
		}
		return s
	case largeBytes:
		s := newSubject(bytesExchange(), caller(r, where, echo, (*clerk).Echo))
		if where == direct {
			s.batch, s.calls = directBatch, directEchoes()
		}
		return s
	}
	return newSubject(largeExchange(), caller(r, where, format, (*clerk).Format))
}

func smallExchange() exchange[Pair, int64] {
	check := func(call int, sum *int64) error {
		if want := 3*int64(call) + 1; *sum != want {
			return wrongReply(call, *sum, want)
		}
		return nil
	}
	return exchange[Pair, int64]{
		next:   func(call int) Pair { return Pair{int64(call), 2*int64(call) + 1} },
		glance: check,
		check:  check,
	}
}

// directAdds makes n small direct calls, without the function values of newSubject, which take longer than the call.
func directAdds(n int) error {
	ctx, c := context.Background(), new(clerk)
	for i := range n {
		a, b := int64(i), int64(n)
		if sum, err := c.Add(ctx, Pair{a, b}); err != nil || sum != a+b {
			return errors.Join(err, wrongReply(i, sum, a+b))
		}
	}
	return nil
}

// directEchoes makes n direct calls with bytes in the same way.
func directEchoes() func(n int) error {
	ctx, c, b := context.Background(), new(clerk), make([]byte, bytesSize)
	return func(n int) error {
		for i := range n {
			at := i % bytesSize
			b[at] = byte(i)
			if res, err := c.Echo(ctx, b); err != nil || len(res) != bytesSize || res[at] != byte(i) {
				return errors.Join(err, wrongReply(i, len(res), bytesSize))
			}
		}
		return nil
	}
}

// addsTo makes n small calls to an actor in the same way.
func addsTo(ref actor.Ref[*clerk]) func(int) error {
	ctx := context.Background()
	return func(n int) error {
		for i := range n {
			a, b := int64(i), int64(n)
			if sum, err := add.Call(ctx, ref, Pair{a, b}); err != nil || sum != a+b {
				return errors.Join(err, wrongReply(i, sum, a+b))
			}
		}
		return nil
	}
}

// bytesExchange sends the same bytes with the number of the call in them, at another place each time.
func bytesExchange() exchange[[]byte, []byte] {
	const word = 8
	b := bytes.Repeat([]byte("shmactor"), bytesSize/word)
	place := func(call int, b []byte) []byte {
		at := call % (bytesSize / word) * word
		return b[at : at+word]
	}
	compare := func(call int, got, want []byte) error {
		if !bytes.Equal(got, want) {
			return wrongReply(call, fmt.Sprintf("%d other bytes", len(got)), fmt.Sprintf("the %d bytes that were sent", len(want)))
		}
		return nil
	}
	return exchange[[]byte, []byte]{
		next: func(call int) []byte {
			binary.LittleEndian.PutUint64(place(call, b), uint64(call))
			return b
		},
		glance: func(call int, res *[]byte) error {
			if len(*res) != len(b) {
				return compare(call, *res, b)
			}
			return compare(call, place(call, *res), place(call, b))
		},
		check: func(call int, res *[]byte) error { return compare(call, *res, b) },
	}
}

// largeExchange sends two editions of the document by turns.
func largeExchange() exchange[Document, Formatted] {
	editions := [...]Document{newDocument(1), newDocument(10)}
	var lengths [len(editions)]int
	for i, d := range editions {
		lengths[i] = len(d.text())
	}
	glance := func(call int, res *Formatted) error {
		d, length := &editions[call%len(editions)], lengths[call%len(editions)]
		switch n := call / len(editions) % documentItems; {
		case res.Status != statusDone || res.Length != length || res.Timestamp == 0:
			return wrongReply(call, fmt.Sprintf("%q, %d bytes", res.Status, res.Length), fmt.Sprintf("%q, %d bytes", statusDone, length))
		case len(res.Document.Items) != documentItems:
			return wrongReply(call, fmt.Sprintf("%d items", len(res.Document.Items)), documentItems)
		case !res.Document.Items[n].equal(d.Items[n]):
			return wrongReply(call, res.Document.Items[n], d.Items[n])
		}
		return nil
	}
	return exchange[Document, Formatted]{
		next:   func(call int) Document { return editions[call%len(editions)] },
		glance: glance,
		check: func(call int, res *Formatted) error {
			if err := glance(call, res); err != nil {
				return err
			}
			if want := editions[call%len(editions)]; !res.Document.equal(want) {
				return wrongReply(call, res.Document, want)
			}
			return nil
		},
	}
}
