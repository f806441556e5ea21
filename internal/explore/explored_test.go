//go:build !shmactor_points

package explore_test

import (
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
)

// The explorer is there in a build with points only.
func TestTagged(t *testing.T) {
	testkit.NeedTagged(t)
	testkit.RunTagged(t, "shmactor_points", "^Test(Preemption|SameName|OrderOfMutex)$")
}
