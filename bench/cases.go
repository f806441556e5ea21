package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/shmactor/shmactor/actor"
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
			var res Res // outside of the loop: it escapes
			for range count {
				n++
				var err error
				if res, err = call(x.next(n)); err != nil {
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

// subject makes the subject of a scenario in a context, nil where there is none: a floor knows no documents.
func (r *rig) subject(scenario, where string) *subject {
	if strings.HasPrefix(where, "floor-") {
		return r.floorSubject(scenario, where)
	}
	switch scenario {
	case small:
		s := newSubject(smallExchange(), caller(r, where, add, (*clerk).Add))
		switch where {
		case direct:
			s.batch, s.calls = shortBatch, directAdds
		case mutex:
			s.batch, s.calls = shortBatch, mutexAdds
		case goroutine, worker:
			s.calls = addsTo(context.Background(), r.refs[where])
		case goroutineDeadline, workerDeadline:
			s.calls = addsTo(r.far, r.refs[where])
		}
		return s
	case largeBytes:
		s := newSubject(bytesExchange(), caller(r, where, echo, (*clerk).Echo))
		if where == direct {
			s.batch, s.calls = shortBatch, directEchoes()
		}
		return s
	}
	return newSubject(largeExchange(), caller(r, where, format, (*clerk).Format))
}

// floorSubject makes the subject of a floor. The peers send back what they get.
func (r *rig) floorSubject(scenario, where string) *subject {
	peer := r.peers[where]
	switch {
	case scenario == large || peer == nil && scenario != small:
		return nil
	case where == floorMutex:
		s := newSubject[Pair, int64](smallExchange(), nil)
		s.batch, s.calls = shortBatch, bareMutex
		return s
	case where == floorChan:
		return newSubject(smallExchange(), bareChannels(r))
	case scenario == small:
		const word = 8
		var req, res [2 * word]byte
		return newSubject(smallExchange(), func(p Pair) (int64, error) {
			binary.LittleEndian.PutUint64(req[:], uint64(p.A))
			binary.LittleEndian.PutUint64(req[word:], uint64(p.B))
			err := peer.Call(req[:], res[:])
			return int64(binary.LittleEndian.Uint64(res[:]) + binary.LittleEndian.Uint64(res[word:])), err
		})
	}
	res := make([]byte, bytesSize)
	return newSubject(bytesExchange(), func(b []byte) ([]byte, error) { return res, peer.Call(b, res) })
}

// bareChannels starts a goroutine between two channels that does nothing else.
func bareChannels(r *rig) func(Pair) (int64, error) {
	in, out := make(chan Pair), make(chan int64)
	go func() {
		defer close(out)
		for p := range in {
			out <- p.A + p.B
		}
	}()
	r.ends = append(r.ends, func() error { close(in); <-out; return nil })
	return func(p Pair) (int64, error) {
		in <- p
		return <-out, nil
	}
}

// bareMutex counts to n, each time under a mutex.
func bareMutex(n int) error {
	var mu sync.Mutex
	sum := 0
	for range n {
		mu.Lock()
		sum++
		mu.Unlock()
	}
	if sum != n {
		return wrongReply(n, sum, n)
	}
	return nil
}

// mutexAdds makes n small calls under a mutex, as directAdds does without.
func mutexAdds(n int) error {
	ctx, c, mu := context.Background(), new(clerk), new(sync.Mutex)
	locked := func(p Pair) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		return c.Add(ctx, p)
	}
	for i := range n {
		a, b := int64(i), int64(n)
		if sum, err := locked(Pair{a, b}); err != nil || sum != a+b {
			return errors.Join(err, wrongReply(i, sum, a+b))
		}
	}
	return nil
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
func addsTo(ctx context.Context, ref actor.Ref[*clerk]) func(int) error {
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
