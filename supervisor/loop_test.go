package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
)

// fake is a child whose lives a test ends, and whose starts and stops wait where it wants.
type fake struct {
	// onStart is the start of life n, from 1; nil: it is ready at once.
	onStart func(ctx context.Context, n int) error
	// onStop is what stop does; nil: the life ends at once.
	onStop func(end func(exit))

	mu      sync.Mutex
	starts  int
	stops   []bool // final, of each order to stop
	up      bool
	twice   bool // it was started while it was up
	retired int
	ended   chan exit
}

func (f *fake) start(ctx context.Context) (run, error) {
	f.mu.Lock()
	f.starts++
	n := f.starts
	f.twice = f.twice || f.up
	f.mu.Unlock()
	if f.onStart != nil {
		if err := f.onStart(ctx, n); err != nil {
			return run{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = true
	ended := make(chan exit, 1)
	f.ended = ended
	end := func(e exit) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.end(ended, e)
	}
	return run{ended, func(final bool) {
		f.mu.Lock()
		f.stops = append(f.stops, final)
		f.mu.Unlock()
		if f.onStop != nil {
			f.onStop(end)
			return
		}
		end(exit{exitShutdown, nil})
	}}, nil
}

// end ends a life if it is still on. The caller holds mu.
func (f *fake) end(ended chan exit, e exit) {
	select {
	case ended <- e:
		f.up = false
	default:
	}
}

func (f *fake) retire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retired++
}

// die ends the present life.
func (f *fake) die(kind exitKind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.up {
		f.end(f.ended, exit{kind, errors.New("it died")})
	}
}

func (f *fake) count() (starts, stops, retired int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts, len(f.stops), f.retired
}

func (f *fake) as(name string, opts ...ChildOption) *member {
	return &member{spec: Child{name: name, ready: time.Hour}.With(opts...), run: f}
}

func loopOf(members ...*member) *loop {
	return newLoop("test", Limits{Restarts: -1}, false, members, slog.New(slog.DiscardHandler))
}

func mustBegin(t *testing.T, l *loop) {
	t.Helper()
	if err := l.begin(); err != nil {
		t.Fatal(err)
	}
}

// async runs f and returns its error, when there is one.
func async(f func() error) <-chan error {
	ch := make(chan error, 1)
	go func() { ch <- f() }()
	return ch
}

func pending(ch <-chan error) bool {
	select {
	case <-ch:
		return false
	default:
		return true
	}
}

func TestLoopStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		var members []*member
		for _, name := range []string{"zeta", "alpha", "mu", "beta", "omega"} {
			f := &fake{onStart: func(context.Context, int) error {
				order = append(order, name)
				return nil
			}, onStop: func(end func(exit)) {
				order = append(order, "-"+name)
				time.Sleep(time.Second) // the next one waits for it
				order = append(order, "+"+name)
				end(exit{exitShutdown, nil})
			}}
			members = append(members, f.as(name))
		}
		l := loopOf(members...)
		mustBegin(t, l)
		if err := l.end(nil, false); err != nil {
			t.Error(err)
		}
		const want = "zeta alpha mu beta omega -omega +omega -beta +beta -mu +mu -alpha +alpha -zeta +zeta"
		if got := strings.Join(order, " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// A life that ended by itself when it was told to stop has not ended for its supervisor until the stop has returned: it would
// reach the next life.
func TestLoopWaitsForALateStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{onStop: func(end func(exit)) {
			end(exit{exitCrash, errors.New("by itself")})
			<-release
		}}
		l := loopOf(f.as("a"))
		mustBegin(t, l)
		done := async(func() error { return l.end(nil, false) })
		synctest.Wait()
		if !pending(done) {
			t.Error("the supervisor has ended while a stop is under way")
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLoopStopGivesUpTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := &fake{onStart: func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		first, never := &fake{}, &fake{}
		l := loopOf(first.as("first"), hang.as("hang"), never.as("never"))
		begun := async(l.begin)
		synctest.Wait()
		start := time.Now()
		why := errors.New("no time")
		if err := l.end(why, false); !errors.Is(err, why) || !strings.Contains(err.Error(), `"hang"`) {
			t.Errorf("it ended with %v", err)
		}
		if err := <-begun; !errors.Is(err, why) {
			t.Errorf("the start ended with %v", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
		if starts, _, _ := never.count(); starts > 0 {
			t.Error("a later child was started")
		}
		if _, stops, _ := first.count(); stops != 1 {
			t.Errorf("the child before was stopped %d times", stops)
		}
	})
}

// A start that was ordered and given up before it began does not begin.
func TestLoopStopBeforeTheStart(t *testing.T) {
	for range 200 {
		f := &fake{}
		l := loopOf(f.as("a"))
		begun := async(l.begin)
		if err := l.end(nil, true); err != nil {
			t.Fatal(err)
		}
		if err := <-begun; err != nil && !errors.Is(err, actor.ErrStopped) {
			t.Fatal(err)
		}
		if f.up {
			t.Fatal("the child is up")
		}
	}
}

func TestLoopReadyTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := &fake{onStart: func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		l := loopOf(hang.as("a", ReadyTimeout(3*time.Second)))
		start := time.Now()
		err := l.begin()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not ready within 3s") {
			t.Error(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A hundred restarts with the longest waits, and a stop ends the wait at once.
func TestLoopBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		l := loopOf(f.as("a"))
		mustBegin(t, l)
		start := time.Now()
		const lives = 100
		for n := 1; n < lives; n++ {
			f.die(exitCrash)
			synctest.Wait()
			for starts, _, _ := f.count(); starts == n; starts, _, _ = f.count() {
				time.Sleep(time.Second)
				synctest.Wait()
			}
		}
		// 0, 0.1, ... 6.4 and then 10 s each, a fifth more or less, and up to a second of looking.
		const most, least = (lives - 8) * 13 * time.Second, (lives - 10) * 8 * time.Second
		if took := time.Since(start); took < least || took > most {
			t.Errorf("%d lives in %v, want %v to %v", lives, took, least, most)
		}
		f.die(exitCrash)
		synctest.Wait()
		now := time.Now()
		if err := l.end(nil, false); err != nil || time.Since(now) != 0 {
			t.Errorf("the end took %v and came with %v", time.Since(now), err)
		}
		if starts, _, _ := f.count(); starts != lives {
			t.Errorf("%d starts, want %d", starts, lives)
		}
	})
}

// Who removes a child is told when it has ended, not when a restart that was under way has.
func TestLoopRemoveDuringRestart(t *testing.T) {
	for name, outcome := range map[string]error{"it succeeds": nil, "it fails": errors.New("not this time")} {
		synctest.Test(t, func(t *testing.T) {
			restart, stop := make(chan struct{}), make(chan struct{})
			f := &fake{onStart: func(_ context.Context, n int) error {
				if n == 1 {
					return nil
				}
				<-restart // it does not heed the order to give up
				return outcome
			}, onStop: func(end func(exit)) {
				<-stop
				end(exit{exitShutdown, nil})
			}}
			l := loopOf(f.as("a"))
			mustBegin(t, l)
			f.die(exitCrash)
			synctest.Wait()
			removed := async(func() error { return l.remove("a") })
			synctest.Wait()
			close(restart)
			synctest.Wait()
			if outcome == nil && !pending(removed) {
				t.Errorf("%s: removed before it ended", name)
			}
			close(stop)
			if err := <-removed; err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, _, retired := f.count(); retired != 1 || l.member("a") != nil {
				t.Errorf("%s: retired %d times, still a member: %v", name, retired, l.member("a") != nil)
			}
			_ = l.end(nil, false)
		})
	}
}

func TestLoopRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		l := loopOf(f.as("a"))
		mustBegin(t, l)
		if err := l.remove("b"); !errors.Is(err, actor.ErrNotFound) {
			t.Errorf("a stranger: %v", err)
		}
		first, second := async(func() error { return l.remove("a") }), async(func() error { return l.remove("a") })
		if a, b := <-first, <-second; a != nil && b != nil {
			t.Errorf("two at once: %v, %v", a, b)
		}
		if err := l.remove("a"); !errors.Is(err, actor.ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		if len(f.stops) != 1 || !f.stops[0] {
			t.Errorf("the orders to stop were %v", f.stops)
		}
		_ = l.end(nil, false)
		if err := l.remove("a"); !errors.Is(err, actor.ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestLoopAdd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := loopOf((&fake{}).as("a"))
		mustBegin(t, l)
		if err := l.add((&fake{}).as("a")); !errors.Is(err, actor.ErrNameTaken) {
			t.Errorf("a name that is taken: %v", err)
		}
		boom := errors.New("boom")
		bad := &fake{onStart: func(context.Context, int) error { return boom }}
		if err := l.add(bad.as("x")); !errors.Is(err, boom) {
			t.Errorf("a bad start: %v", err)
		}
		if starts, _, retired := bad.count(); starts != 1 || retired != 1 || l.member("x") != nil {
			t.Errorf("a bad start: started %d times, retired %d times, still a member: %v", starts, retired, l.member("x") != nil)
		}
		if err := l.add((&fake{}).as("x")); err != nil {
			t.Errorf("the name again: %v", err)
		}
		// One that hangs is given up with the supervisor, and who added it is told.
		hang := &fake{onStart: func(ctx context.Context, _ int) error { <-ctx.Done(); return context.Cause(ctx) }}
		added := async(func() error { return l.add(hang.as("y")) })
		synctest.Wait()
		if err := l.end(nil, false); err != nil {
			t.Error(err)
		}
		if err := <-added; !errors.Is(err, errStopOrdered) {
			t.Errorf("added before the end: %v", err)
		}
		if err := l.add((&fake{}).as("z")); !errors.Is(err, actor.ErrStopped) {
			t.Errorf("added after the end: %v", err)
		}
	})
}

// A child that is stopped before it was ready: both who added and who removed it are told.
func TestLoopRemoveDuringAdd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := loopOf()
		mustBegin(t, l)
		hang := &fake{onStart: func(ctx context.Context, _ int) error { <-ctx.Done(); return context.Cause(ctx) }}
		added := async(func() error { return l.add(hang.as("y")) })
		synctest.Wait()
		if err := l.remove("y"); err != nil {
			t.Errorf("remove: %v", err)
		}
		if err := <-added; err == nil {
			t.Error("added, and it never was ready")
		}
		_ = l.end(nil, false)
	})
}

