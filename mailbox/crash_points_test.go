//go:build shmactor_points

package mailbox

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shmactor/shmactor/internal/points"
	"github.com/shmactor/shmactor/internal/testkit"
)

var (
	crashSeed  = flag.Uint64("crash.seed", 1, "chooses the deaths of the short run")
	crashTable = flag.String("crash.table", "", "file that gets the number of deaths at each point")
	crashOnly  = flag.String("crash.only", "", "the only scenario")
)

// long asks for a death at each point each time that it is reached.
func long() bool { return os.Getenv("SHMACTOR_LONG") != "" }

// campaign is a number of runs, two at a time.
type campaign struct {
	t      *testing.T
	list   *points.List
	file   string
	dir    string
	rng    *rand.Rand
	mu     sync.Mutex
	runs   int
	deaths map[string]int // by name of the point
	failed int
}

func newCampaign(t *testing.T) *campaign {
	t.Helper()
	needShared(t)
	testkit.NoLeaks(t)
	l, file := listFile(t)
	return &campaign{
		t: t, list: l, file: file, dir: t.TempDir(), deaths: map[string]int{}, rng: rand.New(rand.NewPCG(*crashSeed, 0)),
	}
}

// one runs a scenario once.
func (k *campaign) one(s *crashScenario, at target, left *prepared) *crash {
	k.mu.Lock()
	k.runs++
	path := filepath.Join(k.dir, fmt.Sprint("segment", k.runs))
	k.mu.Unlock()
	c := &crash{t: k.t, scenario: s, target: at, list: k.file, path: path, prepared: left}
	wrong := c.run()
	k.report(s, at, wrong)
	if c.actor != nil && c.actor.point != "" {
		k.mu.Lock()
		k.deaths[c.actor.point]++
		k.mu.Unlock()
	}
	return c
}

// mostReports bounds what a broken protocol says.
const mostReports = 20

func (k *campaign) report(s *crashScenario, at target, wrong []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(wrong) == 0 {
		return
	}
	if k.failed++; k.failed <= mostReports {
		k.t.Errorf("%s, killed at %v:\n\t%s", s.name, at, strings.Join(wrong, "\n\t"))
	}
}

// each runs f for each target, as many at a time as there are processors.
func (k *campaign) each(targets []target, f func(target)) {
	inParallel(len(targets), func(i int) { f(targets[i]) })
}

// inParallel runs f for the numbers below n.
func inParallel(n int, f func(i int)) {
	next := make(chan int)
	var done sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	done.Wait()
}

// prepare makes what the actor of a scenario finds.
func (k *campaign) prepare(s *crashScenario) *prepared {
	if s.prepare == nil {
		return nil
	}
	c := &crash{t: k.t, scenario: s, list: k.file, path: filepath.Join(k.dir, "prepared")}
	p, wrong := c.leave()
	k.report(s, target{point: prepare}, wrong)
	return p
}

// targets chooses where the actor of a scenario dies, by what it reached when it lived: every point each time, or a point that only reads once, since a death before a read leaves what a death before the next
// write does; a point that writes the first time, the last, and one in between.
func (k *campaign) targets(reached []int, every bool) (all []target) {
	times := map[int]int{}
	for _, i := range reached {
		times[i]++
	}
	for _, i := range slices.Sorted(maps.Keys(times)) {
		p, n := &k.list.Points[i], times[i]
		chosen := []int{1}
		switch {
		case every:
			for j := 2; j <= n; j++ {
				chosen = append(chosen, j)
			}
		case p.Write:
			chosen = append(chosen, n, 1+k.rng.IntN(n))
		}
		slices.Sort(chosen)
		for _, j := range slices.Compact(chosen) {
			all = append(all, target{point: p.Name, times: j})
		}
	}
	return all
}

