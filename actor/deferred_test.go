package actor_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// deferring makes a script that defers its reply and hands it out.
func deferring(then func() error) (script, <-chan actor.Deferred[int64]) {
	out := make(chan actor.Deferred[int64], 1)
	return func(ctx context.Context, _ *scripted) (int64, error) {
		d, err := actor.Defer[int64](ctx)
		if err != nil {
			return 0, err
		}
		out <- d
		if then != nil {
			return -1, then()
		}
		return -1, errors.New("what the handler returns afterwards is ignored")
	}, out
}

func TestDeferredReply(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{{"a value", nil}, {"an error", errKnown}} {
		t.Run(c.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, s *scene) {
				s.home.keep("a", s.kind)
				f, out := deferring(nil)
				got := call(func() (int64, error) { return s.do(f) })
				d := wait(t, out, "the deferred call")
				s.works() // the actor is free meanwhile
				must(t, d.Reply(s.home.sys, 42, c.err))
				o := wait(t, got, "the reply")
				if c.err == nil && (o.res != 42 || o.err != nil) || c.err != nil && (o.res != 0 || !errors.Is(o.err, c.err)) {
					t.Errorf("%d, %v", o.res, o.err)
				}
				for range 2 {
					if err := d.Reply(s.home.sys, 43, nil); err == nil || !strings.Contains(err.Error(), "over") {
						t.Errorf("a second reply: %v", err)
					}
				}
				s.works()
			})
		})
	}
}

// Another actor answers: one beside the first, or one in another process, which got the duty in a message.
func TestDeferredReplyElsewhere(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		far := s.w.process("far")
		for name, p := range map[string]*process{"near": s.home, "far": far} {
			p.keep(name, s.kind)
			f := func(ctx context.Context, _ *scripted) (int64, error) {
				d, err := actor.Defer[int64](ctx)
				if err == nil {
					err = s.later.Send(ctx, s.kind.Ref(s.home.sys, name), d)
				}
				return 0, err
			}
			for range 10 {
				if n, err := s.do(f); n != 42 || err != nil {
					t.Errorf("%s: %d, %v", name, n, err)
				}
			}
		}
		s.works()
	})
}

// Of many who reply at once, one is the first.
func TestDeferredReplyRace(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		for range 200 / slower {
			f, out := deferring(nil)
			got := call(func() (int64, error) { return s.do(f) })
			d := wait(t, out, "the deferred call")
			var all sync.WaitGroup
			var mu sync.Mutex
			won := int64(-1)
			for i := range int64(4) {
				all.Go(func() {
					if d.Reply(s.home.sys, i, nil) == nil {
						mu.Lock()
						defer mu.Unlock()
						if won >= 0 {
							t.Error("two replies were accepted")
						}
						won = i
					}
				})
			}
			all.Wait()
			if o := wait(t, got, "the reply"); o.err != nil || o.res != won {
				t.Errorf("%d, %v, want %d", o.res, o.err, won)
			}
		}
	})
}

func TestDeferredAfterTheCallerGaveUp(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		f, out := deferring(nil)
		ctx, cancel := context.WithCancel(context.Background())
		got := call(func() (int64, error) { return s.run.Call(ctx, s.ref, do(t, f)) })
		d := wait(t, out, "the deferred call")
		testkit.Eventually(t, patience, "the call is deferred", func() bool {
			census, _ := mailbox.Check(s.w.seg)
			return census.States[shm.Deferred] == 1
		})
		cancel()
		wantIs(t, wait(t, got, "the call ends").err, context.Canceled)
		next := call(func() (string, error) { return s.text.Call(s.ctx(), s.ref, "mine") })
		wantIs(t, d.Reply(s.home.sys, 42, nil), mailbox.ErrReplied)
		if o := wait(t, next, "the next call"); o.res != "mine" || o.err != nil {
			t.Error(o)
		}
	})
}

