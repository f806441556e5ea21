package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// later is a sample some time after noon in which the first mailbox has a depth.
func later(d time.Duration, depth int) *sample {
	s := aSample()
	s.at = noon.Add(d)
	r := &s.rows[0]
	r.Depth, r.highest = depth, max(depth, r.Peak)
	return s
}

func TestTicks(t *testing.T) {
	m := screen(80, 24)
	m.sample = func() tea.Msg { return "sampled" }
	if m.Init() == nil {
		t.Error("no second sample")
	}
	if _, cmd := m.Update(tickMsg{}); cmd == nil || cmd() != "sampled" {
		t.Error("a tick takes no sample")
	}
	if next, cmd := m.Update(sampleMsg{later(time.Second, 5)}); cmd == nil || next.(model).shown.at != noon.Add(time.Second) {
		t.Error("a sample is not shown, or is the last")
	}
	if _, cmd := m.Update(sampleMsg{aSample().final(noon)}); cmd != nil {
		t.Error("samples go on after the end of the program")
	}
}

func TestQuit(t *testing.T) {
	for _, m := range []model{screen(80, 24), after(screen(80, 24), "?"), screen(10, 3)} {
		for _, key := range []string{"q", "ctrl+c"} {
			if _, cmd := m.Update(press(key)); cmd == nil || cmd() != (tea.QuitMsg{}) {
				t.Errorf("%s does not quit in mode %v", key, m.mode)
			}
		}
	}
	m := after(screen(80, 24), "/")
	if _, cmd := m.Update(press("q")); cmd != nil {
		t.Error("q quits while a filter is typed")
	}
	if _, cmd := m.Update(press("ctrl+z")); cmd == nil || cmd() != (tea.SuspendMsg{}) {
		t.Error("ctrl+z does not suspend")
	}
}

func TestPause(t *testing.T) {
	for _, key := range []string{"p", "space"} {
		m := after(screen(80, 24), key, sampleMsg{later(time.Second, 5)}, sampleMsg{later(2*time.Second, 6)})
		if m.shown.at != noon || !strings.Contains(drawn(m), "PAUSED 13:05:09") {
			t.Errorf("%s: the picture of %v", key, m.shown.at)
		}
		if m = after(m, key); m.shown.at != noon.Add(2*time.Second) || strings.Contains(drawn(m), "PAUSED") {
			t.Errorf("%s again: the picture of %v", key, m.shown.at)
		}
		if m = after(m, key, sampleMsg{aSample().final(noon)}); m.paused || !m.shown.program.ended {
			t.Error("the end of the program does not show")
		}
	}
}

// A held picture is not one that the sampler writes to.
func TestPauseCopies(t *testing.T) {
	s := aSample()
	m := after(screen(80, 24), sampleMsg{s}, "p")
	s.rows[0].label = "changed"
	if slices.Contains(names(m), "changed") {
		t.Error("the held picture changed")
	}
}

func TestSortKeys(t *testing.T) {
	m := screen(100, 30)
	for _, c := range []struct{ key, field, first string }{
		{"s", "out", "orders/book"},
		{">", "depth", "audit/log"},
		{"r", "depth", "evil"},
		{"<", "out", "orders/book"},
		{"<", "in", "orders/book"},
		{"<", "state", "report/daily"},
		{"<", "worker", "a/name"},
		{"<", "name", "a/name"},
		{"r", "name", "名前"},
		{"<", "age", "report/daily"},
		{"s", "name", "a/name"},
	} {
		m = after(m, c.key)
		if got := names(m)[0]; m.sort.field != c.field || !strings.HasPrefix(got, c.first) {
			t.Errorf("after %s: by %s, first %q, want %s, %q", c.key, m.sort.field, got, c.field, c.first)
		}
	}
	m.sort = sorting{field: "abandoned"} // given by --sort, in no column
	if m = after(m, "s"); m.sort.field != "name" {
		t.Errorf("from a field without a column: by %s", m.sort.field)
	}
}

func TestTotals(t *testing.T) {
	m := after(screen(100, 30), "d")
	if m.sort.field != "in_total" || !strings.Contains(drawn(m), "IN▼") {
		t.Errorf("by %s", m.sort.field)
	}
	if m = after(m, "s", "d"); m.sort.field != "out" || m.totals {
		t.Errorf("by %s", m.sort.field)
	}
	if m = after(m, "s", "d"); m.sort.field != "depth" {
		t.Errorf("by %s", m.sort.field)
	}
}

