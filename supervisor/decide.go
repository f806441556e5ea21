package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// The decisions of a supervisor, as a pure function of an event, its state and the time: no clock, no I/O, no randomness of its own. One
// goroutine (loop.go) owns a state, feeds it events and carries out the actions.

// phase is what the supervisor as a whole is doing.
type phase int

const (
	phaseStarting phase = iota // the children of the spec, one after the other
	phaseRunning
	phaseStopping // in reverse order, one after the other
	phaseEnded
)

// status is what one child is doing.
type status int

const (
	childIdle     status = iota // not started yet, or ended for good
	childStarting               // a start is under way
	childRunning
	childWaiting  // for its backoff
	childStopping // a stop is under way
)

// kid is what a decision needs to know of one child.
type kid struct {
	id      string
	restart Restart
	status  status
	since   time.Time     // when it was last ready
	delay   time.Duration // the wait before its last restart
	fails   int           // restarts since it was last healthy
	leaving bool          // to be removed when it has ended
}

// plan is the state of a supervisor.
type plan struct {
	limits Limits
	phase  phase
	kids   []kid
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
	exit   exitKind
	err    error
	kid    kid     // evAdd
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
	delay time.Duration
	err   error
}

type actionKind int

const (
	actStart  actionKind = iota
	actStop              // order it to stop; evExited follows
	actTimer             // evTimer after delay
	actForget            // the child has ended for good
	actReady             // all children of the spec are running
	actEnd               // the supervisor has ended, because of err
)

// decide returns the state after an event and what is to be done. It does not change p.
func decide(p plan, ev event, now time.Time) (plan, []action) {
	p.kids, p.recent = slices.Clone(p.kids), slices.Clone(p.recent)
	d := decision{plan: p, now: now, jitter: ev.jitter}
	switch ev.kind {
	case evBegin:
		d.startNext()
	case evStarted:
		d.started(ev.id)
	case evExited:
		d.exited(ev)
	case evTimer:
		if k := d.kid(ev.id); k != nil && k.status == childWaiting && d.plan.phase <= phaseRunning {
			d.start(k)
		}
	case evAdd:
		if d.plan.phase == phaseRunning {
			d.plan.kids = append(d.plan.kids, ev.kid)
			d.start(&d.plan.kids[len(d.plan.kids)-1])
		}
	case evRemove:
		d.remove(ev.id)
	case evStop:
		d.stop(ev.err)
	}
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

func (d *decision) start(k *kid) {
	k.status = childStarting
	d.do(action{kind: actStart, id: k.id})
}

// startNext starts the next child of the spec; when all are ready, the supervisor runs.
func (d *decision) startNext() {
	for i := range d.plan.kids {
		k := &d.plan.kids[i]
		if !k.since.IsZero() {
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
	k.status, k.since = childRunning, d.now
	switch {
	case d.plan.phase == phaseStopping:
		d.stopNext()
	case k.leaving:
		k.status = childStopping
		d.do(action{kind: actStop, id: id})
	case d.plan.phase == phaseStarting:
		d.startNext()
	}
}

func (d *decision) exited(ev event) {
	k := d.kid(ev.id)
	if k == nil {
		return
	}
	first := k.since.IsZero()
	if k.since.IsZero() {
		k.since = d.now // it was tried
	}
	switch was := k.status; {
	case d.plan.phase == phaseStopping:
		k.status = childIdle
		d.stopNext()
	case k.leaving, was == childStopping:
		d.forget(k.id)
	case d.plan.phase == phaseStarting && ev.exit == exitFailed && first:
		k.status = childIdle
		d.stop(fmt.Errorf("child %q did not start: %w", k.id, ev.err))
	case ev.exit == exitFailed && first:
		d.forget(k.id) // a start at run time that fails is reported to who asked for it
	case k.restart == Temporary, k.restart == Transient && ev.exit != exitCrash && ev.exit != exitFailed:
		starting := d.plan.phase == phaseStarting
		d.forget(k.id)
		if starting {
			d.startNext()
		}
	default:
		d.again(k, ev)
	}
}

// again restarts a child, at once or after its backoff, unless that is one restart too many.
func (d *decision) again(k *kid, ev event) {
	l := d.plan.limits
	if d.now.Sub(k.since) >= max(healthy, 2*k.delay) && ev.exit != exitFailed {
		k.fails = 0
	}
	cut := d.now.Add(-l.Period)
	d.plan.recent = slices.DeleteFunc(d.plan.recent, func(t time.Time) bool { return t.Before(cut) })
	d.plan.recent = append(d.plan.recent, d.now)
	if l.Restarts >= 0 && len(d.plan.recent) > l.Restarts {
		k.status = childIdle
		d.stop(fmt.Errorf("%d restarts in %v, more than %d are too many; the last: child %q: %w",
			len(d.plan.recent), l.Period, l.Restarts, k.id, orUnknown(ev.err)))
		return
	}
	k.delay = l.wait(k.fails, d.jitter)
	k.fails++
	if k.delay == 0 {
		d.start(k)
		return
	}
	k.status = childWaiting
	d.do(action{kind: actTimer, id: k.id, delay: k.delay})
}

func orUnknown(err error) error {
	if err == nil {
		return fmt.Errorf("it ended by itself")
	}
	return err
}

// wait is the delay before the restart number fails+1 since the child was healthy.
func (l Limits) wait(fails int, jitter float64) time.Duration {
	if fails == 0 || l.Backoff < 0 {
		return 0
	}
	const doublings = 30 // enough to pass any cap
	d := l.Backoff << min(fails-1, doublings)
	if d <= 0 || d > l.BackoffMax {
		d = l.BackoffMax
	}
	return d + time.Duration(0.2*jitter*float64(d))
}

func (d *decision) forget(id string) {
	d.plan.kids = slices.DeleteFunc(d.plan.kids, func(k kid) bool { return k.id == id })
	d.do(action{kind: actForget, id: id})
}

func (d *decision) remove(id string) {
	k := d.kid(id)
	if k == nil || d.plan.phase != phaseRunning {
		return
	}
	k.leaving = true
	switch k.status {
	case childRunning:
		k.status = childStopping
		d.do(action{kind: actStop, id: id})
	case childWaiting, childIdle:
		d.forget(id)
	}
}

// stop begins the end of the supervisor.
func (d *decision) stop(reason error) {
	if d.plan.phase >= phaseStopping {
		return
	}
	d.plan.phase, d.plan.reason = phaseStopping, reason
	d.stopNext()
}

// stopNext stops the last child that is not idle. A start that is under way is waited for.
func (d *decision) stopNext() {
	for i := len(d.plan.kids) - 1; i >= 0; i-- {
		switch k := &d.plan.kids[i]; k.status {
		case childStarting, childStopping:
			return
		case childRunning:
			k.status = childStopping
			d.do(action{kind: actStop, id: k.id})
			return
		case childWaiting:
			k.status = childIdle
		}
	}
	if d.plan.phase != phaseEnded {
		d.plan.phase = phaseEnded
		d.do(action{kind: actEnd, err: d.plan.reason})
	}
}
