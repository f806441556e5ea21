package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

const (
	minWidth  = 60
	minHeight = 12
	headLines = 5 // above the rows: program, totals, memory, what is shown, titles
	footLines = 2 // below them: alerts, keys
)

// View draws the screen.
func (m model) View() tea.View {
	var v tea.View
	v.AltScreen = true
	if !m.noMouse && m.mode == modeTable {
		v.MouseMode = tea.MouseModeCellMotion
	}
	switch {
	case m.width == 0 || m.height == 0: // not known yet
		return v
	case m.width < minWidth || m.height < minHeight:
		v.Content = m.tooSmall()
		return v
	}
	v.Content = strings.Join(m.frame(), "\n")
	if m.mode == modePrompt {
		v.Cursor = tea.NewCursor(min(m.width-1, width(promptTitle)+width(m.prompt.text)), headLines-2)
	}
	return v
}

// frame is the lines of the screen, each as wide as the screen.
func (m *model) frame() []string {
	if m.mode == modeHelp {
		return m.helpFrame()
	}
	l := m.layout()
	lines := []string{m.programLine(), m.totalsLine(), m.memoryLine(), m.shownLine(), m.head(l)}
	lines = append(lines, m.body(l)...)
	return append(lines, m.alertLine(), m.keyLine())
}

// tooSmall says what size is needed, as far as that can be read.
func (m *model) tooSmall() string {
	lines := []string{
		cut(fmt.Sprintf("shmtop needs %dx%d", minWidth, minHeight), m.width, ""),
		cut(fmt.Sprintf("this is %dx%d", m.width, m.height), m.width, ""),
	}
	return strings.Join(lines[:min(len(lines), m.height)], "\n")
}

// part is a piece of a line. Where there is no room for all, those with the highest leaves go first.
type part struct {
	text   string
	style  lipgloss.Style
	leaves int
}

// spread puts parts to the left and to the right end of a line.
func spread(width int, left, right []part) string {
	const gap = 2
	total := func() int {
		n := 1
		for _, p := range slices.Concat(left, right) {
			n += lipgloss.Width(p.text) + gap
		}
		return n - gap + 1
	}
	for total() > width {
		worst := 0
		for _, p := range slices.Concat(left, right) {
			worst = max(worst, p.leaves)
		}
		if worst == 0 {
			break
		}
		stays := func(p part) bool { return p.leaves == worst }
		left, right = slices.DeleteFunc(slices.Clone(left), stays), slices.DeleteFunc(slices.Clone(right), stays)
	}
	join := func(parts []part) (string, int) {
		texts, n := make([]string, len(parts)), 0
		for i, p := range parts {
			texts[i] = render(p.style, p.text)
			n += lipgloss.Width(p.text) + gap
		}
		return strings.Join(texts, "  "), max(0, n-gap)
	}
	l, lw := join(left)
	r, rw := join(right)
	blank := max(0, width-2-lw-rw)
	line := " " + l + strings.Repeat(" ", blank) + r + " "
	return clip(line, width)
}

// clip cuts off what does not fit into a line.
func clip(line string, width int) string {
	if lipgloss.Width(line) <= width {
		return line
	}
	return lipgloss.NewStyle().MaxWidth(width).Render(line)
}

func (m *model) programLine() string {
	p, t := &m.shown.program, &m.theme
	plain := lipgloss.Style{}
	left := []part{
		{"shmtop", t.brand, 5},
		{cut(t.label(p.name), 32, t.more), t.strong, 0},
		{fmt.Sprintf("pid %d", p.pid), plain, 2},
		{"up " + uptime(p.uptime), plain, 3},
	}
	var right []part
	switch {
	case p.ended:
		right = append(right, part{"ENDED " + p.endedAt.Format(time.TimeOnly), t.bad, 0})
	case m.paused:
		right = append(right, part{"PAUSED " + m.shown.at.Format(time.TimeOnly), t.bad, 0})
	default:
		if p.stopped {
			right = append(right, part{"STOPPED", t.bad, 0})
		}
		right = append(right, part{m.shown.at.Format(time.TimeOnly), plain, 1}, part{"every " + span(m.interval), t.dim, 4})
	}
	return spread(m.width, left, append(right, part{"read-only", t.dim, 6}))
}

