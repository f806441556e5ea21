package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
)

// script feeds a supervisor events and compares what it does.
type script struct {
	t    *testing.T
	plan plan
	now  time.Time
}

// newScript makes the plan of a supervisor with children of these names; "b?" is Transient, "b-" is Temporary.
func newScript(t *testing.T, limits Limits, names ...string) *script {
	t.Helper()
	s := &script{t: t, plan: plan{limits: limits.withDefaults()}, now: time.Unix(1e9, 0)}
	for i, name := range names {
		s.plan.kids = append(s.plan.kids, kidNamed(name, i+1))
	}
	return s
}

func kidNamed(name string, serial int) kid {
	k := kid{id: strings.TrimRight(name, "?-"), serial: serial}
	switch {
	case strings.HasSuffix(name, "?"):
		k.restart = Transient
	case strings.HasSuffix(name, "-"):
		k.restart = Temporary
	}
	return k
}

// running makes a supervisor whose children all run.
func running(t *testing.T, limits Limits, names ...string) *script {
	t.Helper()
	s := newScript(t, limits, names...)
	s.plan, _ = decide(s.plan, event{kind: evBegin}, s.now)
	for _, k := range slices.Clone(s.plan.kids) {
		s.plan, _ = decide(s.plan, event{kind: evStarted, id: k.id}, s.now)
	}
	if s.plan.phase != phaseRunning {
		t.Fatalf("the supervisor does not run: %+v", s.plan)
	}
	return s
}

// do feeds one event, in words, and compares the actions, in words:
//
//	begin, started a, normal a, shutdown a, crash a, failed a, timer a, add a, remove a, stop, stop!
func (s *script) do(what, want string) *script {
	s.t.Helper()
	before := fmt.Sprintf("%+v", s.plan)
	ev := s.event(what)
	next, actions := decide(s.plan, ev, s.now)
	if after := fmt.Sprintf("%+v", s.plan); after != before {
		s.t.Fatalf("%s changed the state it was given:\n%s\nto\n%s", what, before, after)
	}
	s.plan = next
	var got []string
	for _, a := range actions {
		got = append(got, a.words())
	}
	if text := strings.Join(got, ", "); text != want {
		s.t.Fatalf("%s: %q, want %q; now %+v", what, text, want, s.plan)
	}
	return s
}

func (s *script) event(what string) event {
	verb, id, _ := strings.Cut(what, " ")
	boom := errors.New("boom")
	k := kidNamed(id, 100+s.plan.starts)
	ev := event{id: k.id}
	for _, have := range s.plan.kids {
		if have.id == k.id {
			ev.life, ev.serial = have.life, have.serial
		}
	}
	switch verb {
	case "begin":
		ev.kind = evBegin
	case "started":
		ev.kind = evStarted
	case "timer":
		ev.kind = evTimer
	case "add":
		ev.kind, ev.kid = evAdd, k
	case "remove":
		ev.kind = evRemove
	case "stop", "stop!":
		ev.kind, ev.final = evStop, verb == "stop!"
	default:
		ev.kind = evExited
		ev.exit = map[string]exitKind{
			"normal": exitNormal, "shutdown": exitShutdown, "crash": exitCrash, "failed": exitFailed,
		}[verb]
		if ev.exit >= exitCrash {
			ev.err = boom
		}
	}
	return ev
}

func (a action) words() string {
	switch a.kind {
	case actStart:
		return "start " + a.id
	case actStop:
		if a.final {
			return "stop! " + a.id
		}
		return "stop " + a.id
	case actTimer:
		return fmt.Sprintf("wait %s %v", a.id, a.delay)
	case actForget:
		return "forget " + a.id
	case actRefuse:
		return "refuse " + a.id
	case actReady:
		return "ready"
	case actEnd:
		if a.err != nil {
			return "end with error"
		}
		return "end"
	}
	return "?"
}

func (s *script) later(d time.Duration) *script {
	s.now = s.now.Add(d)
	return s
}

// kid is the state of a child.
func (s *script) kid(id string) kid {
	for _, k := range s.plan.kids {
		if k.id == id {
			return k
		}
	}
	s.t.Fatalf("no child %q in %+v", id, s.plan)
	return kid{}
}