func TestFilterKeys(t *testing.T) {
	m := after(screen(100, 30), append([]any{"/"}, keys("prices")...)...)
	if got := names(m); len(got) != 2 {
		t.Errorf("while typing: %q", got)
	}
	if m := after(m, "esc"); len(names(m)) != 13 || m.mode != modeTable {
		t.Errorf("after Esc: %q", names(m))
	}
	m = after(m, "enter")
	if len(names(m)) != 2 || m.mode != modeTable || !strings.Contains(drawn(m), "filter prices") {
		t.Errorf("after Enter: %q", names(m))
	}
	m = after(m, append([]any{"/"}, keys(" depth>")...)...)
	if len(names(m)) != 2 || !strings.Contains(drawn(m), "depth> wants a value") {
		t.Errorf("half a term: %q", names(m))
	}
	if m := after(m, "enter"); m.mode != modePrompt {
		t.Error("half a term was taken")
	}
	if m = after(m, keys("100")...); len(names(m)) != 1 {
		t.Errorf("a whole term: %q", names(m))
	}
	for _, c := range []struct {
		key, text string
	}{
		{"backspace", "prices depth>10"}, {"ctrl+w", "prices "}, {"ctrl+w", ""}, {"x", "x"}, {"ctrl+u", ""}, {"backspace", ""},
	} {
		if m = after(m, c.key); m.prompt.text != c.text {
			t.Errorf("after %s: %q, want %q", c.key, m.prompt.text, c.text)
		}
	}
	if m = after(m, tea.PasteMsg{Content: "audit\x1b\n"}); m.prompt.text != "audit??" {
		t.Errorf("pasted: %q", m.prompt.text)
	}
	if m = after(m, tea.PasteMsg{Content: strings.Repeat("x", promptMax)}); m.prompt.text != "audit??" {
		t.Errorf("pasted too much: %d bytes", len(m.prompt.text))
	}
	if m = after(m, "enter", "\\"); len(names(m)) != 13 || m.filter.text != "" {
		t.Errorf("cleared: %q", names(m))
	}
}

func TestCursor(t *testing.T) {
	m := screen(80, minHeight) // five rows
	if m.page() != 5 || m.pinned {
		t.Fatalf("page %d, pinned %v", m.page(), m.pinned)
	}
	for _, c := range []struct {
		key         string
		cursor, top int
	}{
		{"down", 0, 0},
		{"down", 1, 0},
		{"j", 2, 0},
		{"pgdown", 7, 3},
		{"k", 6, 3},
		{"end", 12, 8},
		{"down", 12, 8},
		{"pgup", 7, 7},
		{"home", 0, 0},
		{"up", 0, 0},
		{"G", 12, 8},
		{"g", 0, 0},
	} {
		if m = after(m, c.key); m.cursor != c.cursor || m.top != c.top {
			t.Errorf("after %s: cursor %d, top %d, want %d, %d", c.key, m.cursor, m.top, c.cursor, c.top)
		}
	}
	if m = after(m, "j", "esc"); m.pinned || m.top != 0 {
		t.Error("Esc does not let go")
	}
}

// The cursor stays on its mailbox when the order changes, and comes to rest somewhere when that is gone.
func TestCursorFollows(t *testing.T) {
	m := after(screen(80, minHeight), "down", "down")
	was := m.at(m.cursor).label
	if m = after(m, "r"); m.at(m.cursor).label != was || m.cursor < m.top || m.cursor >= m.top+m.page() {
		t.Errorf("on %q at %d from %d, was on %q", m.at(m.cursor).label, m.cursor, m.top, was)
	}
	s := aSample()
	s.rows = s.rows[4:6]
	if m = after(m, sampleMsg{s}); m.cursor != 1 || !m.pinned {
		t.Errorf("cursor %d of %d", m.cursor, len(m.rows))
	}
	if m = after(m, append([]any{"/"}, keys("nothing")...)...); len(m.rows) != 0 || m.cursor != 0 {
		t.Errorf("cursor %d of none", m.cursor)
	}
	if m = after(m, "esc", "down", "end"); m.cursor != 1 {
		t.Errorf("cursor %d", m.cursor)
	}
}

