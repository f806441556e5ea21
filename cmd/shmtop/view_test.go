package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

func TestFrames(t *testing.T) {
	for name, m := range map[string]model{
		"100x30":        screen(100, 30),
		"80x24":         screen(80, 24),
		"60x12":         screen(60, 12),
		"160x20":        screen(160, 20),
		"ascii-100x20":  after(screen(100, 20, "--ascii"), "down", "down"),
		"totals-100x20": after(screen(100, 20), "d", "z", "p"),
		"prompt-80x24":  after(screen(80, 24), append([]any{"/"}, keys("orders depth>")...)...),
		"help-80x24":    after(screen(80, 24), "?"),
		"ended-100x20":  after(screen(100, 20), sampleMsg{aSample().final(noon.Add(time.Second))}),
		"empty-80x24":   screen(80, 24, "--filter", "nothing"),
	} {
		t.Run(name, func(t *testing.T) { wantGolden(t, name+".golden", trimmed(drawn(m))) })
	}
}

// Whatever the size, each line is as wide as the screen and there are as many as it is high.
func TestFramesFillTheScreen(t *testing.T) {
	for w := minWidth; w <= 220; w += 7 {
		for _, h := range []int{minHeight, 24, 51} {
			for _, args := range [][]string{nil, {"--ascii"}, {"--filter", "~(a|e)"}} {
				m := screen(w, h, args...)
				for state, m := range map[string]model{
					"table": m, "selected": after(m, "end"), "prompt": after(m, "/"), "help": after(m, "?"), "wrong": after(m, "/", "~", "("),
					"totals": after(m, "d", "z"), "ended": after(m, sampleMsg{aSample().final(noon)}),
				} {
					lines := strings.Split(m.View().Content, "\n")
					if len(lines) != h {
						t.Fatalf("%dx%d %v %s: %d lines", w, h, args, state, len(lines))
					}
					for i, line := range lines {
						if got := lipgloss.Width(line); got != w {
							t.Fatalf("%dx%d %v %s: line %d has %d cells: %q", w, h, args, state, i, got, bare(line))
						}
					}
				}
			}
		}
	}
}

// Colours change nothing but colours.
func TestColours(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	o, err := parseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := after(newModel(o, aSample()), tea.WindowSizeMsg{Width: 100, Height: 30})
	coloured := m.View().Content
	if bare(coloured) != drawn(screen(100, 30)) {
		t.Error("the text is another")
	}
	for what, code := range map[string]string{"red for what is full": "31", "green for what is well": "32"} {
		if !strings.Contains(coloured, code+"m") {
			t.Errorf("no %s", what)
		}
	}
	if strings.ContainsAny(bare(coloured), "\x1b\x07\x00") {
		t.Error("there is an escape sequence that is no style")
	}
}

func TestSmallScreens(t *testing.T) {
	for _, size := range [][2]int{{59, 30}, {100, 11}, {20, 5}, {5, 1}, {1, 1}} {
		m := screen(size[0], size[1])
		lines := strings.Split(drawn(m), "\n")
		if len(lines) > size[1] || len(lines[0]) > size[0] {
			t.Errorf("%v: %q", size, lines)
		}
		if size[0] >= 19 && (!strings.Contains(lines[0], "60x12") || !strings.Contains(lines[1], fmt.Sprintf("%dx%d", size[0], size[1]))) {
			t.Errorf("%v: %q", size, lines)
		}
	}
	if v := newModel(options{}, aSample()).View(); v.Content != "" || !v.AltScreen {
		t.Errorf("before the size is known: %q", v.Content)
	}
}

// Columns leave in one order, whatever the names are, and the mark says that some have left.
func TestColumnsLeaveInOrder(t *testing.T) {
	for _, texts := range []wide{{1, 1}, {16, 5}, {40, 5}, {20, 9}, {60, 60}} {
		before := map[string]bool{}
		for w := 300; w >= minWidth; w-- {
			l := lay(w, texts)
			end, now := 0, map[string]bool{}
			for _, c := range l.placed {
				if c.at < end {
					t.Fatalf("width %d, texts %v: %s begins at %d, before %d", w, texts, c.title, c.at, end)
				}
				end = c.at + c.width
				now[c.title] = true
				if len(before) > 0 && !before[c.title] {
					t.Errorf("width %d, texts %v: %q came in on a narrower screen", w, texts, c.title)
				}
			}
			if end > w-margin {
				t.Fatalf("width %d, texts %v: the columns end at %d", w, texts, end)
			}
			if l.hidden != (len(now) < len(columns)) {
				t.Errorf("width %d: hidden is %v with %d of %d columns", w, l.hidden, len(now), len(columns))
			}
			before = now
		}
		for _, title := range []string{"NAME", "STATE", "IN/s", "DEPTH"} {
			if !before[title] {
				t.Errorf("texts %v: %s left", texts, title)
			}
		}
	}
	if l := lay(300, wide{16, 8}); l.hidden {
		t.Error("a column has no room on 300 cells")
	}
}

func TestCursorOfThePrompt(t *testing.T) {
	m := after(screen(80, 24), append([]any{"/"}, keys("日本")...)...)
	v := m.View()
	if v.Cursor == nil || v.Cursor.X != len(promptTitle)+4 || v.Cursor.Y != headLines-2 {
		t.Errorf("%+v", v.Cursor)
	}
	if v := after(m, "enter").View(); v.Cursor != nil {
		t.Errorf("after it: %+v", v.Cursor)
	}
}

func TestManyAlerts(t *testing.T) {
	s := aSample()
	for i := range 40 {
		s.alerts = append(s.alerts, alert{alertFull, fmt.Sprint("box/", i), noon, "8/8"})
	}
	m := after(screen(100, 30), sampleMsg{s})
	lines := strings.Split(drawn(m), "\n")
	got := lines[len(lines)-2]
	if !strings.Contains(got, "worker-4 down 6.2s: 1 mailbox, 12 queued") || !strings.Contains(got, "! audit/log full 4.1s") || !strings.Contains(got, " +") {
		t.Errorf("%q", got)
	}
}

func BenchmarkView(b *testing.B) {
	m := screen(100, 30)
	b.ReportAllocs()
	for b.Loop() {
		_ = m.View()
	}
}
