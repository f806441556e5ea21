package actor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/shm"
)

// journal is what handlers write down, in whatever life.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) want(t *testing.T, lines ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, lines) {
		t.Errorf("what happened: %q, want %q", j.lines, lines)
	}
}

// crashing writes attempts down, and crashes at so many of them.
func (j *journal) crashing(times int, how string) script {
	return func(ctx context.Context, _ *scripted) (int64, error) {
		n := actor.Attempt(ctx)
		j.add("attempt %d", n)
		if n <= times {
			if how == "goexit" {
				runtime.Goexit()
			}
			panic(how)
		}
		return int64(n), nil
	}
}

// again runs a test with a kind of three attempts, in the caller's process and in another.
func again(t *testing.T, test func(t *testing.T, s *scene)) {
	for _, c := range []struct {
		name string
		far  bool
	}{{"here", false}, {"in another process", true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			s := &scene{methods: thrice, t: t, w: w, caller: w.main, home: w.main}
			if c.far {
				s.home = w.process("other")
			}
			s.ref = thrice.kind.Ref(s.caller.sys, "a")
			test(t, s)
		})
	}
}

// A message whose handler crashes is handled again by the next life, before what is behind it.
func TestRedeliver(t *testing.T) {
	for _, how := range []string{"panic", "goexit"} {
		t.Run(how, func(t *testing.T) {
			again(t, func(t *testing.T, s *scene) {
				var j journal
				behind := do(t, func(ctx context.Context, _ *scripted) (int64, error) {
					j.add("behind, attempt %d", actor.Attempt(ctx))
					return 0, nil
				})
				s.home.keep("a", s.kind)
				f, running, release := block(t)
				held := call(func() (int64, error) { return s.do(f) })
				wait(t, running, "it is held up")
				must(t, s.run.Send(s.ctx(), s.ref, do(t, j.crashing(2, how))))
				must(t, s.run.Send(s.ctx(), s.ref, behind))
				release()
				must(t, wait(t, held, "it goes on").err)
				s.works()
				j.want(t, "attempt 1", "attempt 2", "attempt 3", "behind, attempt 1")
				if got, err := s.do(j.crashing(2, how)); got != 3 || err != nil {
					t.Errorf("a call: %d, %v", got, err)
				}
				if m := s.inspect(); m.Crashes != 4 || m.Restarts != 4 {
					t.Errorf("%+v", m)
				}
				s.w.waitLetters(0)
			})
		})
	}
}

// What crashes each time is given up: its caller is told, a one-way message becomes a dead letter, and what is behind it is handled.
func TestRedeliverExhausted(t *testing.T) {
	again(t, func(t *testing.T, s *scene) {
		var j journal
		s.home.keep("a", s.kind)
		_, err := s.do(j.crashing(9, "out of luck"))
		if wantIs(t, err, actor.ErrCrashed); !strings.Contains(fmt.Sprint(err), "out of luck") {
			t.Errorf("told %v", err)
		}
		s.works()
		must(t, s.run.Send(s.ctx(), s.ref, do(t, j.crashing(9, "out of luck"))))
		s.works()
		j.want(t, "attempt 1", "attempt 2", "attempt 3", "attempt 1", "attempt 2", "attempt 3")
		if l := s.w.waitLetters(1); l[0].to != "a" || l[0].reason != shm.Exhausted {
			t.Errorf("%+v", l)
		}
	})
}

// An answer is no reason to try again, nor is a call that is another's by then, or one that nobody waits for.
func TestRedeliverEndsWithAnAnswer(t *testing.T) {
	again(t, func(t *testing.T, s *scene) {
		var j journal
		s.home.keep("a", s.kind)
		_, err := s.do(func(context.Context, *scripted) (int64, error) { j.add("an error"); return 0, errKnown })
		wantIs(t, err, errKnown)
		must(t, s.run.Send(s.ctx(), s.ref, do(t, func(context.Context, *scripted) (int64, error) { j.add("sent"); return 0, errKnown })))
		_, err = s.do(func(ctx context.Context, _ *scripted) (int64, error) {
			j.add("deferred")
			_, err := actor.Defer[int64](ctx)
			must(t, err)
			panic("after that")
		})
		wantIs(t, err, actor.ErrCrashed)
		ctx, giveUp := context.WithCancelCause(s.ctx())
		n := do(t, func(context.Context, *scripted) (int64, error) {
			j.add("given up")
			giveUp(errKnown)
			for ctx.Err() == nil || s.waits() {
				nap()
			}
			panic("after that")
		})
		_, err = s.run.Call(ctx, s.ref, n)
		wantIs(t, err, errKnown)
		s.works()
		j.want(t, "an error", "sent", "deferred", "given up")
		if l := s.w.waitLetters(1); l[0].reason != shm.HandlerFailed {
			t.Errorf("%+v", l)
		}
	})
}

