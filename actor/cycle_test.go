package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
)

// cast starts the actors "a" to "e" of a scene, "a", "c" and "e" where the scene's actor is, the others in another process
// if two is set.
func (s *scene) cast(two bool) {
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		p := s.home
		if two && i%2 == 1 {
			p = s.w.process(name)
		}
		p.keep(name, s.kind)
	}
}

// onOneAndTwo runs a test with all actors in one process, and with every other in another.
func onOneAndTwo(t *testing.T, test func(t *testing.T, s *scene)) {
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprintf("two %v", two), func(t *testing.T) {
			everywhere(t, func(t *testing.T, s *scene) {
				s.cast(two)
				test(t, s)
			})
		})
	}
}

func TestCycles(t *testing.T) {
	onOneAndTwo(t, func(t *testing.T, s *scene) {
		for _, path := range [][]string{
			{"a"},
			{"b", "a"},
			{"b", "c", "a"},
			{"b", "b"},
			{"b", "c", "b"},
			{"b", "c", "d", "e", "a"},
			{"b", "c", "d", "e", "e"},
			{"b", "c", "d", "e", "c"},
		} {
			if n, err := s.hop.Call(s.ctx(), s.ref, path); !errors.Is(err, actor.ErrCycle) {
				t.Errorf("a, then %v: %d, %v", path, n, err)
			}
			if n, err := s.hop.Call(s.ctx(), s.ref, path[:len(path)-1]); int(n) != len(path)-1 || err != nil {
				t.Errorf("a, then %v: %d, %v", path[:len(path)-1], n, err)
			}
		}
	})
}

// A cycle is found also through a context that was made from the handler's, and by a goroutine of the handler.
func TestCycleThroughDerivedContexts(t *testing.T) {
	onOneAndTwo(t, func(t *testing.T, s *scene) {
		_, err := s.do(func(ctx context.Context, _ *scripted) (int64, error) {
			self, _ := actor.SelfOf(ctx)
			derived, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			a, b := s.kind.Ref(self.System(), "a"), s.kind.Ref(self.System(), "b")
			o := wait(t, call(func() (int64, error) { return s.hop.Call(derived, b, []string{"a"}) }), "the goroutine's call")
			wantIs(t, o.err, actor.ErrCycle)
			_, err := s.hop.Call(derived, a, nil)
			wantIs(t, err, actor.ErrCycle)
			return s.hop.Call(derived, b, []string{"c"})
		})
		must(t, err)
	})
}

// Init waits like a handler does.
func TestCycleInInit(t *testing.T) {
	w := newWorld(t)
	var k actor.Kind[*living]
	var m actor.Method[*living, int64, int64]
	got := make(chan error, 1)
	k, m = newLiving(t, func() *living {
		return &living{run: answer, init: func(ctx context.Context) error {
			self, _ := k.Self(ctx)
			_, err := m.Call(ctx, self, 1)
			got <- err
			return nil
		}}
	})
	w.main.start("a", k)
	wantIs(t, wait(t, got, "the call from Init"), actor.ErrCycle)
}

// A goroutine that Init left behind calls while the actor is at work: nothing is shared that is not ordered.
func TestCallFromAGoroutineOfInit(t *testing.T) {
	w := newWorld(t)
	w.main.keep("b", plain.kind)
	done := make(chan error, 1)
	k, m := newLiving(t, func() *living {
		return &living{run: answer, init: func(ctx context.Context) error {
			go func() {
				var err error
				for range 100 {
					_, callErr := plain.text.Call(ctx, plain.kind.Ref(w.main.sys, "b"), "x")
					err = errors.Join(err, callErr)
				}
				done <- err
			}()
			return nil
		}}
	})
	w.main.start("a", k)
	for range 100 {
		if _, err := m.Call(context.Background(), k.Ref(w.main.sys, "a"), 1); err != nil {
			t.Error(err)
		}
	}
	must(t, wait(t, done, "the goroutine"))
}