func (s *script) wantReason(parts ...string) {
	s.t.Helper()
	for _, part := range parts {
		if s.plan.reason == nil || !strings.Contains(s.plan.reason.Error(), part) {
			s.t.Errorf("it ends because of %v, want %q in it", s.plan.reason, part)
		}
	}
}

func TestDecideStartsInOrder(t *testing.T) {
	s := newScript(t, Limits{}, "a", "b", "c").
		do("begin", "start a").do("begin", "").
		do("started a", "start b").do("started b", "start c").do("started c", "ready")
	s.do("stop", "stop c").do("shutdown c", "stop b").do("shutdown b", "stop a").do("shutdown a", "end")
	newScript(t, Limits{}).do("begin", "ready").do("stop", "end")
	newScript(t, Limits{}, "a").do("stop", "end")
}

// Only the failed child is restarted, and which end is a failure says its type.
func TestDecideRestartTypes(t *testing.T) {
	for _, c := range []struct{ child, end, want string }{
		{"b", "normal", "start b"},
		{"b", "shutdown", "start b"},
		{"b", "crash", "start b"},
		{"b?", "normal", "forget b"},
		{"b?", "shutdown", "forget b"},
		{"b?", "crash", "start b"},
		{"b-", "normal", "forget b"},
		{"b-", "shutdown", "forget b"},
		{"b-", "crash", "forget b"},
	} {
		s := running(t, Limits{}, "a", c.child, "c").do(c.end+" b", c.want)
		charged := len(s.plan.recent)
		if want := strings.Count(c.want, "start"); charged != want {
			t.Errorf("%s of %s: charged %d times, want %d", c.end, c.child, charged, want)
		}
	}
	// A restart that fails is tried again, whatever the type.
	for _, child := range []string{"b", "b?"} {
		running(t, Limits{}, "a", child).do("crash b", "start b").do("failed b", "wait b 100ms").do("timer b", "start b").
			do("started b", "").do("crash b", "wait b 200ms")
	}
}

func TestDecideIntensity(t *testing.T) {
	limits := Limits{Restarts: 2, Period: 10 * time.Second, Backoff: -1}
	s := running(t, limits, "a", "b")
	s.do("crash a", "start a").do("started a", "").later(time.Second).do("crash b", "start b").do("started b", "")
	s.later(time.Second).do("crash a", "stop b").do("shutdown b", "end with error")
	s.wantReason("3 restarts in 10s", "more than 2", `"a"`, "boom")

	// What lies exactly a period back counts, a nanosecond more does not.
	s = running(t, limits, "a").do("crash a", "start a").do("started a", "").do("crash a", "start a").do("started a", "")
	s.later(10*time.Second).do("crash a", "end with error")
	s = running(t, limits, "a").do("crash a", "start a").do("started a", "").do("crash a", "start a").do("started a", "")
	s.later(10*time.Second+1).do("crash a", "start a")
	if len(s.plan.recent) != 1 {
		t.Errorf("the window holds %d restarts, want 1", len(s.plan.recent))
	}

	// A normal end that is followed by a restart counts, one that is not does not.
	s = running(t, limits, "a", "b?").do("normal b", "forget b")
	s.do("normal a", "start a").do("started a", "").do("normal a", "start a").do("started a", "").do("normal a", "end with error")
	s.wantReason("ended by itself")

	s = running(t, Limits{Restarts: -1, Backoff: -1}, "a")
	for range 1000 {
		s.do("crash a", "start a").do("started a", "")
	}
	if len(s.plan.recent) > 0 {
		t.Errorf("%d restarts are remembered for a limit that there is not", len(s.plan.recent))
	}
}

// Failed restarts are charged too, also those that come after waiting.
func TestDecideIntensityOfFailedRestarts(t *testing.T) {
	s := running(t, Limits{Restarts: 3, Backoff: time.Second}, "a", "b")
	s.do("crash a", "start a").do("failed a", "wait a 1s").do("timer a", "start a").do("failed a", "wait a 2s").
		do("timer a", "start a").do("failed a", "stop b").do("shutdown b", "end with error")
	s.wantReason("4 restarts", "boom")
}