// labelled is a dim word and a value.
func (m *model) labelled(word, value string, style lipgloss.Style, leaves int) part {
	return part{m.theme.dim.Render(word) + " " + render(style, value), lipgloss.Style{}, leaves}
}

func (m *model) totalsLine() string {
	s, t := m.shown, &m.theme
	plain := lipgloss.Style{}
	workers, style := fmt.Sprintf("%d/%d", s.totals.workers, s.totals.wanted), plain
	switch {
	case s.totals.wanted == 0:
		workers, style = "none", t.dim
	case s.totals.workers < s.totals.wanted:
		style = t.bad
	}
	in, out := rate(s.totals.inRate)+"/s", rate(s.totals.outRate)+"/s"
	if m.totals || math.IsNaN(s.totals.inRate) {
		in, out = none, none
	}
	if m.totals {
		var sumIn, sumOut uint64
		for i := range s.rows {
			sumIn += s.rows[i].In
			sumOut += s.rows[i].Out
		}
		in, out = count(sumIn), count(sumOut)
	}
	trouble := func(n uint64) lipgloss.Style {
		if n > 0 {
			return t.notice
		}
		return plain
	}
	return spread(m.width, []part{
		m.labelled("mailboxes", count(uint64(len(s.rows))), plain, 0),
		m.labelled("workers", workers, style, 0),
		m.labelled("in", in, plain, 0),
		m.labelled("out", out, plain, 1),
		m.labelled("queued", count(uint64(s.totals.queued)), plain, 0),
		m.labelled("dead letters", count(s.totals.deadLetters), trouble(s.totals.deadLetters), 2),
		m.labelled("restarts", count(s.totals.restarts), trouble(s.totals.restarts), 3),
	}, nil)
}

func (m *model) memoryLine() string {
	f, t := &m.shown.frames, &m.theme
	used, plain := 0.0, lipgloss.Style{}
	if f.Total > 0 {
		used = float64(f.Used()) / float64(f.Total)
	}
	bar := part{t.dim.Render("memory") + " " + t.alarm(used).Render(t.bar(used, m.barWidth())), plain, 0}
	alerts, style := fmt.Sprint(len(m.shown.alerts)), plain
	if len(m.shown.alerts) > 0 {
		style = t.bad
	}
	return spread(m.width, []part{
		bar,
		{fmt.Sprintf("%s of %s", size(f.Used()), size(f.Total)), plain, 0},
		m.labelled("cached", size(f.Kept()), plain, 2),
		m.labelled("rings", fmt.Sprintf("%s of %s", size(m.shown.ring), size(m.shown.ringMax)), plain, 3),
	}, []part{m.labelled("alerts", alerts, style, 1)})
}

// barWidth is the width of the bar of memory: it grows a little with the screen.
func (m *model) barWidth() int { return min(24, max(10, m.width/5)) }

const promptTitle = " filter: "

// shownLine says which rows are shown in which order, or is where the filter is typed.
func (m *model) shownLine() string {
	t := &m.theme
	if m.mode == modePrompt {
		line := promptTitle + cut(m.prompt.text, m.width-width(promptTitle)-1, "")
		room := m.width - width(line) - 2
		hint, style := "Enter keeps it, Esc does not", t.dim
		if m.prompt.err != nil {
			hint, style = m.prompt.err.Error(), t.notice
		}
		if room < len(hint)/4 {
			return pad(line, m.width, true)
		}
		return pad(line+"  "+style.Render(cut(hint, room, t.more)), m.width, true)
	}
	only := m.labelled("filter", "(none)", t.dim, 0)
	if m.filter.text != "" {
		only = m.labelled("filter", cut(m.filter.text, m.width/2, t.more), t.notice, 0)
	}
	parts := []part{only, m.labelled("sorted by", m.sort.field, lipgloss.Style{}, 0), {m.sort.words(), t.dim, 2}}
	if !m.peaks.since.IsZero() {
		parts = append(parts, m.labelled("peaks since", m.peaks.since.Format(time.TimeOnly), lipgloss.Style{}, 1))
	}
	if m.totals {
		parts = append(parts, part{"totals", t.notice, 1})
	}
	return spread(m.width, parts, nil)
}

