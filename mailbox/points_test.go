//go:build !shmactor_points

package mailbox

import (
	"bytes"
	"debug/elf"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shmactor/shmactor/internal/points"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/internal/word"
)

var pointsTable = flag.String("points.table", "", "file that gets the number of deaths at each crash point")

// crashTests are the tests that only a build with points has.
const crashTests = "^(TestCrashAtEveryPoint|TestStoppedAtEveryPoint|TestTwoDeaths|TestDeathInTheRepairOfADeath)$"

// The crash tests need every access to shared words to pass by a hook, which this binary does not have: they run in a binary
// of their own.
func TestCrashPoints(t *testing.T) {
	needShared(t)
	testkit.NeedTagged(t)
	testkit.NoLeaks(t)
	var args []string
	if *pointsTable != "" {
		path, err := filepath.Abs(*pointsTable)
		must(t, err)
		args = append(args, "-crash.table", path)
	}
	out := testkit.RunTagged(t, points.Tag, crashTests, args...)
	if testing.Verbose() {
		t.Logf("%s", out)
	}
	for _, summary := range []string{
		`crash points: \d+ points, \d+ reached, \d+ deaths in \d+ scenarios`, `stopped producers: .*`, `two deaths: .*`, `deaths in a repair: .*`,
	} {
		line := regexp.MustCompile(`(?m)^` + summary + `$`).Find(out)
		if line == nil {
			t.Errorf("the crash tests did not say %q", summary)
		}
		fmt.Printf("%s\n", line)
	}
}

// An ordinary build has no hook: a word is sync/atomic's, and nothing of a tracer is linked.
func TestNoHooksWithoutTag(t *testing.T) {
	if word.Points {
		t.Error("this build has points")
	}
	if w, u := reflect.TypeFor[word.Word](), reflect.TypeFor[atomic.Uint64](); w != u {
		t.Errorf("a word is a %v", w)
	}
	if h, u := reflect.TypeFor[word.Half](), reflect.TypeFor[atomic.Uint32](); h != u {
		t.Errorf("half a word is a %v", h)
	}
	path, err := os.Executable()
	must(t, err)
	f, err := elf.Open(path)
	if err != nil {
		t.Skipf("the binary is not ELF: %v", err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil { // stripped, as go test does: the table of functions is always there
		symbols = nil
	}
	for _, s := range symbols {
		if strings.Contains(s.Name, "internal/word.") {
			t.Errorf("the binary has %s", s.Name)
		}
	}
	pcln := f.Section(".gopclntab")
	if pcln == nil {
		t.Fatal("the binary has no table of functions")
	}
	names, err := pcln.Data()
	must(t, err)
	if !bytes.Contains(names, []byte("mailbox.(*Mailbox).push")) {
		t.Error("the table of functions is not what it is thought to be")
	}
	for _, hook := range []string{"internal/word.(*Word)", "internal/word.(*Half)", "internal/word.Trace", "internal/word.none"} {
		if bytes.Contains(names, []byte(hook)) {
			t.Errorf("the binary has %s", hook)
		}
	}
}
