package shape

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shared are the rooms that use atomics on words which several processes share.
var shared = []string{"mailbox", "shm"}

// syncNote names a memory-order edge at one of its ends: the atomic that publishes something, or the one that sees it.
var syncNote = regexp.MustCompile(`^// sync: ([a-z-]+)`)

func TestSyncEdgesHaveTwoEnds(t *testing.T) {
	report(t, checkSync(code(t)))
}

// checkSync finds edges that are named at one end only, notes without a name and notes in rooms that share no words.
func checkSync(tr *tree) (wrong []string) {
	ends := make(map[string][]string) // by name: where
	for _, s := range tr.sources {
		if s.test {
			continue
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if !strings.HasPrefix(c.Text, "// sync:") && !strings.HasPrefix(c.Text, "//sync:") {
					continue
				}
				note := syncNote.FindStringSubmatch(c.Text)
				switch {
				case note == nil:
					wrong = append(wrong, tr.at(c.Pos())+": this note names no edge, want // sync: name")
				case !within(s.dir, shared...):
					wrong = append(wrong, tr.at(c.Pos())+": words of the segment are read and written in shm and mailbox only")
				default:
					ends[note[1]] = append(ends[note[1]], tr.at(c.Pos()))
				}
			}
		}
	}
	if len(ends) == 0 {
		wrong = append(wrong, fmt.Sprintf("no edge is named in %s", strings.Join(shared, " or ")))
	}
	for _, name := range slices.Sorted(maps.Keys(ends)) {
		if len(ends[name]) < 2 {
			wrong = append(wrong, fmt.Sprintf("%s: the edge %s has one end only, want a writer and a reader", ends[name][0], name))
		}
	}
	return wrong
}

func TestCheckSync(t *testing.T) {
	want(t, checkSync(parsed(t, fake(map[string]string{
		"shm/a.go": `package shm

// The notes say // sync: nothing, and this is none.
func f() {
	w.Store(1) // sync: both
	w.Store(1) // sync: one-end
	w.Store(1) // sync: twice-here, and why
	// sync: twice-here
	w.Load()
	w.Load() // sync: Upper
	w.Load() //sync: tight
}
`,
		"mailbox/sub/b.go":  "package sub\n\nvar v = w.Load() // sync: both\n",
		"mailbox/b_test.go": "package mailbox\n\nvar v = w.Load() // sync: one-end\n",
		"actor/c.go":        "package actor\n\nvar v = w.Load() // sync: one-end\n",
	}))),
		"shm/a.go:6: the edge one-end has one end only",
		"shm/a.go:10: this note names no edge",
		"shm/a.go:11: this note names no edge",
		"actor/c.go:3: words of the segment",
	)
	want(t, checkSync(parsed(t, fake(map[string]string{"shm/a.go": "package shm\n"}))), "no edge is named")
}
