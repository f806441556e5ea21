//go:build !shmactor_points

package mailbox

import (
	"flag"
	"fmt"
	"regexp"
	"testing"

	"github.com/shmactor/shmactor/internal/points"
	"github.com/shmactor/shmactor/internal/testkit"
)

var explorePlan = flag.String("explore", "short", "how far plays are explored: short, ci or long")

// The explorer, like the crash tests, needs a build with points.
func TestExplored(t *testing.T) {
	testkit.NeedTagged(t)
	testkit.NoLeaks(t)
	out := testkit.RunTagged(t, points.Tag, "^TestExplore$", "-explore.plan", *explorePlan)
	if testing.Verbose() {
		t.Logf("%s", out)
	}
	line := regexp.MustCompile(`(?m)^explored: \d+ schedules .*$`).Find(out)
	if line == nil {
		t.Fatalf("the explorer did not say what it did:\n%s", out)
	}
	fmt.Printf("%s\n", line)
}
