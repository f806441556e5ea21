//go:build shmactor_points

package mailbox

import (
	"fmt"
	"testing"

	"github.com/shmactor/shmactor/shm"
)

// Two deaths in one run.

// pairsShort is how many pairs of deaths the short run chooses; the long one takes all, of the points as a short run
// chooses them for one death.
const pairsShort = 150

// The two processes of a pair have to do with each other.
var (
	callerOfPair = &crashScenario{
		name: "caller of a pair", produces: true, during: serves,
		act: func(a *actor) {
			a.send("m1", 0)
			a.call(a.ctx, "k1", 3000, ErrWorkerDied)
		},
	}
	calleeOfPair = &crashScenario{
		name: "callee of a pair", setup: queued(1, 1),
		act: func(a *actor) {
			r := a.box.Receiver()
			for {
				m, bits, err := r.Receive(a.ctx)
				a.must("receive", err)
				if bits != 0 {
					return
				}
				name := a.took(&m)
				if m.IsCall() {
					a.reply(&m, name, run2)
					return
				}
				a.release(&m, name)
			}
		},
	}
)

// runPair kills two processes, or as many of them as come to their point.
func (c *crash) runPair(first, second target) {
	seg, err := shm.Create(crashOptions())
	c.must("create", err)
	c.adopt(seg)
	c.makeBoxes()
	var ids []shm.ProcessID
	for range 2 {
		id, err := seg.Grant("actor")
		c.must("grant", err)
		ids = append(ids, id)
	}
	pair := []*victim{c.startAs(callerOfPair, first, ids[0]), c.startAs(calleeOfPair, second, ids[1])}
	swept := make([]bool, 2)
	sweep := func(i int) {
		<-pair[i].gone
		_, err := c.hub.Sweep(ids[i], text)
		c.must("sweep", err)
		swept[i] = true
	}
	c.poll("one of them ends", func() bool { return pair[0].over() || pair[1].over() })
	c.poll("the other ends, or waits for the dead", func() bool {
		switch {
		case pair[0].over() && pair[1].over():
			return true
		case pair[1].over():
			return c.flagged(shm.Queued, shm.Waiting) || c.flagged(shm.Taken, shm.Waiting) || c.flagged(shm.Replied, shm.IsCall)
		}
		return consumerWord(c.box.rec[recConsumer].Load()).parked()
	})
	for i, v := range pair {
		if v.over() {
			sweep(i)
		}
	}
	if !swept[1] { // nobody calls any more
		c.poll("the callee ends", func() bool {
			c.must("control", c.box.Control(ControlStop))
			return pair[1].over()
		})
		sweep(1)
	}
	if !swept[0] {
		c.box.NextLife()
		c.serve(nil) // its call may still be queued
		c.poll("the caller ends", pair[0].over)
		sweep(0)
	}
	c.box.NextLife()
	c.serve(nil)
	c.progress("after the sweeps", true)
	c.settle()
}

// Caller and callee may both die, each at any point: what one was doing for the other is settled by the sweeps.
func TestTwoDeaths(t *testing.T) {
	k := newCampaign(t)
	run := func(first, second target) *crash {
		c := &crash{t: t, scenario: callerOfPair, list: k.file}
		defer c.begin()()
		c.caught(func() { c.runPair(first, second) })
		c.caught(c.close)
		if len(c.wrong) > 0 {
			k.report(&crashScenario{name: fmt.Sprintf("caller killed at %v, callee", first)}, second, c.wrong)
		}
		return c
	}
	whole := run(target{}, target{})
	if len(whole.victims) != 2 || !whole.victims[0].ended || !whole.victims[1].ended {
		t.Fatalf("the pair does not come to its end: %q", whole.wrong)
	}
	firsts, seconds := k.targets(whole.victims[0].reached, false), k.targets(whole.victims[1].reached, false)
	type pair struct{ first, second target }
	var pairs []pair
	for _, f := range firsts {
		for _, s := range seconds {
			pairs = append(pairs, pair{f, s})
		}
	}
	k.rng.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	all := len(pairs)
	if !long() {
		pairs = pairs[:min(len(pairs), pairsShort)]
	}
	deaths := make([]int, len(pairs))
	inParallel(len(pairs), func(i int) {
		for _, v := range run(pairs[i].first, pairs[i].second).victims {
			if v.point != "" {
				deaths[i]++
			}
		}
	})
	both := 0
	for _, n := range deaths {
		if n == 2 {
			both++
		}
	}
	fmt.Printf("two deaths: %d of %d pairs of points, both died in %d\n", len(pairs), all, both)
	if both == 0 {
		t.Error("never did both die")
	}
}

// A process may die anywhere, and then the owner anywhere in the repair of that: the next owner repairs the rest.
func TestDeathInTheRepairOfADeath(t *testing.T) {
	k := newCampaign(t)
	whole := k.one(sweepOfGhost, target{}, nil)
	if whole.actor == nil || !whole.actor.ended {
		t.Fatal("the ghost does not come to its end")
	}
	var all []target
	for _, g := range k.targets(whole.actor.reached, false) {
		at := target{ghost: g.point, ghostTimes: g.times}
		repaired := k.one(sweepOfGhost, at, nil)
		if repaired.actor == nil || !repaired.actor.ended {
			continue // reported
		}
		for _, r := range k.targets(repaired.actor.reached, false) {
			r.ghost, r.ghostTimes = g.point, g.times
			all = append(all, r)
		}
	}
	possible := len(all)
	k.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if !long() {
		all = all[:min(len(all), 2*pairsShort)]
	}
	k.each(all, func(o target) { k.one(sweepOfGhost, o, nil) })
	deaths := 0
	for _, n := range k.deaths {
		deaths += n
	}
	fmt.Printf("deaths in a repair: %d of %d pairs of points, %d deaths\n", len(all), possible, deaths)
	if deaths == 0 {
		t.Error("nobody died")
	}
}
