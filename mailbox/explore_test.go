//go:build shmactor_points

package mailbox

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/explore"
)

var (
	exploreOnly        = flag.String("explore.scenario", "", "explore only this scenario")
	explorePreemptions = flag.Int("explore.preemptions", 1, "preemptions in one schedule")
	exploreDeaths      = flag.Int("explore.deaths", 2, "deaths in one schedule")
	exploreTime        = flag.Duration("explore.time", 0, "stop each scenario after so long")
	exploreSeed        = flag.Uint64("explore.seed", 0, "schedules by chance, from this seed on")
	exploreReplay      = flag.String("explore.replay", "", "the path of a schedule to run again")
)

var background = context.Background()

func TestExplore(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			if *exploreOnly != "" && *exploreOnly != sc.name {
				t.Skip("another scenario was chosen")
			}
			bounds := explore.Bounds{
				Preemptions: *explorePreemptions, Deaths: *exploreDeaths, Time: *exploreTime, Seed: *exploreSeed,
			}
			build := sc.build
			if *exploreReplay != "" {
				report(t, explore.Replay(t, bounds, build, *exploreReplay))
				return
			}
			begun := time.Now()
			res := explore.Explore(t, bounds, build)
			report(t, res)
			t.Logf("explored %q: %d schedules, %d pruned, %d states, %d accesses, complete %v, %.1f s", sc.name,
				res.Schedules, res.Pruned, res.States, res.Points, res.Complete, time.Since(begun).Seconds())
		})
	}
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
