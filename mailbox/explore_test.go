//go:build shmactor_points

package mailbox

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/explore"
)

var (
	exploreOnly        = flag.String("explore.scenario", "", "explore only this scenario")
	explorePlan        = flag.String("explore.plan", "", "short, ci or long: the bounds of each scenario; else those below")
	explorePreemptions = flag.Int("explore.preemptions", 1, "preemptions in one schedule")
	exploreDeaths      = flag.Int("explore.deaths", 1, "deaths in one schedule")
	exploreTime        = flag.Duration("explore.time", 0, "stop each scenario after so long; the long plan as a whole")
	exploreSeed        = flag.Uint64("explore.seed", 0, "schedules by chance, from this seed on")
	exploreReplay      = flag.String("explore.replay", "", "the path of a schedule to run again")
)

var background = context.Background()

// exhaustively are the bounds within which some scenarios are explored to the end in each gate. Two deaths are one on each side.
var exhaustively = map[string]explore.Bounds{
	"send":                  {Preemptions: 1, Deaths: 2},
	"late reply":            {Preemptions: 1, Deaths: 2},
	"start":                 {Preemptions: 1, Deaths: 2},
	"move":                  {Preemptions: 2, Deaths: 2},
	"call":                  {Preemptions: 1, Deaths: 1},
	"timeout after timeout": {Preemptions: 1, Deaths: 1},
	"timeout and full":      {Preemptions: 1, Deaths: 1},
	"room for one":          {Preemptions: 1, Deaths: 1},
	"frames":                {Preemptions: 1, Deaths: 1},
	"kept frames":           {Preemptions: 1, Deaths: 1},
	"larger reply":          {Preemptions: 1, Deaths: 1},
	"several spans":         {Preemptions: 1, Deaths: 1},
	"timeout":               {Preemptions: 1, Deaths: 1},
	"close":                 {Preemptions: 1, Deaths: 1},
	"close after a crash":   {Preemptions: 1, Deaths: 1},
	"used again":            {Preemptions: 1, Deaths: 1},
	"fence":                 {Preemptions: 1, Deaths: 1},
	"drain":                 {Preemptions: 1, Deaths: 1},
	"late defer":            {Preemptions: 1, Deaths: 1},
	"stale token":           {Preemptions: 1, Deaths: 1},
	"bury":                  {Preemptions: 1, Deaths: 1},
	"sweep again":           {Preemptions: 1, Deaths: 1},
	"sweep in hand":         {Preemptions: 1, Deaths: 1},
	"sweep a call in hand":  {Preemptions: 1, Deaths: 1},
	"again":                 {Preemptions: 1, Deaths: 1},
	"again at once":         {Preemptions: 1, Deaths: 1},
	"fewer attempts":        {Preemptions: 1, Deaths: 1},
	"call again":            {Preemptions: 1, Deaths: 1},
	"call back":             {Preemptions: 1, Deaths: 1},
	"move in hand":          {Preemptions: 1, Deaths: 1},
	"turn used":             {Preemptions: 1, Deaths: 1},
	"order to a life":       {Preemptions: 1, Deaths: 1},
}

// plan lists the bounds within which a scenario is explored. What is cut off by time is not exhausted, and counted so.
func plan(name string) []explore.Bounds {
	switch *explorePlan {
	case "short":
		return []explore.Bounds{{Preemptions: 1, Deaths: 1, Time: 400 * time.Millisecond}}
	case "ci":
		if b, ok := exhaustively[name]; ok {
			return []explore.Bounds{b}
		}
		return nil
	case "long":
		return []explore.Bounds{
			{Preemptions: 3, Deaths: 2, Seed: max(1, *exploreSeed)},
			{Preemptions: 1, Deaths: 1},
			{Preemptions: 2, Deaths: 2},
		}
	}
	return []explore.Bounds{{
		Preemptions: *explorePreemptions, Deaths: *exploreDeaths, Time: *exploreTime, Seed: *exploreSeed,
	}}
}

// weights are how the long plan shares its time among the explorations of a scenario. What one leaves, because it came to its end
// or because the bounds before were not exhausted, all those after it share.
var weights = []float64{1, 4, 3}

// share is the time for one exploration: its part of what is left for it and all after it.
type share struct {
	end  time.Time
	left float64
}

func newShare(plays int) *share {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	return &share{end: time.Now().Add(*exploreTime), left: total * float64(plays)}
}

func (s *share) next(weight float64) time.Duration {
	d := time.Duration(float64(time.Until(s.end)) * weight / s.left)
	s.left -= weight
	return max(d, time.Millisecond)
}

func TestExplore(t *testing.T) {
	var sum explore.Result
	plays, exhausted := 0, 0
	shares := newShare(len(scenarios))
	for _, sc := range scenarios {
		if *exploreOnly != "" && *exploreOnly != sc.name {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			done := true
			for i, bounds := range plan(sc.name) {
				if *explorePlan == "long" {
					bounds.Time = shares.next(weights[i])
					if i == len(weights)-1 && !done {
						return // wider bounds only behind what is exhausted
					}
				}
				if *exploreReplay != "" {
					report(t, explore.Replay(t, bounds, sc.build, *exploreReplay))
					return
				}
				begun := time.Now()
				res := explore.Explore(t, bounds, sc.build)
				report(t, res)
				t.Logf("%d preemptions, %d deaths, seed %d: %d schedules, %d pruned, %d states, %d accesses, exhausted: %v, %.1f s",
					bounds.Preemptions, bounds.Deaths, bounds.Seed, res.Schedules, res.Pruned, res.States, res.Points, res.Complete,
					time.Since(begun).Seconds())
				sum.Schedules += res.Schedules + res.Pruned
				sum.Points += res.Points
				plays++
				if done = res.Complete; done {
					exhausted++
				}
				if *explorePlan == "ci" && !res.Complete {
					t.Error("not exhausted")
				}
			}
		})
	}
	fmt.Printf("explored: %d schedules of %d plays, %d explorations of %d exhausted, %d accesses\n",
		sum.Schedules, len(scenarios), exhausted, plays, sum.Points)
}

// report fails the test with the schedule that went wrong.
func report(t *testing.T, res explore.Result) {
	t.Helper()
	if res.Wrong == nil && *exploreReplay == "" {
		return
	}
	for _, line := range res.Trace {
		t.Log(line)
	}
	if res.Wrong != nil {
		t.Errorf("%v\nthe schedule: -explore.replay '%s'", res.Wrong, res.Path)
	}
}