// waits reports whether the caller of a call that is handled has not given up yet.
func (s *scene) waits() (any bool) {
	s.w.seg.EachFrame(func(_ shm.Frame, w shm.Owner) {
		any = any || w.State() == shm.Taken && w.Has(shm.IsCall) && !w.Has(shm.Abandoned)
	})
	return any
}

// A handler that does not stop may still be running: its message is not handled beside it.
func TestRedeliverFenced(t *testing.T) {
	again(t, func(t *testing.T, s *scene) {
		var j journal
		life := s.home.start("a", s.kind)
		f, running, release := block(t)
		hung := call(func() (int64, error) { return s.do(f) })
		wait(t, running, "the handler runs")
		if end := life.Stop(false, 0, 0); end.Reason != actor.EndFenced {
			t.Fatalf("the end is %+v", end)
		}
		wantIs(t, wait(t, hung, "the caller is told").err, actor.ErrStopped)
		s.home.keep("a", s.kind)
		if got, err := s.do(j.crashing(1, "panic")); got != 2 || err != nil {
			t.Errorf("the next life answers %d, %v", got, err)
		}
		release()
		s.works()
		j.want(t, "attempt 1", "attempt 2")
	})
}

// When no life follows, what was in hand is settled like what is queued.
func TestRedeliverClosed(t *testing.T) {
	for _, oneWay := range []bool{false, true} {
		t.Run(fmt.Sprintf("one way %v", oneWay), func(t *testing.T) {
			again(t, func(t *testing.T, s *scene) {
				var j journal
				life := s.home.start("a", s.kind)
				n := do(t, j.crashing(9, "panic"))
				var told <-chan outcome[int64]
				if oneWay {
					must(t, s.run.Send(s.ctx(), s.ref, n))
				} else {
					told = call(func() (int64, error) { return s.run.Call(s.ctx(), s.ref, n) })
				}
				wait(t, life.Done(), "it crashes")
				if m := s.inspect(); m.Attempts != 1 {
					t.Errorf("seen from outside: %+v", m)
				}
				s.w.close("a")
				if oneWay {
					if l := s.w.dead(); len(l) != 1 || l[0].reason != shm.Stopped {
						t.Errorf("%+v", l)
					}
				} else {
					wantIs(t, wait(t, told, "the caller is told").err, actor.ErrStopped)
				}
				j.want(t, "attempt 1")
			})
		})
	}
}

// late crashes its actor while it is encoded: its handler has returned.
type late struct{ Crash bool }

// AppendBinary writes one byte over the request, if it lies there.
func (l late) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, 0xff)
	if l.Crash {
		runtime.Goexit()
	}
	return b, nil
}

// UnmarshalBinary reads what AppendBinary wrote.
func (l *late) UnmarshalBinary(b []byte) error {
	if !bytes.Equal(b, []byte{0xff}) {
		return errors.New("not what was written")
	}
	return nil
}

// After the handler has returned, and until its reply is handed over, a crash has the message handled again: the next life gets the
// request as it was, however small or large.
func TestRedeliverAfterTheHandler(t *testing.T) {
	k := actor.NewKind(newName(t), func() *scripted { return new(scripted) }, actor.Redeliver(2))
	var mu sync.Mutex
	var got [][]byte
	m := actor.NewMethod(k, "late", func(_ *scripted, ctx context.Context, b []byte) (late, error) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, slices.Clone(b))
		clear(b) // the handler's own
		return late{actor.Attempt(ctx) == 1}, nil
	})
	w := newWorld(t)
	other := w.process("other")
	other.keep("a", k)
	for _, size := range []int{1, 1000, 100_000} {
		req := bytes.Repeat([]byte{7}, size)
		s := &scene{t: t}
		_, err := m.Call(s.ctx(), k.Ref(w.main.sys, "a"), req)
		must(t, err)
		if len(got) != 2 || !bytes.Equal(got[0], req) || !bytes.Equal(got[1], req) {
			t.Errorf("%d bytes were handled %d times: %.20v", size, len(got), got)
		}
		got = nil
	}
}

func TestRedeliverOptions(t *testing.T) {
	for n, says := range map[int]string{0: "0 times, want 1 to 63", -1: "-1 times", 64: "64 times", 1: "", 63: ""} {
		err := actor.NewKind(newName(t), func() *scripted { return new(scripted) }, actor.Redeliver(n)).Recipe().Check()
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%d attempts: %v, want %q", n, err, says)
		}
	}
	k := actor.NewKind(newName(t), func() *scripted { return new(scripted) }, actor.Redeliver(2), actor.InProcess())
	actor.NewMethod(k, "channel", func(*scripted, context.Context, chan int) (int, error) { return 0, nil })
	wantIs(t, k.Recipe().Check(), actor.ErrNotEncodable)
	if n := actor.Attempt(context.Background()); n != 0 {
		t.Errorf("attempt %d of no message", n)
	}
}
