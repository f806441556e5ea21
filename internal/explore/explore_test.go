//go:build shmactor_points

package explore

import (
	"errors"
	"testing"

	"github.com/shmactor/shmactor/internal/word"
)

// find explores a scenario with a mistake, which has to be found, and found again where the path says.
func find(t *testing.T, b Bounds, build func(r *Run)) {
	t.Helper()
	defer func(n int) { scouts = n }(scouts)
	scouts = 0 // chance would find it as well
	res := Explore(t, b, build)
	if !errors.Is(res.Wrong, errMistake) {
		t.Fatalf("not found: %+v", res)
	}
	if again := Replay(t, b, build, res.Path); !errors.Is(again.Wrong, errMistake) {
		t.Errorf("the path %q: %v", res.Path, again.Wrong)
	}
}

var errMistake = errors.New("the mistake")

// lostUpdate is wrong when both read before one writes.
func lostUpdate(first, second string) func(r *Run) {
	return func(r *Run) {
		words := make([]word.Word, 1)
		r.Shared(&words[0])
		for _, name := range []string{first, second} {
			r.Go("P", name, func() { words[0].Store(words[0].Load() + 1) })
		}
		r.End(func() error {
			if words[0].Load() != 2 {
				return errMistake
			}
			return nil
		})
	}
}

func TestPreemption(t *testing.T) {
	if res := Explore(t, Bounds{}, lostUpdate("A", "B")); res.Wrong != nil || !res.Complete {
		t.Errorf("with no preemption: %+v", res)
	}
	find(t, Bounds{Preemptions: 1}, lostUpdate("A", "B"))
}

// Two actors of one name are two.
func TestSameName(t *testing.T) { find(t, Bounds{Preemptions: 1}, lostUpdate("A", "A")) }

// Two states are not the same if actors of a process came to a mutex in another order.
func TestOrderOfMutex(t *testing.T) {
	for _, wrong := range []int{1, 2} {
		find(t, Bounds{}, func(r *Run) {
			words := make([]word.Word, 1)
			r.Shared(&words[0])
			var (
				mu         word.Mutex
				last, came int
			)
			for n, name := range []string{"A", "B"} {
				r.Go("P", name, func() {
					mu.Lock()
					last = n + 1
					came++
					both := came == 2
					mu.Unlock()
					if both {
						for _, name := range []string{"C", "D"} {
							r.Go("Q", name, func() { words[0].Add(1) })
						}
					}
				})
			}
			r.End(func() error {
				if last == wrong {
					return errMistake
				}
				return nil
			})
		})
	}
}
