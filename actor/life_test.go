package actor_test

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// living is an actor whose own methods do what a test says.
type living struct {
	init  func(ctx context.Context) error
	close func() error
	run   func(ctx context.Context, n int64) (int64, error)
}

func (l *living) Init(ctx context.Context) error {
	if l.init == nil {
		return nil
	}
	return l.init(ctx)
}

func (l *living) Close() error {
	if l.close == nil {
		return nil
	}
	return l.close()
}

func (l *living) Run(ctx context.Context, n int64) (int64, error) { return l.run(ctx, n) }

// newLiving makes a kind of living actors, with a method, for one test.
func newLiving(t testing.TB, fresh func() *living) (actor.Kind[*living], actor.Method[*living, int64, int64]) {
	k := actor.NewKind(newName(t), fresh)
	return k, actor.NewMethod(k, "run", (*living).Run)
}

func answer(context.Context, int64) (int64, error) { return 42, nil }

func TestFailedStarts(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		fresh func() *living
		want  error
		says  string
	}{
		{"Init fails", func() *living { return &living{init: func(context.Context) error { return boom }} }, boom, "boom"},
		{"Init panics", func() *living { return &living{init: func(context.Context) error { panic("in Init") }} }, nil, "in Init"},
		{"Init panics with nil", func() *living { return &living{init: func(context.Context) error { panic(nil) }} }, nil, "panic"},
		{"Init ends its goroutine", func() *living { return &living{init: func(context.Context) error { runtime.Goexit(); return nil }} }, nil, "Goexit"},
		{"fresh panics", func() *living { panic("in fresh") }, nil, "in fresh"},
		{"fresh ends its goroutine", func() *living { runtime.Goexit(); return nil }, nil, "Goexit"},
		{"no fresh", nil, nil, "fresh"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			k, m := newLiving(t, c.fresh)
			closed := false
			life, err := w.main.begin(testkit.Deadline(t, patience), "a", k)
			if err == nil || life != nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("%v, %v, want it to say %q", life, err, c.says)
			}
			if c.want != nil {
				wantIs(t, err, c.want)
			}
			if closed {
				t.Error("Close was called")
			}
			// What was sent meanwhile waits for the life that starts.
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_, err = m.Call(ctx, k.Ref(w.main.sys, "a"), 1)
			if err == nil {
				t.Error("an actor that never started answered")
			}
		})
	}
}

func TestFreshMakesNothing(t *testing.T) {
	w := newWorld(t)
	type face interface{ Do() }
	k := actor.NewKind(newName(t), func() face { return nil })
	if _, err := w.main.begin(testkit.Deadline(t, patience), "a", k); err == nil {
		t.Error("an actor without a value was started")
	}
}

func TestFreshFails(t *testing.T) {
	w := newWorld(t)
	boom := errors.New("boom")
	k := actor.NewKindWith(newName(t), func(n int) (*scripted, error) {
		if n == 1 {
			return nil, boom
		}
		return &scripted{sum: int64(n)}, nil
	})
	add := actor.NewMethod(k.Kind, "add", (*scripted).Add)
	_, err := w.main.begin(testkit.Deadline(t, patience), "a", k.With(1))
	wantIs(t, err, boom)
	w.main.start("b", k.With(5))
	if got, err := add.Call(testkit.Deadline(t, patience), k.Ref(w.main.sys, "b"), 1); got != 6 || err != nil {
		t.Error(got, err)
	}
}

