package supervisor_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/supervisor"
)

// counts waits until that many messages have become dead letters for that reason.
func (s *system) counts(reason string, n uint64) {
	s.t.Helper()
	if !eventually(func() bool { return supervisor.DeadLetterCounts(s.System)[reason] >= n }) {
		s.t.Errorf("counted %v, want %d of %q", supervisor.DeadLetterCounts(s.System), n, reason)
	}
}

// Every way to die, and the letters can be read from everywhere, oldest first, each once.
func TestDeadLetters(t *testing.T) {
	s := town(t)
	g := attached(t, "test")
	read := map[string]func(most int) []supervisor.DeadLetter{
		"here": func(most int) []supervisor.DeadLetter {
			return must[[]supervisor.DeadLetter](t)(supervisor.DeadLetters(s.ctx, s.System, most))
		},
		"in a worker": func(most int) []supervisor.DeadLetter {
			return must[[]supervisor.DeadLetter](t)(letters.Call(s.ctx, s.counter("clerk of v"), most))
		},
	}
	for where, read := range read {
		if list := read(10); len(list) > 0 {
			t.Errorf("%s: %+v before anything", where, list)
		}
		for _, place := range places {
			to := clerk(place)
			if where == "in a worker" && place == "v" {
				continue // its clerk reads
			}
			for i := range int64(3) {
				if err := note.Send(s.ctx, s.counter(to), -1-i); err != nil { // refused by the handler
					t.Fatal(err)
				}
			}
			must[uint64](t)(echo.Call(s.ctx, s.counter(to), 1))
			if err := die.Send(s.ctx, s.counter(to), order{What: "panic"}); err != nil {
				t.Fatal(err)
			}
			must[uint64](t)(echo.Call(s.ctx, s.counter(to), 1))
			var list []supervisor.DeadLetter
			if !eventually(func() bool { list = append(list, read(3)...); return len(list) >= 4 }) {
				t.Fatalf("%s: %+v", where, list)
			}
			for i, l := range list {
				want := supervisor.DeadLetter{To: to, Method: "counter.note", Reason: "handler failed", Payload: l.Payload, Size: len(l.Payload)}
				if i == 3 {
					want.Method, want.Reason = "counter.die", "crashed"
				}
				if fmt.Sprint(l) != fmt.Sprint(want) || (place != "") != (l.Size > 0) {
					t.Errorf("%s: letter %d of %q: %+v, want %+v", where, i, to, l, want)
				}
			}
		}
	}
	counts := supervisor.DeadLetterCounts(s.System)
	if counts["handler failed"] != 15 || counts["crashed"] != 5 || len(counts) != 2 {
		t.Errorf("counted %v", counts)
	}
	g.must(request{Do: "note", Name: "clerk of w", N: -5})
	s.counts("handler failed", 16)
	if got := g.must(request{Do: "letters", N: 100}); got.N != 1 || !strings.Contains(got.Text, "To:clerk of w From: Method:counter.note Reason:handler failed") {
		t.Errorf("a guest reads %+v", got)
	}
	g.must(request{Do: "close"})
	g.leave()
}