func TestDeferAfterTheCallerGaveUp(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		running, leave, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		got := call(func() (int64, error) {
			return s.run.Call(ctx, s.ref, do(t, func(ctx context.Context, _ *scripted) (int64, error) {
				close(running)
				<-leave
				_, err := actor.Defer[int64](ctx)
				result <- err
				return 0, err
			}))
		})
		wait(t, running, "the handler runs")
		cancel()
		wantIs(t, wait(t, got, "the call ends").err, context.Canceled)
		close(leave)
		wantIs(t, wait(t, result, "Defer returns"), mailbox.ErrReplied)
		s.works()
	})
}

// When the actor ends before the reply, the caller is told why; whoever has the duty is told that it is over.
func TestDeferredWhenTheActorEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(s *scene, life *actor.Life)
		then func() error // right after Defer, in the handler
		want error
		says string
	}{
		{"stop", func(_ *scene, l *actor.Life) { l.Stop(false, patience, patience) }, nil, actor.ErrStopped, ""},
		{"crash", func(s *scene, _ *actor.Life) {
			_ = s.run.Send(s.ctx(), s.ref, do(s.t, func(context.Context, *scripted) (int64, error) { panic("unlucky") }))
		}, nil, actor.ErrCrashed, "unlucky"},
		{"crash with an odd error", func(s *scene, _ *actor.Life) {
			_ = s.run.Send(s.ctx(), s.ref, do(s.t, func(context.Context, *scripted) (int64, error) { panic(&strangeError{"Error"}) }))
		}, nil, actor.ErrCrashed, ""},
		{"panic after Defer", func(*scene, *actor.Life) {}, func() error { panic("unlucky") }, actor.ErrCrashed, "unlucky"},
		{"Goexit after Defer", func(*scene, *actor.Life) {}, func() error { runtime.Goexit(); return nil }, actor.ErrCrashed, "Goexit"},
		{"system's end", func(s *scene, _ *actor.Life) { s.home.hub.Close(actor.ErrSystemEnded) }, nil, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, s *scene) {
				life := s.home.start("a", s.kind)
				f, out := deferring(c.then)
				got := call(func() (int64, error) { return s.do(f) })
				d := wait(t, out, "the deferred call")
				if c.then == nil {
					s.works()
				}
				c.end(s, life)
				wait(t, life.Done(), "the end")
				err := wait(t, got, "the caller is told").err
				switch {
				case c.want == nil && !errors.Is(err, actor.ErrStopped) && !errors.Is(err, actor.ErrSystemEnded):
					t.Error(err)
				case c.want != nil && !errors.Is(err, c.want), err == nil, !strings.Contains(err.Error(), c.says):
					t.Errorf("the error is %v, want %v that says %q", err, c.want, c.says)
				}
				if err := d.Reply(s.home.sys, 42, nil); err == nil {
					t.Error("a reply after the end was accepted")
				}
			})
		})
	}
}

// An actor's last error may be of a type that panics when asked for its text.
func TestDeferredWhenCloseFailsOddly(t *testing.T) {
	w := newWorld(t)
	k, m := newLiving(t, func() *living {
		return &living{
			run:   func(ctx context.Context, _ int64) (int64, error) { _, err := actor.Defer[int64](ctx); return 0, err },
			close: func() error { return &strangeError{"Error"} },
		}
	})
	life := w.main.start("a", k)
	got := call(func() (int64, error) { return m.Call(testkit.Deadline(t, patience), k.Ref(w.main.sys, "a"), 1) })
	testkit.Eventually(t, patience, "the call is deferred", func() bool {
		census, _ := mailbox.Check(w.seg)
		return census.States[shm.Deferred] == 1
	})
	life.Stop(false, patience, patience)
	wantIs(t, wait(t, got, "the caller is told").err, actor.ErrStopped)
}

// A handler that deferred its reply and then hangs is given up: its caller is told.
func TestDeferredAndFenced(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		leave := make(chan struct{})
		release := sync.OnceFunc(func() { close(leave) })
		defer release()
		f, out := deferring(func() error { <-leave; return nil })
		got := call(func() (int64, error) { return s.do(f) })
		d := wait(t, out, "the deferred call")
		if end := life.Stop(false, 0, 0); end.Reason != actor.EndFenced {
			t.Errorf("%+v", end)
		}
		wantIs(t, wait(t, got, "the caller is told").err, actor.ErrStopped)
		if err := d.Reply(s.home.sys, 42, nil); err == nil {
			t.Error("a reply after the end was accepted")
		}
		release()
		s.home.keep("a", s.kind)
		s.works()
	})
}