// A start that takes too long is given up: Start returns with the context's end, and what Init does later reaches nobody.
func TestStartIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		name string
		late func() error
	}{
		{"returns", func() error { return nil }},
		{"fails", func() error { return errors.New("late") }},
		{"panics", func() error { panic("late") }},
		{"ends its goroutine", func() error { runtime.Goexit(); return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			entered, leave, seen := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			var lives atomic.Int64
			k, m := newLiving(t, func() *living {
				if lives.Add(1) > 1 {
					return &living{run: answer}
				}
				return &living{init: func(ctx context.Context) error {
					close(entered)
					<-leave
					seen <- ctx.Err()
					return c.late()
				}, run: func(context.Context, int64) (int64, error) { return 0, errors.New("the wrong life") }}
			})
			ctx, cancel := context.WithCancelCause(context.Background())
			began := call(func() (*actor.Life, error) { return w.main.begin(ctx, "a", k) })
			wait(t, entered, "Init runs")
			because := errors.New("because")
			cancel(because)
			got := wait(t, began, "Start returns")
			wantIs(t, got.err, because)
			life := w.main.start("a", k)
			if life.Generation() != 2 {
				t.Errorf("generation %d, want 2", life.Generation())
			}
			close(leave)
			wantIs(t, wait(t, seen, "Init goes on"), context.Canceled)
			if n, err := m.Call(testkit.Deadline(t, patience), k.Ref(w.main.sys, "a"), 1); n != 42 || err != nil {
				t.Error(n, err)
			}
		})
	}
}

func TestStartWithNothing(t *testing.T) {
	w := newWorld(t)
	box := w.box("a", plain.kind)
	_, err := w.main.sys.Start(context.Background(), "a", box, actor.Recipe{})
	if err == nil {
		t.Error("the zero Recipe was started")
	}
}

func TestCloseFollowsAStop(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name   string
		end    func(life *actor.Life, send func(n int64))
		closes func() error
		reason actor.EndReason
		calls  int64
		err    error
		says   string
	}{
		{"stop", stop, nil, actor.EndShutdown, 1, nil, ""},
		{"drain", func(l *actor.Life, _ func(int64)) { l.Stop(true, patience, patience) }, nil, actor.EndShutdown, 1, nil, ""},
		{"by itself", func(_ *actor.Life, send func(int64)) { send(1) }, nil, actor.EndNormal, 1, nil, ""},
		{"crash", func(_ *actor.Life, send func(int64)) { send(2) }, nil, actor.EndCrash, 0, nil, "unlucky"},
		{"goexit", func(_ *actor.Life, send func(int64)) { send(3) }, nil, actor.EndCrash, 0, nil, "Goexit"},
		{"panic with nil", func(_ *actor.Life, send func(int64)) { send(4) }, nil, actor.EndCrash, 0, nil, "panic"},
		{"Close fails", stop, func() error { return boom }, actor.EndShutdown, 1, boom, "boom"},
		{"Close panics", stop, func() error { panic("in Close") }, actor.EndCrash, 1, nil, "in Close"},
		{"Close ends its goroutine", stop, func() error { runtime.Goexit(); return nil }, actor.EndCrash, 1, nil, "Goexit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			var closed atomic.Int64
			k, m := newLiving(t, func() *living {
				return &living{
					run: behave,
					close: func() error {
						closed.Add(1)
						if c.closes != nil {
							return c.closes()
						}
						return nil
					},
				}
			})
			life := w.main.start("a", k)
			ref := k.Ref(w.main.sys, "a")
			c.end(life, func(n int64) { must(t, m.TrySend(ref, n)) })
			wait(t, life.Done(), "the end")
			end := life.End()
			if end.Reason != c.reason || closed.Load() != c.calls {
				t.Errorf("%v, Close called %d times; want %v, %d", end.Reason, closed.Load(), c.reason, c.calls)
			}
			if c.says != "" && (end.Err == nil || !strings.Contains(end.Err.Error(), c.says)) {
				t.Errorf("the end says %v, want %q", end.Err, c.says)
			}
			if c.err != nil {
				wantIs(t, end.Err, c.err)
			}
			if hasStack := end.Stack != ""; hasStack != (end.Reason == actor.EndCrash && c.says != "Goexit") {
				t.Errorf("stack: %q", end.Stack)
			}
		})
	}
}

func stop(l *actor.Life, _ func(int64)) { l.Stop(false, patience, patience) }

// behave does as the number says.
func behave(ctx context.Context, n int64) (int64, error) {
	switch n {
	case 1:
		self, _ := actor.SelfOf(ctx)
		self.Stop()
	case 2:
		panic("unlucky")
	case 3:
		runtime.Goexit()
	case 4:
		panic(nil)
	}
	return n, nil
}

