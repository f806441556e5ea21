package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shmactor/shmactor/actor"
)

// The decisions of a supervisor, as a pure function of an event, its state and the time: no clock, no I/O, no randomness of its own. One
// goroutine (loop.go) owns a state, feeds it events and carries out the actions.

// phase is what the supervisor as a whole is doing.
type phase int

const (
	phaseNew      phase = iota
	phaseStarting       // the children of the spec, one after the other
	phaseRunning
	phaseStopping // in reverse order, one after the other
	phaseEnded
)

// status is what one child is doing.
type status int

const (
	childIdle     status = iota // not started yet, or ended
	childStarting               // a start is under way
	childRunning
	childWaiting  // for its backoff
	childStopping // a stop is under way
)

// kid is what a decision needs to know of one child.
type kid struct {
	id      string
	serial  int // tells it from an earlier child of that name
	restart Restart
	added   bool // at run time, not of the spec
	status  status
	tried   bool          // its first start is over, however it went
	told    bool          // to give up the start that is under way
	leaving bool          // to be removed when it has ended
	since   time.Time     // when it was last ready
	delay   time.Duration // the wait before its last restart
	fails   int           // restarts since it was last healthy
	life    int           // which start of the supervisor was its last
}

// plan is the state of a supervisor.
type plan struct {
	limits Limits
	phase  phase
	final  bool // no further life of the supervisor follows this one
	kids   []kid
	starts int         // of all children
	recent []time.Time // restarts in the window
	reason error       // why it ends
}

// exitKind is how a child ended.
type exitKind int

const (
	exitNormal   exitKind = iota // by itself, as it wished
	exitShutdown                 // because it was told to
	exitCrash                    // otherwise
	exitFailed                   // it did not start
)

type event struct {
	kind   eventKind
	id     string
	serial int // evRemove: of which child of that name
	exit   exitKind
	err    error   // evExited; evStop: why, nil when it was asked for
	kid    kid     // evAdd
	life   int     // evTimer: of the start before the wait
	final  bool    // evStop
	jitter float64 // in [-1, 1], for the next wait
}

type eventKind int

const (
	evBegin   eventKind = iota // start the children of the spec
	evStarted                  // the child is ready
	evExited                   // the child has ended, or its start has failed
	evTimer                    // the child's wait is over
	evAdd                      // a child was added at run time: start it
	evRemove                   // stop a child and forget it
	evStop                     // stop all
)

type action struct {
	kind  actionKind
	id    string
	final bool          // actStop: no further life follows
	life  int           // actTimer
	delay time.Duration // actTimer
	err   error
}

type actionKind int

const (
	actStart  actionKind = iota // evStarted or evExited follows
	actStop                     // order it to stop, or to give up its start; evExited follows
	actTimer                    // evTimer after delay
	actForget                   // the child has ended for good; err is why its first start failed
	actRefuse                   // an evAdd or evRemove changes nothing, because of err
	actReady                    // all children of the spec are running
	actEnd                      // the supervisor has ended, because of err
)

// decide returns the state after an event and what is to be done. It does not change p.
func decide(p plan, ev event, now time.Time) (plan, []action) {
	p.kids, p.recent = slices.Clone(p.kids), slices.Clone(p.recent)
	d := decision{plan: p, now: now, jitter: ev.jitter}
	switch ev.kind {
	case evBegin:
		if p.phase == phaseNew {
			d.plan.phase = phaseStarting
		}
	case evStarted:
		d.started(ev.id)
	case evExited:
		d.exited(ev)
	case evTimer:
		if k := d.kid(ev.id); k != nil && k.status == childWaiting && k.life == ev.life {
			d.start(k)
		}
	case evAdd:
		d.add(ev.kid)
	case evRemove:
		d.remove(ev.id, ev.serial)
	case evStop:
		d.stop(d.unready(ev.err), ev.final)
	}
	d.proceed()
	return d.plan, d.actions
}

type decision struct {
	plan    plan
	now     time.Time
	jitter  float64
	actions []action
}

func (d *decision) do(a action) { d.actions = append(d.actions, a) }

func (d *decision) kid(id string) *kid {
	for i := range d.plan.kids {
		if d.plan.kids[i].id == id {
			return &d.plan.kids[i]
		}
	}
	return nil
}

// proceed does what follows from the state alone: while it starts, the next child of the spec is started when the one
// before it has been, and while it stops, the last one that is up is stopped.
func (d *decision) proceed() {
	switch d.plan.phase {
	case phaseStarting:
		d.startNext()
	case phaseStopping:
		d.stopNext()
	}
}

func (d *decision) start(k *kid) {
	d.plan.starts++
	k.status, k.told, k.life = childStarting, false, d.plan.starts
	d.do(action{kind: actStart, id: k.id})
}

// halt orders a child to stop, or to give up the start that is under way. It is idempotent.
func (d *decision) halt(k *kid) {
	a := action{kind: actStop, id: k.id, final: d.plan.final || k.leaving}
	switch {
	case k.status == childRunning:
		k.status = childStopping
		d.do(a)
	case k.status == childStarting && !k.told:
		k.told = true
		d.do(a)
	}
}

// startNext starts the next child of the spec; when all are ready, the supervisor runs.
func (d *decision) startNext() {
	for i := range d.plan.kids {
		k := &d.plan.kids[i]
		if k.tried || k.added {
			continue
		}
		if k.status == childIdle {
			d.start(k)
		}
		return
	}
	d.plan.phase = phaseRunning
	d.do(action{kind: actReady})
}