func TestMouse(t *testing.T) {
	m := after(screen(100, 20), tea.MouseClickMsg{X: 4, Y: headLines + 2, Button: tea.MouseLeft})
	if m.cursor != 2 || !m.pinned {
		t.Errorf("a click on a row: cursor %d", m.cursor)
	}
	m = after(m, tea.MouseWheelMsg{Button: tea.MouseWheelDown})
	if m.cursor != 5 {
		t.Errorf("the wheel: cursor %d", m.cursor)
	}
	x := strings.Index(strings.Split(drawn(m), "\n")[headLines-1], "DEPTH")
	title := tea.MouseClickMsg{X: x + 1, Y: headLines - 1, Button: tea.MouseLeft}
	if m = after(m, title); m.sort.field != "depth" || m.sort.ascending {
		t.Errorf("a click on a title: %+v", m.sort)
	}
	if m = after(m, title); !m.sort.ascending {
		t.Errorf("another one: %+v", m.sort)
	}
	for _, y := range []int{0, 18, 19, 40} {
		if after := after(m, tea.MouseClickMsg{X: 4, Y: y, Button: tea.MouseLeft}); after.cursor != m.cursor {
			t.Errorf("a click on line %d: cursor %d", y, after.cursor)
		}
	}
	if v := screen(100, 20).View(); v.MouseMode != tea.MouseModeCellMotion {
		t.Error("no mouse")
	}
	if v := screen(100, 20, "--no-mouse").View(); v.MouseMode != tea.MouseModeNone {
		t.Error("a mouse in spite of --no-mouse")
	}
}

func TestPeaks(t *testing.T) {
	peak := func(m model) int { return m.shown.rows[0].highest }
	m := screen(100, 30)
	if peak(m) != 128 {
		t.Fatalf("at first: %d", peak(m))
	}
	m = after(m, "z")
	if peak(m) != 31 || !strings.Contains(drawn(m), "peaks since 13:05:09") {
		t.Errorf("begun anew: %d", peak(m))
	}
	if m = after(m, sampleMsg{later(time.Second, 60)}); peak(m) != 60 {
		t.Errorf("deeper: %d", peak(m))
	}
	if m = after(m, sampleMsg{later(2*time.Second, 7)}); peak(m) != 60 {
		t.Errorf("no longer so deep: %d", peak(m))
	}
	s := later(3*time.Second, 8)
	s.rows[0].Peak, s.rows[0].highest = 500, 500 // between two samples
	if m = after(m, sampleMsg{s}); peak(m) != 500 {
		t.Errorf("seen by the segment alone: %d", peak(m))
	}
	s = later(4*time.Second, 8)
	s.rows[0].Incarnation, s.rows[0].highest = 2, 9
	if m = after(m, sampleMsg{s}); peak(m) != 9 {
		t.Errorf("another use of the mailbox: %d", peak(m))
	}
}

func TestInterval(t *testing.T) {
	m := screen(80, 24)
	for _, want := range []time.Duration{2, 5, 10, 30, 60, 60} {
		if m = after(m, "+"); m.interval != want*time.Second {
			t.Errorf("%v, want %v s", m.interval, want)
		}
	}
	m.interval = 300 * time.Millisecond
	for _, want := range []time.Duration{200, 100, 100} {
		if m = after(m, "-"); m.interval != want*time.Millisecond {
			t.Errorf("%v, want %v ms", m.interval, want)
		}
	}
}

func TestHelpScrolls(t *testing.T) {
	m := after(screen(80, minHeight), "?")
	for range 2 * len(helpLines) {
		m = after(m, "down")
	}
	if got := drawn(m); !strings.Contains(got, helpLines[len(helpLines)-1][1]) {
		t.Errorf("the end is not in view:\n%s", got)
	}
	if m = after(m, "up", "x"); m.mode != modeTable {
		t.Error("another key does not lead back")
	}
}

func TestResize(t *testing.T) {
	m := after(screen(200, 60), "end", tea.WindowSizeMsg{Width: 60, Height: 12})
	if m.cursor != 12 || m.top != 8 {
		t.Errorf("cursor %d, top %d", m.cursor, m.top)
	}
	if m = after(m, tea.WindowSizeMsg{Width: 60, Height: 60}); m.top != 0 {
		t.Errorf("top %d", m.top)
	}
	if m = after(m, tea.WindowSizeMsg{Width: 10, Height: 2}, "down", "end", tea.WindowSizeMsg{Width: 100, Height: 30}); len(strings.Split(drawn(m), "\n")) != 30 {
		t.Error("the picture did not come back")
	}
}