// The caller of a handler that crashes is told at once; what was queued is handled by the next life, in order.
func TestCrash(t *testing.T) {
	for name, crash := range map[string]struct {
		f    script
		says string
	}{
		"panic":     {func(context.Context, *scripted) (int64, error) { panic("unlucky") }, "unlucky"},
		"panic nil": {func(context.Context, *scripted) (int64, error) { panic(nil) }, "panic"},
		"goexit":    {func(context.Context, *scripted) (int64, error) { runtime.Goexit(); return 0, nil }, "Goexit"},
		"panic with an error that panics": {
			func(context.Context, *scripted) (int64, error) { panic(&strangeError{"Error"}) }, "panic",
		},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, s *scene) {
				s.home.keep("a", s.kind)
				f, running, release := block(t)
				first := call(func() (int64, error) { return s.do(f) })
				wait(t, running, "the handler runs")
				must(t, s.note.Send(s.ctx(), s.ref, 1))
				must(t, s.run.Send(s.ctx(), s.ref, do(t, crash.f)))
				must(t, s.note.Send(s.ctx(), s.ref, 2))
				crashed := call(func() (int64, error) { return s.do(crash.f) })
				testkit.Eventually(t, patience, "four messages wait", func() bool { return s.queued() == 4 })
				for i := range int64(3) {
					must(t, s.note.Send(s.ctx(), s.ref, 3+i))
				}
				release()
				wait(t, first, "the first call")
				err := wait(t, crashed, "the crashed call").err
				wantIs(t, err, actor.ErrCrashed)
				if err == nil || !strings.Contains(err.Error(), crash.says) {
					t.Errorf("the error is %v, want it to say %q", err, crash.says)
				}
				got, err := s.seen.Call(s.ctx(), s.ref, struct{}{})
				if want := []int64{3, 4, 5}; err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("the third life has seen %v, %v, want %v", got, err, want)
				}
				if g := s.ref.Generation(); g != 3 {
					t.Errorf("generation %d, want 3", g)
				}
				if l := s.w.waitLetters(1); l[0].reason != shm.Crashed {
					t.Errorf("%+v", l)
				}
				if info := s.inspect(); info.Crashes != 2 {
					t.Errorf("%d crashes are counted, want 2", info.Crashes)
				}
			})
		})
	}
}

func TestSelf(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		_, err := s.do(func(ctx context.Context, _ *scripted) (int64, error) {
			self, ok := actor.SelfOf(ctx)
			if !ok || self.Name() != "a" || self.Generation() != 1 || self.System() != s.home.sys {
				t.Errorf("self is %v %q %d", ok, self.Name(), self.Generation())
			}
			ref, ok := s.kind.Self(ctx)
			if !ok || ref.Name() != "a" || ref.Generation() != 1 {
				t.Errorf("own ref: %v, %v", ref, ok)
			}
			other := newMethods(newName(t))
			if ref, ok := other.kind.Self(ctx); ok {
				t.Errorf("the ref of another kind: %v", ref)
			}
			derived, cancel := context.WithCancel(context.WithoutCancel(ctx))
			defer cancel()
			if _, ok := actor.SelfOf(derived); !ok {
				t.Error("no self in a derived context")
			}
			return 0, nil
		})
		must(t, err)
		if _, ok := actor.SelfOf(context.Background()); ok {
			t.Error("self outside of a handler")
		}
		if _, ok := s.kind.Self(context.Background()); ok {
			t.Error("own ref outside of a handler")
		}
	})
}

func TestSelfInInit(t *testing.T) {
	w := newWorld(t)
	k, m := newLiving(t, func() *living {
		return &living{run: answer, init: func(ctx context.Context) error {
			self, ok := actor.SelfOf(ctx)
			if !ok || self.Name() != "a" || self.Generation() != 1 {
				t.Errorf("self in Init: %v", ok)
			}
			if _, err := actor.Defer[int64](ctx); err == nil {
				t.Error("Init deferred a reply")
			}
			return nil
		}}
	})
	w.main.start("a", k)
	if n, err := m.Call(testkit.Deadline(t, patience), k.Ref(w.main.sys, "a"), 1); n != 42 || err != nil {
		t.Error(n, err)
	}
}

