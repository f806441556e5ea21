package supervisor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// world is what a supervisor acts on: the children as they really are. It complains when an action makes no sense there.
type world struct {
	rng    *rand.Rand
	plan   plan
	now    time.Time
	kids   map[string]*worldKid
	serial int
	timers []event
	told   bool // to stop
	ready  int
	ends   int
	log    []string
	wrong  string
}

type worldKid struct {
	serial     int
	up         status // childIdle, childStarting, childRunning
	stops      int    // orders to stop since its last start
	stopOrders int    // since it runs
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1e9, 0), kids: map[string]*worldKid{}}
	limits := Limits{Restarts: w.rng.IntN(12) - 1, Period: 10 * time.Second, Backoff: time.Duration(w.rng.IntN(3)-1) * time.Second}
	w.plan = plan{limits: limits.withDefaults(), final: w.rng.IntN(2) == 0}
	for i := range w.rng.IntN(5) {
		w.plan.kids = append(w.plan.kids, w.kid(string(rune('a'+i))))
	}
	return w
}

func (w *world) kid(id string) kid {
	w.serial++
	w.kids[id] = &worldKid{serial: w.serial}
	return kid{id: id, serial: w.serial, restart: Restart(w.rng.IntN(3))}
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

func (w *world) feed(ev event) {
	ev.jitter = 2*w.rng.Float64() - 1
	before := w.plan
	next, actions := decide(w.plan, ev, w.now)
	w.plan = next
	var line strings.Builder
	line.WriteString(fmt.Sprintf("%s %s:", [...]string{"begin", "started", "exited", "timer", "add", "remove", "stop"}[ev.kind], ev.id+ev.kid.id))
	for _, a := range actions {
		line.WriteString(" " + a.words())
		w.act(a, before)
	}
	w.log = append(w.log, line.String())
	if len(w.kids) != len(w.plan.kids) {
		w.fail("the plan has %d children, the world %d", len(w.plan.kids), len(w.kids))
	}
}

func (w *world) act(a action, before plan) {
	if w.ends > 0 {
		w.fail("%s after the end", a.words())
	}
	k := w.kids[a.id]
	switch a.kind {
	case actStart:
		if k == nil || k.up != childIdle || w.plan.phase >= phaseStopping {
			w.fail("%s, which is %+v, in phase %d", a.words(), k, w.plan.phase)
			return
		}
		*k = worldKid{serial: k.serial, up: childStarting}
	case actStop:
		w.stop(k, a)
	case actTimer:
		w.timers = append(w.timers, event{kind: evTimer, id: a.id, life: a.life})
	case actForget:
		if k == nil || k.up != childIdle {
			w.fail("%s, which is %+v", a.words(), k)
		}
		delete(w.kids, a.id)
	case actReady:
		w.ready++
		if w.ready > 1 || before.phase >= phaseStopping {
			w.fail("ready %d times, in phase %d", w.ready, before.phase)
		}
	case actEnd:
		w.end()
	}
}

// stop checks an order to stop: to a child that is up, not twice, and to the last one that is up if all are to stop.
func (w *world) stop(k *worldKid, a action) {
	if k == nil || k.up == childIdle {
		w.fail("%s, which is %+v", a.words(), k)
		return
	}
	if k.up == childStarting && k.stops > 0 || k.up == childRunning && k.stopOrders > 0 {
		w.fail("%s, again", a.words())
	}
	k.stops++
	if k.up == childRunning {
		k.stopOrders++
	}
	i := slices.IndexFunc(w.plan.kids, func(k kid) bool { return k.id == a.id })
	if w.plan.phase != phaseStopping || i < 0 || w.plan.kids[i].leaving {
		return
	}
	for _, later := range w.plan.kids[i+1:] {
		if w.kids[later.id].up != childIdle {
			w.fail("%s before %s", a.words(), later.id)
		}
	}
}

func (w *world) end() {
	w.ends++
	for id, k := range w.kids {
		if k.up != childIdle {
			w.fail("the end, and %s is %+v", id, k)
		}
	}
	tried := slices.ContainsFunc(w.plan.kids, func(k kid) bool { return k.tried })
	if w.plan.final && tried && !w.told { // an order that makes it final may come when some have ended
		w.fail("the last end, and it keeps %+v", w.plan.kids)
	}
}

// up lists the children in a state, in a fixed order.
func (w *world) up(s status) (ids []string) {
	for id, k := range w.kids {
		if k.up == s {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// step lets one thing happen that may happen now. It reports false when nothing is under way.
func (w *world) step(quiet bool) bool {
	var can []func()
	w.now = w.now.Add(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
	for _, id := range w.up(childStarting) {
		can = append(can, func() { w.started(id) }, func() { w.exited(id, exitFailed) })
	}
	for _, id := range w.up(childRunning) {
		if k := w.kids[id]; k.stopOrders > 0 {
			can = append(can, func() { w.exited(id, exitShutdown) })
		} else if !quiet {
			can = append(can, func() { w.exited(id, exitKind(w.rng.IntN(3))) })
		}
	}
	for i, ev := range w.timers {
		can = append(can, func() {
			w.timers = slices.Delete(w.timers, i, i+1)
			w.feed(ev)
		})
	}
	busy := len(can) > 0
	if !quiet {
		can = append(can, w.orders()...)
	}
	if len(can) > 0 {
		can[w.rng.IntN(len(can))]()
	}
	return busy
}

func (w *world) started(id string) {
	w.kids[id].up = childRunning
	w.feed(event{kind: evStarted, id: id})
}

func (w *world) exited(id string, e exitKind) {
	w.kids[id].up = childIdle
	w.feed(event{kind: evExited, id: id, exit: e, err: errors.New("x")})
}

// orders are what somebody may want of the supervisor.
func (w *world) orders() []func() {
	id := string(rune('a' + w.rng.IntN(7)))
	if k := w.kids[id]; k != nil {
		return []func(){func() { w.feed(event{kind: evRemove, id: id, serial: k.serial}) }}
	}
	return []func(){func() {
		if w.plan.phase >= phaseStopping {
			return // it is refused, and the world has no such child
		}
		w.feed(event{kind: evAdd, kid: w.kid(id)})
	}}
}

// Whatever happens, in whatever order: no child is started that is up, none is left waiting for an answer, they are stopped
// in reverse, and the end comes once, when nothing is up.
func TestDecideRandom(t *testing.T) {
	const seeds, steps, drain = 20000, 60, 500
	seen := map[string]int{}
	for seed := range uint64(seeds) {
		w := newWorld(seed)
		w.feed(event{kind: evBegin})
		for range w.rng.IntN(steps) {
			w.step(false)
			if w.ends > 0 {
				break
			}
		}
		// Left alone, it comes to rest, and then all its children run.
		for i := 0; w.ends == 0 && w.step(true); i++ {
			if i == drain {
				w.fail("no rest after %d steps", i)
				break
			}
		}
		if w.ends == 0 && w.wrong == "" {
			if w.plan.phase != phaseRunning || w.ready != 1 || len(w.up(childRunning)) != len(w.plan.kids) {
				w.fail("at rest: phase %d, ready %d times, %v of %d run", w.plan.phase, w.ready, w.up(childRunning), len(w.plan.kids))
			}
			seen["rest"]++
			w.told = true
			w.feed(event{kind: evStop, final: w.rng.IntN(2) == 0})
			for i := 0; w.ends == 0 && w.step(true) && i < drain; i++ {
			}
		} else {
			seen["gave up"]++
		}
		if w.ends != 1 || w.plan.phase != phaseEnded {
			w.fail("%d ends, phase %d", w.ends, w.plan.phase)
		}
		if w.wrong != "" {
			t.Fatalf("seed %d: %s\n%s", seed, w.wrong, strings.Join(w.log, "\n"))
		}
	}
	if seen["rest"] < seeds/10 || seen["gave up"] < seeds/10 {
		t.Errorf("the sequences end one-sidedly: %v", seen)
	}
}