func (d *decision) started(id string) {
	k := d.kid(id)
	if k == nil {
		return
	}
	k.status, k.tried, k.since = childRunning, true, d.now
	if k.leaving && d.plan.phase < phaseStopping {
		d.halt(k)
	}
}

func (d *decision) exited(ev event) {
	k := d.kid(ev.id)
	if k == nil {
		return
	}
	failedFirst := ev.exit == exitFailed && !k.tried
	k.tried = true
	switch {
	case failedFirst && k.added:
		d.forget(k.id, ev.err) // a start at run time that fails is reported to who asked for it
	case k.leaving:
		d.forget(k.id, nil)
	case d.plan.phase == phaseStopping:
		d.rest(k)
	case failedFirst:
		id := k.id
		d.rest(k)
		d.stop(fmt.Errorf("child %q did not start: %w", id, ev.err), false)
	case k.restart == Temporary, k.restart == Transient && ev.exit != exitCrash && ev.exit != exitFailed:
		d.forget(k.id, nil)
	default:
		d.again(k, ev)
	}
}

// rest says that a child has ended and is not started again in this life of the supervisor.
func (d *decision) rest(k *kid) {
	k.status = childIdle
	if d.plan.final {
		d.forget(k.id, nil)
	}
}

// again restarts a child, at once or after its backoff, unless that is one restart too many.
func (d *decision) again(k *kid, ev event) {
	l := d.plan.limits
	if ev.exit != exitFailed && d.now.Sub(k.since) >= max(healthy, 2*k.delay) {
		k.fails = 0
	}
	var tooMany bool
	if d.plan.recent, tooMany = l.count(d.plan.recent, d.now); tooMany {
		id := k.id
		d.rest(k)
		d.stop(fmt.Errorf("%d restarts in %v, more than %d are too many; the last: child %q: %w",
			len(d.plan.recent), l.Period, l.Restarts, id, orUnknown(ev.err)), false)
		return
	}
	k.delay = l.wait(k.fails, d.jitter)
	k.fails++
	if k.delay == 0 {
		d.start(k)
		return
	}
	k.status = childWaiting
	d.do(action{kind: actTimer, id: k.id, life: k.life, delay: k.delay})
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("it ended by itself")
	}
	return err
}

// count adds a restart to those within the period before it, and reports whether it is one too many.
func (l Limits) count(recent []time.Time, now time.Time) (in []time.Time, tooMany bool) {
	if l.Restarts < 0 {
		return nil, false
	}
	cut := now.Add(-l.Period)
	in = append(slices.DeleteFunc(recent, func(t time.Time) bool { return t.Before(cut) }), now)
	return in, len(in) > l.Restarts
}

// wait is the delay before the restart number fails+1 since the child was healthy.
func (l Limits) wait(fails int, jitter float64) time.Duration {
	if fails == 0 || l.Backoff < 0 || l.BackoffMax < 0 {
		return 0
	}
	d := l.Backoff
	for range fails - 1 {
		if d > l.BackoffMax/2 {
			d = l.BackoffMax
			break
		}
		d *= 2
	}
	d = min(d, l.BackoffMax)
	return d + time.Duration(backoffJitter*jitter*float64(d))
}

func (d *decision) forget(id string, why error) {
	d.plan.kids = slices.DeleteFunc(d.plan.kids, func(k kid) bool { return k.id == id })
	d.do(action{kind: actForget, id: id, err: why})
}

func (d *decision) add(k kid) {
	switch {
	case d.plan.phase >= phaseStopping:
		d.do(action{kind: actRefuse, id: k.id, err: errStopping})
	case d.kid(k.id) != nil:
		d.do(action{kind: actRefuse, id: k.id, err: actor.ErrNameTaken})
	default:
		k.added = true
		d.plan.kids = append(d.plan.kids, k)
		d.start(&d.plan.kids[len(d.plan.kids)-1])
	}
}

// errStopping is what who adds a child to a supervisor that is on its way out is told.
var errStopping = fmt.Errorf("its supervisor is stopping: %w", actor.ErrStopped)

// remove stops a child for good. While the supervisor stops, that follows in its turn. It may have ended by itself meanwhile.
func (d *decision) remove(id string, serial int) {
	k := d.kid(id)
	if k == nil || k.serial != serial {
		return
	}
	k.leaving = true
	switch {
	case k.status == childIdle, k.status == childWaiting:
		d.forget(id, nil)
	case d.plan.phase < phaseStopping:
		d.halt(k)
	}
}

// unready adds to the reason of a stop which child was being started then.
func (d *decision) unready(reason error) error {
	if reason == nil || d.plan.phase != phaseStarting {
		return reason
	}
	for _, k := range d.plan.kids {
		if k.status == childStarting && !k.tried && !k.added {
			return fmt.Errorf("child %q was not ready: %w", k.id, reason)
		}
	}
	return reason
}

// stop begins the end of the supervisor.
func (d *decision) stop(reason error, final bool) {
	d.plan.final = d.plan.final || final
	if d.plan.phase >= phaseStopping {
		return
	}
	d.plan.phase, d.plan.reason = phaseStopping, reason
	for i := len(d.plan.kids) - 1; i >= 0; i-- {
		if k := &d.plan.kids[i]; k.status == childWaiting {
			d.rest(k)
		}
	}
}

// stopNext stops the last child that is not idle; when all are, the supervisor has ended.
func (d *decision) stopNext() {
	for i := len(d.plan.kids) - 1; i >= 0; i-- {
		if k := &d.plan.kids[i]; k.status != childIdle {
			d.halt(k)
			return
		}
	}
	d.plan.phase = phaseEnded
	d.do(action{kind: actEnd, err: d.plan.reason})
}