// An actor may ask for its end at any time: from Init, and from a goroutine while nothing is handled.
func TestSelfStopWithoutAMessage(t *testing.T) {
	for _, where := range []string{"Init", "goroutine"} {
		t.Run(where, func(t *testing.T) {
			w := newWorld(t)
			asked := make(chan actor.Self, 1)
			k, _ := newLiving(t, func() *living {
				return &living{run: answer, init: func(ctx context.Context) error {
					self, _ := actor.SelfOf(ctx)
					if where == "Init" {
						self.Stop()
					} else {
						asked <- self
					}
					return nil
				}}
			})
			life := w.main.start("a", k)
			if where != "Init" {
				self := <-asked
				go self.Stop()
			}
			wait(t, life.Done(), "the end")
			if r := life.End().Reason; r != actor.EndNormal {
				t.Errorf("the end is %v", r)
			}
		})
	}
}

func TestStopLeavesTheQueue(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		f, running, release := block(t)
		first := call(func() (int64, error) { return s.do(f) })
		wait(t, running, "the handler runs")
		for i := range int64(5) {
			must(t, s.note.Send(s.ctx(), s.ref, i))
		}
		stopped := make(chan actor.End, 1)
		go func() { stopped <- life.Stop(false, patience, patience) }()
		testkit.Eventually(t, patience, "the order to stop", func() bool { return len(stopped) == 0 })
		release()
		if got := wait(t, first, "the message in hand"); got.res != 7 || got.err != nil {
			t.Error(got)
		}
		if end := wait(t, stopped, "the stop"); end.Reason != actor.EndShutdown {
			t.Errorf("%+v", end)
		}
		s.home.keep("a", s.kind)
		got, err := s.seen.Call(s.ctx(), s.ref, struct{}{})
		must(t, err)
		for i, n := range got {
			if want := int64(5 - len(got) + i); n != want {
				t.Errorf("the next life has seen %v", got)
			}
		}
	})
}

func TestDrain(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		f, running, release := block(t)
		must(t, s.run.Send(s.ctx(), s.ref, do(t, f)))
		wait(t, running, "the handler runs")
		var handled int64
		n := do(t, func(context.Context, *scripted) (int64, error) { handled++; return 0, nil })
		for range 20 {
			must(t, s.run.Send(s.ctx(), s.ref, n))
		}
		stopped := make(chan actor.End, 1)
		go func() { stopped <- life.Stop(true, patience, patience) }()
		testkit.Eventually(t, patience, "nothing", func() bool { return true })
		release()
		end := wait(t, stopped, "the end of the drain")
		if end.Reason != actor.EndShutdown {
			t.Errorf("%+v", end)
		}
		s.home.keep("a", s.kind)
		s.works()
		if handled != 20 {
			t.Errorf("%d of 20 messages were handled", handled)
		}
	})
}

// A drain that senders keep going ends with its timeout, in order: the handler at work is not given up.
func TestDrainWithoutEnd(t *testing.T) {
	w := newWorld(t)
	life := w.main.start("a", plain.kind)
	ref := plain.kind.Ref(w.main.sys, "a")
	var lost atomic.Int64
	quit := make(chan struct{})
	sent := call(func() (int, error) {
		n := do(t, func(ctx context.Context, _ *scripted) (int64, error) {
			nap()
			return 0, nil
		})
		for {
			select {
			case <-quit:
				return 0, nil
			default:
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			if _, err := plain.run.Call(ctx, ref, n); errors.Is(err, actor.ErrStopped) {
				lost.Add(1)
			}
			_ = plain.run.TrySend(ref, n)
			_ = plain.run.TrySend(ref, n)
			cancel()
		}
	})
	testkit.Eventually(t, patience, "messages", func() bool { return life.Box().Open() })
	end := life.Stop(true, 20*time.Millisecond, patience)
	close(quit)
	wait(t, sent, "the sender")
	if end.Reason != actor.EndShutdown || lost.Load() > 0 {
		t.Errorf("%+v, %d calls were told that it stopped", end, lost.Load())
	}
}

func TestEndReasonString(t *testing.T) {
	for r := actor.EndReason(-1); r < 10; r++ {
		if r.String() == "" {
			t.Errorf("reason %d has no name", int(r))
		}
	}
	if actor.EndFenced.String() != "fenced" {
		t.Error(actor.EndFenced)
	}
}