// Two actors that call each other at the same time do not wait for ever: at least one is told.
func TestSimultaneousCalls(t *testing.T) {
	onOneAndTwo(t, func(t *testing.T, s *scene) {
		for range 100 / slower {
			var ready sync.WaitGroup
			ready.Add(2)
			meet := func(other string) script {
				return func(ctx context.Context, _ *scripted) (int64, error) {
					ready.Done()
					ready.Wait()
					self, _ := actor.SelfOf(ctx)
					return s.hop.Call(ctx, s.kind.Ref(self.System(), other), nil)
				}
			}
			a := call(func() (int64, error) { return s.do(meet("b")) })
			b := call(func() (int64, error) {
				return s.run.Call(s.ctx(), s.kind.Ref(s.caller.sys, "b"), do(t, meet("a")))
			})
			errs := []error{wait(t, a, "a").err, wait(t, b, "b").err}
			for _, err := range errs {
				if err != nil {
					wantIs(t, err, actor.ErrCycle)
				}
			}
			if errs[0] == nil && errs[1] == nil {
				t.Error("both were answered")
			}
		}
	})
}

// Actors that are called over several ways, or by several at once, are no cycle.
func TestNoFalseCycles(t *testing.T) {
	onOneAndTwo(t, func(t *testing.T, s *scene) {
		diamond := func(ctx context.Context, _ *scripted) (int64, error) {
			self, _ := actor.SelfOf(ctx)
			for _, way := range []string{"b", "c", "d"} {
				if _, err := s.hop.Call(ctx, s.kind.Ref(self.System(), way), []string{"e"}); err != nil {
					return 0, err
				}
			}
			return 0, nil
		}
		parallel := func(ctx context.Context, _ *scripted) (int64, error) {
			self, _ := actor.SelfOf(ctx)
			var all []<-chan outcome[int64]
			for _, way := range []string{"b", "c", "d", "b", "c", "d"} {
				all = append(all, call(func() (int64, error) { return s.hop.Call(ctx, s.kind.Ref(self.System(), way), []string{"e"}) }))
			}
			var errs []error
			for _, ch := range all {
				errs = append(errs, (<-ch).err)
			}
			return 0, errors.Join(errs...)
		}
		var all sync.WaitGroup
		for range 4 {
			for _, f := range []script{diamond, parallel} {
				all.Go(func() {
					for range 20 / slower * 2 {
						if _, err := s.do(f); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for _, from := range []string{"b", "c", "d"} {
				all.Go(func() {
					for range 20 {
						if _, err := s.hop.Call(s.ctx(), s.kind.Ref(s.caller.sys, from), []string{"e"}); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		all.Wait()
	})
}

// An actor that has answered is waited for no more, even if the one who asked has not got to know it yet: it may call back
// at once.
func TestCallBackAfterTheReplyIsNoCycle(t *testing.T) {
	onOneAndTwo(t, func(t *testing.T, s *scene) {
		results := make(chan error, 1)
		back := do(t, func(ctx context.Context, _ *scripted) (int64, error) { // in b, after the reply to a
			self, _ := actor.SelfOf(ctx)
			_, err := s.text.Call(ctx, s.kind.Ref(self.System(), "a"), "x")
			results <- err
			return 0, nil
		})
		ask := do(t, func(ctx context.Context, _ *scripted) (int64, error) { // in b
			self, _ := actor.SelfOf(ctx)
			return 0, s.run.Send(ctx, s.kind.Ref(self.System(), "b"), back)
		})
		first := func(ctx context.Context, _ *scripted) (int64, error) { // in a
			self, _ := actor.SelfOf(ctx)
			return s.run.Call(ctx, s.kind.Ref(self.System(), "b"), ask)
		}
		for range 500 / slower {
			if _, err := s.do(first); err != nil {
				t.Fatal(err)
			}
			must(t, wait(t, results, "the call back"))
		}
	})
}

// Nor is one that deferred its reply: it does not keep the one who asked from being answered by another.
func TestCallBackAfterDeferIsNoCycle(t *testing.T) {
	onOneAndTwo(t, func(t *testing.T, s *scene) {
		f, out := deferring(nil)
		number := do(t, f)
		first := call(func() (int64, error) {
			return s.do(func(ctx context.Context, _ *scripted) (int64, error) { // in a
				self, _ := actor.SelfOf(ctx)
				return s.run.Call(ctx, s.kind.Ref(self.System(), "b"), number)
			})
		})
		d := wait(t, out, "b deferred")
		b := s.kind.Ref(s.caller.sys, "b")
		back := call(func() (int64, error) { return s.hop.Call(s.ctx(), b, []string{"a"}) }) // b calls a, which waits for b
		select {
		case o := <-back:
			t.Errorf("b was refused: %v", o.err)
		case <-time.After(time.Millisecond):
		}
		must(t, d.Reply(s.home.sys, 5, nil))
		if o := wait(t, first, "a is answered"); o.res != 5 || o.err != nil {
			t.Error(o)
		}
		if len(back) == 0 {
			must(t, wait(t, back, "b is answered").err)
		}
	})
}

// A goroutine that a handler left behind does not make the actor wait: who is called by it may call the actor.
func TestGoroutineLeftBehindIsNoCycle(t *testing.T) {
	onOneAndTwo(t, func(t *testing.T, s *scene) {
		for _, returned := range []bool{false, true} {
			leave, running := make(chan struct{}), make(chan struct{}, 1)
			hold := do(t, func(ctx context.Context, _ *scripted) (int64, error) { // in b
				running <- struct{}{}
				<-leave
				self, _ := actor.SelfOf(ctx)
				return s.hop.Call(ctx, s.kind.Ref(self.System(), "a"), nil)
			})
			var late <-chan outcome[int64]
			gone := make(chan struct{})
			_, err := s.do(func(ctx context.Context, _ *scripted) (int64, error) { // in a
				self, _ := actor.SelfOf(ctx)
				ctx = context.WithoutCancel(ctx)
				late = call(func() (int64, error) {
					if returned {
						<-gone
					}
					return s.run.Call(ctx, s.kind.Ref(self.System(), "b"), hold)
				})
				if !returned {
					<-running
				}
				return 0, nil
			})
			must(t, err)
			close(gone)
			if returned {
				wait(t, running, "b works")
			}
			s.works()
			close(leave)
			if o := wait(t, late, "the late call"); o.err != nil {
				t.Errorf("begun after the return %v: %v", returned, o.err)
			}
		}
	})
}

// A handler that waits for several at once is in a cycle with each of them, whichever it asked last and whichever has
// answered.
func TestCycleBesideOtherCalls(t *testing.T) {
	onOneAndTwo(t, func(t *testing.T, s *scene) {
		for _, order := range [][]string{{"b", "c"}, {"c", "b"}} {
			running, leave := make(chan struct{}, 1), make(chan struct{})
			hold := do(t, func(ctx context.Context, _ *scripted) (int64, error) { // in b
				running <- struct{}{}
				<-leave
				self, _ := actor.SelfOf(ctx)
				return s.hop.Call(ctx, s.kind.Ref(self.System(), "a"), nil)
			})
			quick := do(t, func(context.Context, *scripted) (int64, error) { return 1, nil }) // in c
			_, err := s.do(func(ctx context.Context, _ *scripted) (int64, error) {
				self, _ := actor.SelfOf(ctx)
				calls := map[string]<-chan outcome[int64]{}
				for _, name := range order {
					n := hold
					if name == "c" {
						n = quick
					}
					calls[name] = call(func() (int64, error) { return s.run.Call(ctx, s.kind.Ref(self.System(), name), n) })
					if name == "b" {
						<-running
					} else if i := slices.Index(order, name); i == 1 {
						<-calls[name] // c has answered, b has not
					}
				}
				if order[0] == "c" {
					<-calls["c"]
				}
				close(leave)
				return 0, (<-calls["b"]).err
			})
			wantIs(t, err, actor.ErrCycle)
		}
	})
}

// Two systems number their mailboxes alike; a call from one into the other is none of its own.
func TestTwoSystemsAreNoCycle(t *testing.T) {
	w := newWorld(t)
	w.main.keep("a", plain.kind)
	other := makeWorld(t, worldOptions{})
	other.main.keep("a", plain.kind)
	there := plain.kind.Ref(other.main.sys, "a")
	here := plain.kind.Ref(w.main.sys, "a")
	var from uint32
	n, err := plain.run.Call(context.Background(), here, do(t, func(ctx context.Context, _ *scripted) (int64, error) {
		if err := plain.run.Send(ctx, there, do(t, func(context.Context, *scripted) (int64, error) { return 0, errKnown })); err != nil {
			return 0, err
		}
		return plain.add.Call(ctx, there, 5)
	}))
	if n != 5 || err != nil {
		t.Error(n, err)
	}
	if from = other.waitLetters(1)[0].from; from != 0 {
		t.Errorf("the letter is said to be from mailbox %d of its own system", from-1)
	}
}