func TestDeferMisuse(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		if _, err := actor.Defer[int64](context.Background()); err == nil {
			t.Error("deferred outside of a handler")
		}
		if err := (actor.Deferred[int64]{}).Reply(s.home.sys, 1, nil); err == nil {
			t.Error("the zero Deferred replied")
		}
		oneWay := make(chan error, 1)
		must(t, s.run.Send(s.ctx(), s.ref, do(t, func(ctx context.Context, _ *scripted) (int64, error) {
			_, err := actor.Defer[int64](ctx)
			oneWay <- err
			return 0, nil
		})))
		if err := wait(t, oneWay, "the one-way message"); err == nil || !strings.Contains(err.Error(), "one-way") {
			t.Errorf("deferred a one-way message: %v", err)
		}
		_, err := s.do(func(ctx context.Context, _ *scripted) (int64, error) {
			_, err := actor.Defer[string](ctx)
			wantIs(t, err, actor.ErrIncompatible)
			_, err = actor.Defer[uint64](ctx) // as large as what the method returns
			wantIs(t, err, actor.ErrIncompatible)
			return 5, nil
		})
		must(t, err)
		twice := make(chan error, 1)
		f, out := deferring(nil)
		var kept context.Context
		got := call(func() (int64, error) {
			return s.do(func(ctx context.Context, a *scripted) (int64, error) {
				kept = ctx
				_, _ = f(ctx, a)
				_, err := actor.Defer[int64](ctx)
				twice <- err
				return 0, nil
			})
		})
		d := wait(t, out, "the deferred call")
		wantIs(t, wait(t, twice, "the second Defer"), mailbox.ErrReplied)
		must(t, d.Reply(s.home.sys, 1, nil))
		must(t, wait(t, got, "the reply").err)
		_, err = actor.Defer[int64](kept)
		wantIs(t, err, mailbox.ErrReplied)
	})
}

// A token of one system means nothing in another, where a call may have the same number.
func TestDeferredOfAnotherSystem(t *testing.T) {
	w := newWorld(t)
	w.main.keep("a", plain.kind)
	f, out := deferring(nil)
	n := do(t, f)
	here := call(func() (int64, error) {
		return plain.run.Call(testkit.Deadline(t, patience), plain.kind.Ref(w.main.sys, "a"), n)
	})
	d := wait(t, out, "the deferred call")
	other := makeWorld(t, worldOptions{})
	other.main.keep("a", plain.kind)
	there := call(func() (int64, error) {
		return plain.run.Call(testkit.Deadline(t, patience), plain.kind.Ref(other.main.sys, "a"), n)
	})
	d2 := wait(t, out, "the deferred call there")
	if same := w.seg.Info().Instance%255 == other.seg.Info().Instance%255; !same { // one in 255 times they are alike
		wantIs(t, d.Reply(other.main.sys, 1, nil), mailbox.ErrReplied)
		wantIs(t, d2.Reply(w.main.sys, 1, nil), mailbox.ErrReplied)
	}
	wantIs(t, d.Reply(nil, 1, nil), mailbox.ErrReplied)
	must(t, d.Reply(w.main.sys, 2, nil))
	must(t, d2.Reply(other.main.sys, 3, nil))
	if a, b := wait(t, here, "the reply"), wait(t, there, "the reply there"); a.res != 2 || b.res != 3 {
		t.Error(a, b)
	}
}

// The first call of a system may have a token of all zeros, which is not that of the zero Deferred.
func TestZeroDeferredIsNoCall(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		f, out := deferring(nil)
		got := call(func() (int64, error) { return s.do(f) })
		d := wait(t, out, "the deferred call")
		if err := (actor.Deferred[int64]{}).Reply(s.home.sys, 13, nil); err == nil {
			t.Error("the zero Deferred replied")
		}
		must(t, d.Reply(s.home.sys, 42, nil))
		if o := wait(t, got, "the reply"); o.res != 42 || o.err != nil {
			t.Error(o)
		}
	})
}