func TestDecideBackoff(t *testing.T) {
	s := running(t, Limits{Restarts: -1, Backoff: 100 * time.Millisecond, BackoffMax: time.Second}, "a", "b")
	crash := func(want string) {
		t.Helper()
		s.do("crash a", want)
		if strings.HasPrefix(want, "wait") {
			s.do("timer a", "start a")
		}
		s.do("started a", "")
	}
	for _, want := range []string{
		"start a", "wait a 100ms", "wait a 200ms", "wait a 400ms", "wait a 800ms", "wait a 1s", "wait a 1s",
	} {
		crash(want)
	}
	s.do("crash b", "start b").do("started b", "") // has its own count
	// After max(10 s, twice the delay) of health it begins anew, and not before.
	s.later(10*time.Second - 1)
	crash("wait a 1s")
	s.later(10 * time.Second)
	crash("start a")
	crash("wait a 100ms")

	s = running(t, Limits{Restarts: -1, Backoff: 20 * time.Second, BackoffMax: time.Minute}, "a")
	crash("start a")
	crash("wait a 20s")
	s.later(39 * time.Second)
	crash("wait a 40s")
	s.later(80 * time.Second)
	crash("start a")
	// A failed start is no health, however long it took.
	s.later(time.Hour).do("crash a", "start a").later(time.Hour).do("failed a", "wait a 20s")
}

func TestWait(t *testing.T) {
	// A start of these many nanoseconds comes out small when it is shifted thirty times.
	odd := Limits{Backoff: 1<<34 + 1, BackoffMax: time.Hour}
	for _, c := range []struct {
		limits Limits
		fails  int
		jitter float64
		want   time.Duration
	}{
		{Limits{}, 0, 1, 0},
		{Limits{}, 1, 0, 100 * time.Millisecond},
		{Limits{}, 1, -1, 80 * time.Millisecond},
		{Limits{}, 1, 1, 120 * time.Millisecond},
		{Limits{}, 7, 0, 6400 * time.Millisecond},
		{Limits{}, 8, 0, 10 * time.Second},
		{Limits{}, 1 << 40, 0, 10 * time.Second},
		{Limits{}, 1 << 40, 0.5, 11 * time.Second},
		{odd, 1, 0, 1<<34 + 1},
		{odd, 31, 0, time.Hour},
		{odd, 100, 0, time.Hour},
		{Limits{Backoff: time.Minute}, 1, 0, 10 * time.Second},
		{Limits{Backoff: -1}, 5, 1, 0},
		{Limits{BackoffMax: -1}, 5, 1, 0},
		{Limits{BackoffMax: 1}, 5, 1, 1},
	} {
		if got := c.limits.withDefaults().wait(c.fails, c.jitter); got != c.want {
			t.Errorf("wait %d of %+v with jitter %v: %v, want %v", c.fails, c.limits, c.jitter, got, c.want)
		}
	}
}

// What was started is stopped in reverse, and the reason names the child.
func TestDecideStartFailure(t *testing.T) {
	s := newScript(t, Limits{}, "a", "b", "c", "d").
		do("begin", "start a").do("started a", "start b").do("started b", "start c").
		do("failed c", "stop b").do("shutdown b", "stop a").do("shutdown a", "end with error")
	s.wantReason(`child "c" did not start`, "boom")
	newScript(t, Limits{}, "a-").do("begin", "start a").do("failed a", "end with error")
	newScript(t, Limits{}, "a?", "b").do("begin", "start a").do("failed a", "end with error")
}

// Children that end while others are still being started.
func TestDecideEndsWhileStarting(t *testing.T) {
	newScript(t, Limits{}, "a-", "b").do("begin", "start a").do("started a", "start b").do("crash a", "forget a").
		do("started b", "ready")
	newScript(t, Limits{}, "a", "b").do("begin", "start a").do("started a", "start b").do("crash a", "start a").
		do("started b", "ready").do("started a", "")
	newScript(t, Limits{}, "a", "b").do("begin", "start a").do("started a", "start b").do("crash a", "start a").
		do("failed a", "wait a 100ms").do("started b", "ready").do("timer a", "start a")
	s := newScript(t, Limits{Restarts: 1}, "a", "b").do("begin", "start a").do("started a", "start b").do("crash a", "start a").
		do("started a", "").do("crash a", "stop b").do("failed b", "end with error")
	s.wantReason("2 restarts")
}