// Children of a few names are added, removed, and die by themselves, all at once. Every order is answered, no child is started
// twice at a time, each is retired once.
func TestLoopManyOrders(t *testing.T) {
	const parties, rounds = 8, 300
	l := loopOf((&fake{}).as("fixed"))
	mustBegin(t, l)
	var all sync.WaitGroup
	var added, removed atomic.Int32
	for p := range parties {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(p), 2))
			for range rounds {
				name := fmt.Sprint("child ", rng.IntN(3))
				f := &fake{}
				if rng.IntN(4) == 0 {
					f.onStart = func(context.Context, int) error { return errors.New("not today") }
				}
				err := l.add(f.as(name, RestartWhen(Restart(rng.IntN(3)))))
				if err == nil {
					added.Add(1)
					if rng.IntN(2) == 0 {
						f.die(exitKind(rng.IntN(3)))
					}
				}
				if err := l.remove(name); err == nil {
					removed.Add(1)
				} else if !errors.Is(err, actor.ErrNotFound) {
					t.Errorf("remove: %v", err)
				}
				if _, _, retired := f.count(); err == nil && retired > 1 || f.twice {
					t.Errorf("retired %d times, started twice: %v", retired, f.twice)
				}
			}
		})
	}
	all.Wait()
	if err := l.end(nil, true); err != nil {
		t.Error(err)
	}
	if added.Load() == 0 || removed.Load() == 0 {
		t.Errorf("%d added, %d removed", added.Load(), removed.Load())
	}
}