// A process may be killed before any access to a shared word: those that live go on at once, what it left is repaired, every
// message is accounted for, and no frame is lost.
func TestCrashAtEveryPoint(t *testing.T) {
	k := newCampaign(t)
	ran := 0
	for _, s := range crashScenarios() {
		if *crashOnly != "" && s.name != *crashOnly {
			continue
		}
		ran++
		left := k.prepare(s)
		whole := k.one(s, target{}, left)
		if whole.actor == nil || !whole.actor.ended {
			t.Errorf("%s does not come to its end", s.name)
			continue
		}
		before := k.runs
		targets := k.targets(whole.actor.reached, long())
		k.each(targets, func(o target) { k.one(s, o, left) })
		t.Logf("%s: %d accesses, %d runs", s.name, len(whole.actor.reached), k.runs-before)
	}
	k.summary(ran)
	k.table()
}

// unreached are the points that no correct run comes to, and why.
var unreached = map[string]string{
	"mailbox.Message.giveBack:2 Set":             "there is no memory for a copy: TestBuryCopyWithoutMemory",
	"mailbox.Receiver.giveTurn:3 CompareAndSwap": "one in the line died and was swept after the line was read: TestNoTurnForTheDead",
	"mailbox.Hub.await:1 Owner":                  "a caller that spins before it sleeps: a build with points does not spin",
	"mailbox.Mailbox.push:8 Add":                 "other senders were faster in each of two laps and 64 attempts, or the ring is scribbled over",
	"mailbox.Receiver.mend:2 CompareAndSwap":     "the tail is off by more than one sender leaves it: it is scribbled over",
	"mailbox.Receiver.mend:3 Add":                "as mend:2",
	"shm.Pool.fitting:1 Set":                     "the span of a frame that is held was carved anew: it is scribbled over",
	"mailbox.Receiver.TryReceive:4 Add":          "another than the receiver emptied a slot: it is scribbled over",
	"mailbox.Receiver.TryReceive:10 Add":         "a full slot names no frame that is queued for this mailbox: it is scribbled over",
}

// summary prints what was reached, and fails the test where a point was not and nothing is known about it.
func (k *campaign) summary(scenarios int) {
	total := 0
	for _, n := range k.deaths {
		total += n
	}
	fmt.Printf("crash points: %d points, %d reached, %d deaths in %d scenarios\n",
		len(k.list.Points), len(k.deaths), total, scenarios)
	if *crashOnly != "" {
		return
	}
	known := maps.Clone(unreached)
	for _, p := range k.list.Points {
		_, excused := unreached[p.Name]
		delete(known, p.Name)
		switch {
		case k.deaths[p.Name] == 0 && !excused:
			k.t.Errorf("no scenario reaches %s (%s:%d)", p.Name, p.File, p.Line)
		case k.deaths[p.Name] > 0 && excused:
			k.t.Errorf("%s is reached, though %s", p.Name, unreached[p.Name])
		}
	}
	for name := range known {
		k.t.Errorf("there is no point %s any more", name)
	}
}

// table writes how often a process died at each point.
func (k *campaign) table() {
	var b strings.Builder
	for _, p := range k.list.Points {
		fmt.Fprintf(&b, "%6d  %-55s %s:%d\n", k.deaths[p.Name], p.Name, p.File, p.Line)
	}
	if *crashTable != "" {
		must(k.t, os.WriteFile(*crashTable, []byte(b.String()), 0o600))
	}
	if testing.Verbose() {
		k.t.Log("\n" + b.String())
	}
}

// A producer that is stopped anywhere, and not dead, delays nobody: what others send and call meanwhile is handled. When it goes
// on, everything ends well.
func TestStoppedAtEveryPoint(t *testing.T) {
	k := newCampaign(t)
	for _, s := range crashScenarios() {
		if !s.produces || s.hoards || *crashOnly != "" && s.name != *crashOnly {
			continue
		}
		whole := k.one(s, target{}, nil)
		if whole.actor == nil || !whole.actor.ended {
			t.Errorf("%s does not come to its end", s.name)
			continue
		}
		targets := k.targets(whole.actor.reached, long())
		for i := range targets {
			targets[i].pause = true
		}
		k.each(targets, func(o target) { k.one(s, o, nil) })
	}
	stops := 0
	for _, n := range k.deaths {
		stops += n
	}
	fmt.Printf("stopped producers: %d stops at %d points\n", stops, len(k.deaths))
	if stops == 0 {
		t.Error("nobody was stopped")
	}
}
