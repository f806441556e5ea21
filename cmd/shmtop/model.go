package main

import (
	"maps"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"charm.land/lipgloss/v2"
)

// model is the state of the screen. Update changes it and View draws it; neither reads a clock or the segment.
type model struct {
	options
	theme         theme
	width, height int
	mode          mode

	shown  *sample // the picture
	latest *sample // what came in since, while the picture is held
	rows   []int32 // indexes of the shown rows, in their order
	texts  wide    // the widest that there were
	totals bool    // instead of rates
	paused bool

	cursor   int // in rows
	selected key
	pinned   bool // the cursor stays on its mailbox; otherwise there is none and the first row stays in view
	top      int  // the first row in view

	prompt prompt
	peaks  peaks
	help   int // the first line of the help in view

	sample func() tea.Msg // takes the next sample
}

// mode is what the keys mean.
type mode int

const (
	modeTable mode = iota
	modePrompt
	modeHelp
)

// prompt is the filter while it is being typed.
type prompt struct {
	text   string
	err    error
	before filter
}

// peaks is the deepest that each mailbox was since somebody asked to begin anew. Nothing of it is written to the segment.
type peaks struct {
	since time.Time // zero: since the mailbox was opened
	base  map[key]peak
}

type peak struct{ segment, seen int }

func newModel(o options, first *sample) model {
	m := model{options: o, theme: newTheme(o.ascii, !o.noColor)}
	return m.sampled(first)
}

// sampled takes a sample in.
func (m model) sampled(s *sample) model {
	if m.paused && !s.program.ended {
		m.latest = s
		return m
	}
	m.shown, m.latest, m.paused = s, nil, false
	m.peaks = m.peaks.applied(s.rows)
	for i := range s.rows {
		r := &s.rows[i]
		m.texts = wide{max(m.texts.name, width(r.label)), max(m.texts.worker, width(r.worker))}
	}
	return m.arranged()
}

// arranged puts the rows in order after something changed.
func (m model) arranged() model {
	m.rows = order(m.shown.rows, m.sort, m.filter, slices.Clone(m.rows))
	if !m.pinned {
		m.cursor = 0
	} else if i := slices.IndexFunc(m.rows, func(i int32) bool { return m.shown.rows[i].key() == m.selected }); i >= 0 {
		m.cursor = i
	}
	return m.moved(0)
}

// moved moves the cursor by n rows and the view with it.
func (m model) moved(n int) model {
	m.cursor = max(0, min(m.cursor+n, len(m.rows)-1))
	if n != 0 {
		m.pinned = true
	}
	if m.pinned && len(m.rows) > 0 {
		m.selected = m.at(m.cursor).key()
	}
	page := m.page()
	m.top = min(m.top, m.cursor)
	m.top = max(m.top, m.cursor-page+1)
	m.top = max(0, min(m.top, len(m.rows)-page))
	return m
}

// at is the row at a position.
func (m model) at(position int) *row { return &m.shown.rows[m.rows[position]] }

// page is how many rows are in view.
func (m model) page() int { return max(1, m.height-headLines-footLines) }

// layout is which columns are shown.
func (m model) layout() layout { return lay(m.width, m.texts) }

// applied sets the peaks that are shown, and returns what is known now.
func (p peaks) applied(rows []row) peaks {
	if p.base == nil {
		return p
	}
	p.base = maps.Clone(p.base)
	for i := range rows {
		r := &rows[i]
		b, ok := p.base[r.key()]
		if !ok {
			continue // it is younger than the reset
		}
		b.seen = max(b.seen, r.Depth)
		p.base[r.key()] = b
		if r.Peak == b.segment {
			r.highest = b.seen
		}
	}
	return p
}

// peaksFrom begins anew with the rows that there are.
func peaksFrom(s *sample) peaks {
	p := peaks{since: s.at, base: make(map[key]peak, len(s.rows))}
	for i := range s.rows {
		r := &s.rows[i]
		p.base[r.key()] = peak{segment: r.Peak, seen: r.Depth}
		r.highest = r.Depth
	}
	return p
}

// held returns a copy of the sample that the sampler does not use again.
func (s *sample) held() *sample {
	c := *s
	c.rows, c.procs, c.alerts = slices.Clone(s.rows), slices.Clone(s.procs), slices.Clone(s.alerts)
	return &c
}

// width is how many cells a text takes.
func width(s string) int {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return lipgloss.Width(s)
		}
	}
	return len(s)
}