// While all that goes on the supervisor ends, and still nobody waits for ever.
func TestLoopEndsUnderOrders(t *testing.T) {
	for round := range 100 {
		l := loopOf((&fake{}).as("a"), (&fake{}).as("b"))
		begun := async(l.begin)
		var all sync.WaitGroup
		for p := range 4 {
			all.Go(func() {
				for i := range 10 {
					_ = l.add((&fake{}).as(fmt.Sprint(p, i%3)))
					_ = l.remove(fmt.Sprint(p, (i+1)%3))
					if p == 0 && i == round%10 {
						_ = l.end(nil, round%2 == 0)
					}
				}
			})
		}
		all.Wait()
		if err := <-begun; err != nil && !errors.Is(err, actor.ErrStopped) {
			t.Fatal(err)
		}
		<-l.done
	}
}

// What a group had is there in its next life, but for what ended for good.
func TestGroupLives(t *testing.T) {
	testkit.NoLeaks(t)
	keep, leave, twice := &fake{}, &fake{}, &fake{}
	inner := []*member{keep.as("keep"), leave.as("leave", RestartWhen(Temporary)), twice.as("removed")}
	g := &group{name: "g", limits: Limits{Restarts: 1, Period: time.Hour}, logger: slog.New(slog.DiscardHandler), members: inner}
	l := loopOf((&member{spec: Group("g"), run: g}))
	mustBegin(t, l)
	leave.die(exitCrash)
	testkit.Eventually(t, 5*time.Second, "the temporary child is retired", func() bool { _, _, n := leave.count(); return n == 1 })
	if err := g.remove("removed"); err != nil {
		t.Error(err)
	}
	for life := range 3 { // two ends each are too many for the group
		for end := range 2 {
			want := 1 + 2*life + end
			testkit.Eventually(t, 5*time.Second, "the child is up", func() bool {
				keep.mu.Lock()
				defer keep.mu.Unlock()
				return keep.starts == want && keep.up
			})
			keep.die(exitNormal)
		}
	}
	testkit.Eventually(t, 5*time.Second, "the fourth life of the group", func() bool { n, _, _ := keep.count(); return n == 7 })
	if err := l.end(nil, true); err != nil {
		t.Error(err)
	}
	for _, f := range []*fake{keep, leave, twice} {
		if starts, _, retired := f.count(); retired != 1 || f != keep && starts != 1 {
			t.Errorf("%d starts, retired %d times", starts, retired)
		}
	}
}