// alertLine has what somebody should look at, and which rows are in view.
func (m *model) alertLine() string {
	t := &m.theme
	right := "no rows"
	if len(m.rows) > 0 {
		right = fmt.Sprintf("rows %d-%d of %d", m.top+1, min(len(m.rows), m.top+m.page()), len(m.rows))
	}
	if len(m.shown.alerts) == 0 {
		return spread(m.width, []part{{"no alerts", t.dim, 1}}, []part{{right, t.dim, 0}})
	}
	room := m.width - 2 - len(right) - 2
	return spread(m.width, m.alertParts(room), []part{{right, t.dim, 0}})
}

// alertParts is as many alerts as there is room for: all of them in full, or the first in full and the others in short.
func (m *model) alertParts(room int) []part {
	all, t := m.shown.alerts, &m.theme
	texts, short, sum := make([]string, len(all)), make([]string, len(all)), 0
	for i := range all {
		what, detail := all[i].headline(m.shown.at)
		short[i] = "! " + t.label(what)
		texts[i] = short[i] + ": " + detail
		if sum += width(texts[i]) + 2; sum > room+2 {
			break
		}
	}
	if sum > room+2 {
		copy(texts[1:], short[1:])
	}
	var parts []part
	for i := range all {
		if texts[i] == "" {
			what, _ := all[i].headline(m.shown.at)
			texts[i] = "! " + t.label(what)
		}
		style := t.bad
		if all[i].kind == alertFull {
			style = t.notice
		}
		rest := fmt.Sprintf("+%d", len(all)-i)
		needed := width(texts[i])
		if i < len(all)-1 {
			needed += 2 + width(rest)
		}
		if i > 0 && needed > room {
			return append(parts, part{rest, t.notice, 0})
		}
		text := cut(texts[i], room-needed+width(texts[i]), t.more)
		parts = append(parts, part{text, style, 0})
		room -= width(text) + 2
	}
	return parts
}

// headline is an alert in a few words, and its detail.
func (a *alert) headline(now time.Time) (what, detail string) {
	verb := map[alertKind]string{
		alertEnded: "has ended", alertDown: "down", alertStopped: "stopped", alertMemory: "low", alertFull: "full",
	}[a.kind]
	what = a.who + " " + verb
	if d := now.Sub(a.since); d >= 100*time.Millisecond && a.kind != alertEnded {
		what += " " + age(d)
	}
	return what, a.text
}

// keyLine names the keys.
func (m *model) keyLine() string {
	t := &m.theme
	named := func(key, what string, leaves int) part {
		return part{t.key.Render(key) + " " + what, lipgloss.Style{}, leaves}
	}
	if m.mode == modePrompt {
		return spread(m.width, []part{
			named("text", "part of a name", 0), named("!", "not", 0), named("~", "regex", 0), named("depth>100", "", 1), named("state:full", "", 2),
		}, nil)
	}
	pause, totals := "pause", "totals"
	if m.paused {
		pause = "go on"
	}
	if m.totals {
		totals = "rates"
	}
	return spread(m.width, []part{
		named("?", "help", 0), named("/", "filter", 0), named("s", "sort", 0), named("r", "reverse", 2),
		named("p", pause, 1), named("d", totals, 3), named("z", "peaks", 4), named("+-", "interval", 5), named("q", "quit", 0),
	}, nil)
}