// A bearer that claims another type than the method's is refused, and the caller is not left alone.
func TestDeferredReplyOfAnotherType(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		f, out := deferring(nil)
		got := call(func() (int64, error) { return s.do(f) })
		d := wait(t, out, "the deferred call")
		wantIs(t, actor.Deferred[uint64](d).Reply(s.home.sys, 1, nil), actor.ErrIncompatible)
		wantIs(t, wait(t, got, "the caller is told").err, actor.ErrIncompatible)
	})
}

// Defer from a goroutine that the handler left behind, while the actor handles other messages.
func TestDeferAfterReturn(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		var behind sync.WaitGroup
		n := do(t, func(ctx context.Context, _ *scripted) (int64, error) {
			behind.Go(func() {
				d, err := actor.Defer[int64](ctx)
				if err == nil { // in time: this goroutine has the duty now
					err = d.Reply(s.home.sys, 2, nil)
				} else if errors.Is(err, mailbox.ErrReplied) {
					err = nil
				}
				if err != nil {
					t.Error(err)
				}
			})
			return 1, nil
		})
		for range 500 / slower {
			if got, err := s.run.Call(s.ctx(), s.ref, n); err != nil || got != 1 && got != 2 {
				t.Errorf("%d, %v", got, err)
			}
			must(t, s.note.Send(s.ctx(), s.ref, 1))
		}
		behind.Wait()
		s.works()
	})
}

// A reply that cannot be encoded is an error to both, and the caller waits no longer.
func TestDeferredReplyThatCannotBeSent(t *testing.T) {
	for _, mode := range []string{"write: panic", "write: error", "write: goexit", "large"} {
		t.Run(mode, func(t *testing.T) {
			everywhere(t, func(t *testing.T, s *scene) {
				if s.local || s.kind == encoded.kind || s.kind == once.kind {
					return // no codec; and a kind of its own is not that kind
				}
				out := make(chan actor.Deferred[awkward], 1)
				k, _ := newLiving(t, func() *living { return new(living) })
				odd := actor.NewMethod(k, "odd", func(_ *living, ctx context.Context, _ int64) (awkward, error) {
					d, err := actor.Defer[awkward](ctx)
					out <- d
					return awkward{}, err
				})
				s.home.start("a", k)
				got := call(func() (awkward, error) { return odd.Call(s.ctx(), k.Ref(s.caller.sys, "a"), 1) })
				d := wait(t, out, "the deferred call")
				v := awkward{Mode: mode}
				if mode == "large" {
					v.Text = strings.Repeat("x", 3<<20)
				}
				replied := make(chan error, 1)
				go func() {
					defer close(replied)
					replied <- d.Reply(s.home.sys, v, nil)
				}()
				if err := wait(t, replied, "Reply"); err == nil && mode != "write: goexit" {
					t.Error("the reply was accepted")
				}
				if err := wait(t, got, "the caller is told").err; err == nil {
					t.Error("the caller got a reply")
				}
			})
		})
	}
}

// Calls that were deferred and given up by their callers are forgotten, also when nobody ever replies.
func TestDeferredAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.main.keep("a", plain.kind)
	ref := plain.kind.Ref(w.main.sys, "a")
	out := make(chan struct{}, 1)
	n := do(t, func(ctx context.Context, _ *scripted) (int64, error) {
		_, err := actor.Defer[int64](ctx)
		out <- struct{}{}
		return 0, err
	})
	const calls = 2000
	for range calls {
		ctx, cancel := context.WithCancel(context.Background())
		got := call(func() (int64, error) { return plain.run.Call(ctx, ref, n) })
		wait(t, out, "the deferred call")
		cancel()
		wait(t, got, "the end of the call")
	}
	if kept := actor.Pending(w.main.sys); kept > calls/4 {
		t.Errorf("%d of %d deferred calls are still kept", kept, calls)
	}
}