// Between two lives of its group a child is not there to be stopped, and the next life does not start it.
func TestGroupRemoveBetweenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{}
		g := &group{
			name: "g", limits: Limits{Restarts: 1}, logger: slog.New(slog.DiscardHandler),
			members: []*member{a.as("a"), b.as("b")},
		}
		l := loopOf((&member{spec: Group("g"), run: g}))
		mustBegin(t, l)
		a.die(exitNormal)
		synctest.Wait()
		a.die(exitNormal) // one too many: the group is restarted at once, for the first time
		synctest.Wait()
		a.die(exitNormal)
		synctest.Wait()
		a.die(exitNormal) // and now it waits
		synctest.Wait()
		if err := g.remove("a"); err != nil {
			t.Error(err)
		}
		if h := l.holder("a"); h != nil {
			t.Error("it is still there")
		}
		if h := l.holder("b"); h != remover(g) {
			t.Errorf("who has b: %v", h)
		}
		before, _, _ := a.count()
		bs, _, _ := b.count()
		time.Sleep(time.Minute)
		synctest.Wait()
		if starts, _, retired := a.count(); starts != before || retired != 1 {
			t.Errorf("started %d times after it was stopped, retired %d times", starts-before, retired)
		}
		if starts, _, _ := b.count(); starts != bs+1 {
			t.Errorf("the next life of the group has not come: %d starts of b", starts)
		}
		_ = l.end(nil, true)
	})
}
