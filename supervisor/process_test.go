package supervisor

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
)

// tailOf is the tail of what a worker wrote to its stderr, and what was passed on.
func tailOf(t *testing.T, write func(w io.Writer)) (kept *tail, out string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		write(w)
		_ = w.Close()
	}()
	var all bytes.Buffer
	kept = newTail(r)
	kept.copy(&all, "w")
	kept.settle() // at once: all is read
	return kept, all.String()
}

func TestTailIsBounded(t *testing.T) {
	const pieces = 20
	for name, piece := range map[string]string{
		"no line ends":    strings.Repeat("x", 1<<18),
		"empty lines":     strings.Repeat("\n", 1<<13),
		"short lines":     strings.Repeat("xx\n", 1<<13),
		"lines of a size": strings.Repeat(strings.Repeat("x", lineBytes-1)+"\n", 16),
	} {
		kept, out := tailOf(t, func(w io.Writer) {
			for range pieces {
				_, _ = io.WriteString(w, piece)
			}
		})
		bytes, held := 0, cap(kept.lines)
		for _, line := range kept.lines {
			bytes += len(line) + 1
		}
		if bytes > tailBytes || bytes != kept.bytes || held > 4*tailBytes {
			t.Errorf("%s: %d bytes in %d of %d lines are kept, and counted as %d", name, bytes, len(kept.lines), held, kept.bytes)
		}
		if got := strings.Count(out, "x"); got != pieces*strings.Count(piece, "x") {
			t.Errorf("%s: %d bytes were passed on", name, got)
		}
	}
}

func TestTailReason(t *testing.T) {
	dump := strings.Repeat("goroutine 7 [running]:\nmain.main()\n\t/x/main.go:1 +0x1\n\n", 4000) // more than is kept
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"\n\n  \n", ""},
		{"hello\nworld\n\n", "world"},
		{"no end of line", "no end of line"},
		{"panic: boom\n\n" + dump, "panic: boom"},
		{"runtime: goroutine stack exceeds 1000-byte limit\nfatal error: stack overflow\n" + dump, "fatal error: stack overflow"},
		{"panic: was recovered and logged\nfatal error: concurrent map writes\n" + dump, "fatal error: concurrent map writes"},
		{strings.Repeat("x", lineBytes) + "panic: in the middle of a line\nthe end\n", "the end"},
		{"shmactor: worker \"w\" gives up: 3 restarts\npanic:\n", "shmactor: worker \"w\" gives up: 3 restarts"},
	} {
		kept, _ := tailOf(t, func(w io.Writer) { _, _ = io.WriteString(w, c.text) })
		if got := kept.reason(); got != c.want {
			t.Errorf("of %.60q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestTailText(t *testing.T) {
	kept, out := tailOf(t, func(w io.Writer) {
		_, _ = io.WriteString(w, strings.Repeat("a\n", 5)+strings.Repeat("b\n", reasonLines))
	})
	if got := kept.text(); got != strings.TrimSuffix(strings.Repeat("b\n", reasonLines), "\n") {
		t.Errorf("%q", got)
	}
	if want := strings.Repeat("[w] a\n", 5) + strings.Repeat("[w] b\n", reasonLines); out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

// A spawner that stops ends the reading of what nobody ends.
func TestSpawnerStopsReading(t *testing.T) {
	testkit.NoLeaks(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	s := newSpawner()
	held := newTail(r)
	s.read(held, io.Discard, "w")
	if _, err := io.WriteString(w, "the last line\n"); err != nil {
		t.Fatal(err)
	}
	s.stop()
	<-held.eof
	if got := held.reason(); got != "the last line" {
		t.Errorf("%q", got)
	}
	if _, err := io.WriteString(w, "nobody reads this\n"); err == nil {
		t.Error("somebody reads on")
	}
}