func TestDecideStopWhileStarting(t *testing.T) {
	s := newScript(t, Limits{}, "a", "b", "c").do("begin", "start a").do("started a", "start b")
	s.do("stop", "stop b").do("stop", "").do("failed b", "stop a").do("shutdown a", "end")
	// The start may be faster than the order to give it up.
	s = newScript(t, Limits{}, "a", "b").do("begin", "start a").do("started a", "start b").do("stop", "stop b")
	s.do("started b", "stop b").do("shutdown b", "stop a").do("shutdown a", "end")
	// A reason says which child it was.
	s = newScript(t, Limits{}, "a", "b").do("begin", "start a").do("started a", "start b")
	s.plan, _ = decide(s.plan, event{kind: evStop, err: errors.New("out of time")}, s.now)
	s.wantReason(`child "b" was not ready`, "out of time")
}

func TestDecideStopWhileWaiting(t *testing.T) {
	s := running(t, Limits{}, "a", "b", "c")
	s.do("crash b", "start b").do("started b", "").do("crash b", "wait b 100ms").do("stop", "stop c")
	s.do("timer b", "").do("shutdown c", "stop a").do("timer b", "").do("shutdown a", "end")
	running(t, Limits{}, "a").do("crash a", "start a").do("started a", "").do("crash a", "wait a 100ms").do("stop", "end")
}

// While it stops, others crash, or end, or are about to be restarted.
func TestDecideEndsWhileStopping(t *testing.T) {
	running(t, Limits{}, "a", "b", "c").do("stop", "stop c").do("crash a", "").do("shutdown c", "stop b").do("normal b", "end")
	running(t, Limits{}, "a", "b?", "c-").do("stop", "stop c").do("normal b", "").do("crash c", "stop a").do("crash a", "end")
	s := running(t, Limits{}, "a", "b", "c").do("crash b", "start b").do("stop", "stop c").do("failed b", "")
	s.do("shutdown c", "stop a").do("shutdown a", "end")
	s = running(t, Limits{}, "a", "b").do("crash b", "start b").do("stop", "stop b").do("stop", "").do("failed b", "stop a")
	s.do("shutdown a", "end")
}

// The last life of a supervisor lets go of each child as it ends, so that nobody waits for it.
func TestDecideFinal(t *testing.T) {
	s := running(t, Limits{Restarts: 1}, "a", "b", "c").do("crash b", "start b").do("started b", "")
	s.plan.final = true
	s.do("crash b", "forget b, stop! c").do("shutdown c", "forget c, stop! a").do("shutdown a", "forget a, end with error")

	s = running(t, Limits{}, "a", "b").do("crash a", "start a").do("started a", "").do("crash a", "wait a 100ms")
	s.do("stop!", "forget a, stop! b").do("shutdown b", "forget b, end")

	s = newScript(t, Limits{}, "a", "b")
	s.plan.final = true
	s.do("begin", "start a").do("started a", "start b").do("failed b", "forget b, stop! a").do("shutdown a", "forget a, end with error")

	// It may turn out on the way that it is the last.
	s = running(t, Limits{}, "a", "b").do("stop", "stop b").do("stop!", "").do("shutdown b", "forget b, stop! a")
	s.do("shutdown a", "forget a, end")
}

