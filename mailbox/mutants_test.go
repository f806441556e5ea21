package mailbox

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
)

var (
	allMutants = flag.Bool("mutants", false, "try all known-bad variants, not only some")
	oneMutant  = flag.String("mutant", "", "try only this known-bad variant")
)

// mutant is one variant.
type mutant struct {
	name                string
	play                string
	preemptions, deaths int
	edits               []edit
}

// edit puts text in the place of other text of a file, which occurs there once.
type edit struct{ file, old, text string }

// everyMutant is how many variants there are to one that is tried in an ordinary run.
const everyMutant = 12

// mutantLimit is how long the explorer may take for one variant.
const mutantLimit = time.Minute

// The explorer finds what is wrong with each known-bad variant of the protocol. The variants are compiled by way of an
// overlay: no file of the tree changes.
func TestMutants(t *testing.T) {
	testkit.NeedTagged(t)
	caught := 0
	defer func() { fmt.Printf("known-bad variants: %d caught\n", caught) }()
	for i, m := range slices.Concat(mutants, moreMutants) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			if *oneMutant != "" && *oneMutant != m.name {
				t.SkipNow()
			}
			overlay := m.overlay(t)
			if *oneMutant == "" && !*allMutants && i%everyMutant != 0 {
				return // it still fits the source
			}
			binary := buildPoints(t, "-overlay", overlay)
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), mutantLimit)
			defer cancel()
			out, err := runPoints(ctx, binary, "-test.run=^TestExplore$/^"+strings.ReplaceAll(m.play, " ", "_")+"$",
				"-explore.preemptions="+strconv.Itoa(m.preemptions), "-explore.deaths="+strconv.Itoa(m.deaths))
			if err == nil || !strings.Contains(out, "-explore.replay") {
				t.Fatalf("not caught in %v: %v\n%s", time.Since(begun), err, out[max(0, len(out)-2000):])
			}
			caught++
			t.Logf("caught in %.2f s", time.Since(begun).Seconds())
		})
	}
}

// overlay writes the variant's files and the overlay that names them, and returns the overlay's path.
func (m *mutant) overlay(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	must(t, err)
	dir := t.TempDir()
	files := map[string]string{}
	for _, e := range m.edits {
		text, ok := files[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			must(t, err)
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s has %d times:\n%s", e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.text, 1)
	}
	replace := map[string]string{}
	for name, text := range files {
		path := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		must(t, os.WriteFile(path, []byte(text), 0o644))
		replace[filepath.Join(root, name)] = path
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	must(t, err)
	path := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(path, b, 0o644))
	return path
}

// buildPoints builds this package's tests with crash points and returns the binary.
func buildPoints(t *testing.T, args ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "points.test")
	args = append([]string{"test", "-c", "-tags=shmactor_points", "-vet=off", "-o", binary}, args...)
	if out, err := exec.CommandContext(t.Context(), "go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return binary
}

// runPoints runs such a binary and returns what it printed.
func runPoints(ctx context.Context, binary string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SHMACTOR_TEST_") { // it runs tests of its own, and plays no part in these
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.WaitDelay = limit
	out, err := cmd.CombinedOutput()
	return string(out), err
}
