//go:build !shmactor_points

package supervisor_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/shmactor/shmactor/internal/points"
	"github.com/shmactor/shmactor/internal/testkit"
)

// A worker is killed at the points that only a build for it has.
func TestWorkerCrashPoints(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NeedTagged(t)
	testkit.NoLeaks(t)
	out := testkit.RunTagged(t, points.Tag, "^TestWorkerCrashAtEveryPoint$")
	line := regexp.MustCompile(`(?m)^worker crash points: .*$`).Find(out)
	if line == nil {
		t.Errorf("the crash tests did not say how many there were:\n%s", out)
	}
	fmt.Printf("%s\n", line)
}