// A message that was being handled when its worker died, and what was queued for an actor that is stopped.
func TestDeadLettersOfEnds(t *testing.T) {
	s := withGate(t)
	if err := die.Send(s.ctx, s.counter("far"), order{What: "exit", N: 1}); err != nil {
		t.Fatal(err)
	}
	s.counts("worker died", 1)
	held := s.hold(func() error { _, err := wait.Call(s.ctx, s.counter("far too"), "gate"); return err })
	for i := range int64(5) {
		if err := note.Send(s.ctx, s.counter("far too"), i); err != nil {
			t.Fatal(err)
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- supervisor.Stop(s.ctx, s.System, "far too") }()
	s.open()
	if err := <-held; err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	handled := 5 - int(supervisor.DeadLetterCounts(s.System)["stopped"])
	list := must[[]supervisor.DeadLetter](t)(supervisor.DeadLetters(s.ctx, s.System, 100))
	if len(list) != 6-handled || list[0].Reason != "worker died" || list[0].To != "far" || list[0].Method != "counter.die" {
		t.Fatalf("%d were handled, letters %+v", handled, list)
	}
	for _, l := range list[1:] {
		if l.Reason != "stopped" || l.To != "far too" || l.Method != "counter.note" {
			t.Errorf("%+v", l)
		}
	}
}

// Only so many are kept: the oldest are dropped, and counted.
func TestDeadLettersOverflow(t *testing.T) {
	for _, limit := range []int{1, 10} {
		s := must[*system](t)(startBeside(t, supervisor.Spec{DeadLetters: limit, AlwaysEncode: true, Children: []supervisor.Child{a("near")}}))
		const all = 200
		for i := range int64(all) {
			if err := note.Send(s.ctx, s.counter("near"), -1-i); err != nil {
				t.Fatal(err)
			}
			if i%20 == 0 {
				must[uint64](t)(echo.Call(s.ctx, s.counter("near"), 1))
			}
		}
		s.counts("handler failed", all)
		s.counts("dropped", uint64(all-limit))
		list := must[[]supervisor.DeadLetter](t)(supervisor.DeadLetters(s.ctx, s.System, all))
		if len(list) != limit {
			t.Errorf("%d letters, want %d", len(list), limit)
		}
		if n := supervisor.DeadLetterCounts(s.System)["dropped"]; n != uint64(all-limit) {
			t.Errorf("%d dropped, want %d", n, all-limit)
		}
		last := list[len(list)-1].Payload
		for i, l := range list[:len(list)-1] {
			if bytes.Equal(l.Payload, last) {
				t.Errorf("letter %d is the last one too", i)
			}
		}
		if list := must[[]supervisor.DeadLetter](t)(supervisor.DeadLetters(s.ctx, s.System, all)); len(list) > 0 {
			t.Errorf("and %d more", len(list))
		}
	}
}

// Many read at once, while letters come. Each gets its answer, no letter is read twice or lost, and who gives up takes none.
func TestDeadLettersAreReadOnce(t *testing.T) {
	s := start(t, of(a("near")))
	all := int64(3000 / slower)
	var readers sync.WaitGroup
	var mu sync.Mutex
	read := int64(0)
	over := make(chan struct{})
	for r := range 4 {
		readers.Go(func() {
			for {
				ctx, cancel := context.Background(), func() {}
				if r == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Microsecond)
				}
				list, _ := supervisor.DeadLetters(ctx, s.System, 3)
				cancel()
				mu.Lock()
				read += int64(len(list))
				mu.Unlock()
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for i := range all {
		if err := note.Send(s.ctx, s.counter("near"), -1-i); err != nil {
			t.Fatal(err)
		}
	}
	if !eventually(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return read == all-int64(supervisor.DeadLetterCounts(s.System)["dropped"])
	}) {
		t.Errorf("%d letters were read, want %d", read, all)
	}
	close(over)
	readers.Wait()
}

// Letters that together are too large for one message come one after the other, and of one that is too large alone comes
// the beginning.
func TestLargeDeadLetters(t *testing.T) {
	s := town(t)
	sizes := []int{300 << 10, 300 << 10, 1, 600 << 10, 1000 << 10, 400 << 10}
	for _, n := range sizes {
		text := strings.Repeat("x", n)
		if err := refuse.Send(s.ctx, s.counter("clerk of w"), text); err != nil {
			t.Fatal(err)
		}
	}
	s.counts("handler failed", uint64(len(sizes)))
	var got []int
	for range 2 * len(sizes) {
		list := must[[]supervisor.DeadLetter](t)(letters.Call(s.ctx, s.counter("clerk of v"), 100))
		for _, l := range list {
			got = append(got, l.Size)
			if l.Size < 500<<10 && len(l.Payload) != l.Size || l.Size > 600<<10 && len(l.Payload) == l.Size {
				t.Errorf("of %d bytes %d came", l.Size, len(l.Payload))
			}
		}
	}
	if len(got) != len(sizes) {
		t.Fatalf("%d letters came: %v", len(got), got)
	}
	for i, n := range sizes {
		if got[i] < n || got[i] > n+100 {
			t.Errorf("letter %d has %d bytes, want about %d", i, got[i], n)
		}
	}
}

// Nobody answers after the end, and nobody hangs.
func TestDeadLettersAfterTheEnd(t *testing.T) {
	testkit.NoLeaks(t)
	s := must[*system](t)(startBeside(t, of(a("near"))))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 {
		if _, err := supervisor.DeadLetters(ended, s.System, 1); err != nil {
			wantError(t, err, context.Canceled)
		}
	}
	for _, most := range []int{0, -1} {
		if list, err := supervisor.DeadLetters(s.ctx, s.System, most); len(list) > 0 || err != nil {
			t.Errorf("%d letters: %v, %v", most, list, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_, err := supervisor.DeadLetters(context.Background(), s.System, 1)
	wantError(t, err, actor.ErrSystemEnded)
}
