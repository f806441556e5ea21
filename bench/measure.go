package main

import (
	"fmt"
	"math"
	"runtime"
	"time"
)

// effort is how much is measured.
type effort struct {
	rounds  int
	warm    time.Duration // before each pass
	rate    time.Duration // of a rate pass
	latency time.Duration // of a latency pass
	calls   int           // of each pass, whatever time they take; 0: as many as fit into its time
}

var (
	fullEffort  = effort{rounds: 9, warm: 5 * time.Millisecond, rate: 60 * time.Millisecond, latency: 180 * time.Millisecond}
	quickEffort = effort{rounds: 3, warm: 2 * time.Millisecond, rate: 20 * time.Millisecond, latency: 50 * time.Millisecond}
)

const (
	chunkTime   = 200 * time.Microsecond // calls between two looks at the clock of a rate pass
	chunkMax    = 1 << 20
	unlimited   = time.Duration(math.MaxInt64)
	firstWarm   = 10 // the warm-up before the first round is so many times that before a pass
	clockProbes = 1000
)

// figures are the outcome of one round of a case, or the medians over all rounds. Times are in nanoseconds.
type figures struct {
	mean, p50, p99, p999 float64
	perSecond            float64
	allocs               float64
	cpu                  float64
	cpuKnown             bool
}

// run is one case in one placement, with what its rounds measured.
type run struct {
	scenario, context, placement string

	subject *subject
	peer    int // pid of the other process, 0 without one
	rounds  []figures
	timed   uint64 // calls that were timed in the last round
}

// measure takes one round of a case: a rate pass, in which calls follow each other without a look at the clock, and a latency
// pass, in which each call, or each batch, is timed.
func (e effort) measure(r *run, p *placer) error {
	var f figures
	if err := e.warmUp(r, p, 1); err != nil {
		return err
	}
	if err := e.measureRate(r, &f); err != nil {
		return err
	}
	if err := e.warmUp(r, p, 1); err != nil {
		return err
	}
	if err := e.measureLatency(r, &f); err != nil {
		return err
	}
	r.rounds = append(r.rounds, f)
	return nil
}

// warmUp puts the processes where the case wants them and makes calls that are not measured. Threads that appeared
// meanwhile are put there too. What one case left to collect is not charged to the next.
func (e effort) warmUp(r *run, p *placer, times int) error {
	if err := p.place(r.placement, r.peer); err != nil {
		return err
	}
	runtime.GC()
	if _, _, err := repeat(e.warm*time.Duration(times), e.calls, r.subject.calls); err != nil {
		return err
	}
	return p.place(r.placement, r.peer)
}

func (e effort) measureRate(r *run, f *figures) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpuBefore, known := cpuTime(r.peer)
	limit := e.rate
	if e.calls > 0 {
		limit = unlimited
	}
	calls, elapsed, err := repeat(limit, e.calls, r.subject.calls)
	if err != nil {
		return err
	}
	cpuAfter, stillKnown := cpuTime(r.peer)
	runtime.ReadMemStats(&after)
	n := float64(calls)
	f.mean = float64(elapsed) / n
	f.perSecond = n / elapsed.Seconds()
	f.allocs = float64(after.Mallocs-before.Mallocs) / n
	// A thread that ended took what it had used with it.
	f.cpu, f.cpuKnown = float64(cpuAfter-cpuBefore)/n, known && stillKnown && cpuAfter >= cpuBefore
	return nil
}

// repeat calls chunk with numbers of calls until their time is over, or until there were most calls unless that is 0. It
// returns how many were made and how long they took. Chunks grow until they take chunkTime.
func repeat(limit time.Duration, most int, chunk func(n int) error) (calls int, elapsed time.Duration, err error) {
	begin := time.Now()
	for n := 1; ; {
		if most > 0 {
			n = min(n, most-calls)
		}
		start := elapsed
		if err := chunk(n); err != nil {
			return calls, elapsed, err
		}
		calls += n
		elapsed = max(1, time.Since(begin))
		if elapsed >= limit || most > 0 && calls >= most {
			return calls, elapsed, nil
		}
		switch took := elapsed - start; {
		case took < chunkTime/2:
			n = min(2*n, chunkMax)
		case took > 2*chunkTime:
			n = max(1, n/2)
		}
	}
}

func (e effort) measureLatency(r *run, f *figures) error {
	h, s := new(histogram), r.subject
	begin := time.Now()
	for more := true; more; {
		var d time.Duration
		var err error
		if s.batch > 1 {
			start := time.Now()
			err = s.calls(s.batch)
			d = time.Since(start)
		} else {
			d, err = s.timed()
		}
		if err != nil {
			return err
		}
		h.record(d, s.batch)
		more = time.Since(begin) < e.latency
		if e.calls > 0 {
			more = h.total < uint64(e.calls)
		}
	}
	f.p50, f.p99, f.p999 = h.quantile(0.50), h.quantile(0.99), h.quantile(0.999)
	r.timed = h.total
	return nil
}

// measureAll takes the rounds of all runs. Runs alternate inside a round, so that whatever else the machine does meets
// all of them; it reports what is done with said.
func (e effort) measureAll(runs []*run, p *placer, said func(format string, args ...any)) error {
	for _, r := range runs {
		if err := e.warmUp(r, p, firstWarm); err != nil {
			return r.failed(err)
		}
	}
	for round := range e.rounds {
		said("round %d of %d", round+1, e.rounds)
		for _, r := range runs {
			if err := e.measure(r, p); err != nil {
				return r.failed(err)
			}
		}
	}
	return nil
}

func (r *run) failed(err error) error {
	return fmt.Errorf("%s, %s, %s: %w", r.scenario, r.context, r.placement, err)
}

// figures are the medians over the rounds.
func (r *run) figures() figures {
	pick := func(field func(f *figures) float64) float64 {
		values := make([]float64, len(r.rounds))
		for i := range r.rounds {
			values[i] = field(&r.rounds[i])
		}
		return median(values)
	}
	f := figures{
		mean:      pick(func(f *figures) float64 { return f.mean }),
		p50:       pick(func(f *figures) float64 { return f.p50 }),
		p99:       pick(func(f *figures) float64 { return f.p99 }),
		p999:      pick(func(f *figures) float64 { return f.p999 }),
		perSecond: pick(func(f *figures) float64 { return f.perSecond }),
		allocs:    pick(func(f *figures) float64 { return f.allocs }),
		cpu:       pick(func(f *figures) float64 { return f.cpu }),
		cpuKnown:  true,
	}
	for _, round := range r.rounds {
		f.cpuKnown = f.cpuKnown && round.cpuKnown
	}
	return f
}

// clockCost is what a time shows when nothing is timed, in nanoseconds.
func clockCost() float64 {
	h := new(histogram)
	for range clockProbes {
		start := time.Now()
		h.record(time.Since(start), 1)
	}
	return h.quantile(0.5)
}