func TestDecideAdd(t *testing.T) {
	running(t, Limits{}, "a").do("add x", "start x").do("started x", "").do("crash x", "start x")
	running(t, Limits{}, "a").do("add x", "start x").do("failed x", "forget x").do("add x", "start x")
	running(t, Limits{}, "a").do("add x-", "start x").do("started x", "").do("normal x", "forget x").do("add x", "start x")
	running(t, Limits{}, "a").do("add a", "refuse a")
	running(t, Limits{}, "a").do("add x", "start x").do("add x", "refuse x")
	// It is stopped before what was there before it.
	running(t, Limits{}, "a").do("add x", "start x").do("started x", "").do("stop", "stop x").do("shutdown x", "stop a").
		do("add y", "refuse y").do("shutdown a", "end")
	running(t, Limits{}, "a").do("add x", "start x").do("stop", "stop x").do("failed x", "forget x, stop a").do("shutdown a", "end")
	// While it starts: beside the children of the spec, and its failure is its own.
	newScript(t, Limits{}, "a", "b").do("begin", "start a").do("add x", "start x").do("started x", "").do("started a", "start b").
		do("started b", "ready")
	newScript(t, Limits{}, "a", "b").do("begin", "start a").do("add x", "start x").do("started a", "start b").do("failed x", "forget x").
		do("started b", "ready")
	newScript(t, Limits{}, "a").do("add x", "start x").do("begin", "start a").do("started a", "ready").do("started x", "")
	s := running(t, Limits{}, "a").do("stop", "stop a")
	_, actions := decide(s.plan, s.event("add x"), s.now)
	if len(actions) != 1 || !errors.Is(actions[0].err, actor.ErrStopped) {
		t.Errorf("added to one that stops: %+v", actions)
	}
}

func TestDecideRemove(t *testing.T) {
	s := running(t, Limits{}, "a", "b")
	s.do("remove b", "stop! b").do("remove b", "").do("shutdown b", "forget b").do("remove b", "").do("stop", "stop a")
	// However it ends then.
	for _, end := range []string{"normal", "shutdown", "crash"} {
		running(t, Limits{}, "a", "b").do("remove b", "stop! b").do(end+" b", "forget b")
	}
	// While it waits for its restart, or is restarted.
	s = running(t, Limits{}, "a").do("crash a", "start a").do("started a", "").do("crash a", "wait a 100ms")
	s.do("remove a", "forget a").do("timer a", "")
	running(t, Limits{}, "a").do("crash a", "start a").do("remove a", "stop! a").do("failed a", "forget a")
	running(t, Limits{}, "a").do("crash a", "start a").do("remove a", "stop! a").do("started a", "stop! a").do("shutdown a", "forget a")
	// While the supervisor starts: one that runs, one that is being started, one that is not yet.
	s = newScript(t, Limits{}, "a", "b", "c", "d").do("begin", "start a").do("started a", "start b")
	s.do("remove a", "stop! a").do("remove c", "forget c").do("remove b", "stop! b").do("shutdown a", "forget a")
	s.do("failed b", "forget b, start d").do("started d", "ready")
	newScript(t, Limits{}, "a").do("remove a", "forget a").do("begin", "ready")
	// While it stops: in its turn.
	s = running(t, Limits{}, "a", "b").do("stop", "stop b").do("remove a", "").do("remove b", "").do("shutdown b", "forget b, stop! a")
	s.do("shutdown a", "forget a, end")
}

// A name can be used again at once. What was meant for the one before does not reach the one after.
func TestDecideNameUsedAgain(t *testing.T) {
	s := running(t, Limits{}, "a").do("add x-", "start x").do("started x", "")
	late := s.event("remove x")
	s.do("normal x", "forget x").do("add x", "start x").do("started x", "")
	var actions []action
	if s.plan, actions = decide(s.plan, late, s.now); len(actions) > 0 {
		t.Errorf("the order to remove the one before removes the one after: %v", actions[0].words())
	}
	s.do("crash x", "start x").do("started x", "").do("crash x", "wait x 100ms")
	old := s.event("timer x")
	s.do("remove x", "forget x").do("add x", "start x").do("started x", "").do("crash x", "start x").do("started x", "").
		do("crash x", "wait x 100ms")
	if s.plan, actions = decide(s.plan, old, s.now); len(actions) > 0 {
		t.Errorf("the timer of the one before ends the wait of the one after: %v", actions[0].words())
	}
	s.do("timer x", "start x").do("timer x", "")
}

func TestDecideStrangers(t *testing.T) {
	s := running(t, Limits{}, "a")
	for _, what := range []string{"started x", "crash x", "failed x", "timer x", "remove x"} {
		s.do(what, "")
	}
	s.do("timer a", "")
	if k := s.kid("a"); k.status != childRunning {
		t.Errorf("a is in state %d", k.status)
	}
}
