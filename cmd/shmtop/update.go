package main

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// sampleMsg brings a new sample.
type sampleMsg struct{ *sample }

// tickMsg says that it is time for one.
type tickMsg struct{}

// firstWait is how soon the second sample follows the first, so that rates come in quickly.
const firstWait = 250 * time.Millisecond

// Init asks for the second sample; the first is there.
func (m model) Init() tea.Cmd {
	return tick(min(firstWait, m.interval))
}

func tick(d time.Duration) tea.Cmd {
	return tea.Tick(d, func(time.Time) tea.Msg { return tickMsg{} })
}

// Update takes one message in.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m.moved(0), nil
	case tickMsg:
		return m, m.sample
	case sampleMsg:
		m = m.sampled(msg.sample)
		if m.shown.program.ended {
			return m, nil // nothing more will come
		}
		return m, tick(m.interval)
	case tea.PasteMsg:
		if m.mode == modePrompt {
			return m.typed(m.prompt.text + msg.Content), nil
		}
	case tea.MouseWheelMsg:
		if m.mode == modeTable {
			return m.wheeled(msg), nil
		}
	case tea.MouseClickMsg:
		if m.mode == modeTable && msg.Button == tea.MouseLeft {
			return m.clicked(msg.X, msg.Y), nil
		}
	case tea.KeyPressMsg:
		return m.pressed(msg)
	}
	return m, nil
}

// pressed handles a key.
func (m model) pressed(msg tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	switch msg.String() {
	case "ctrl+c":
		return m, tea.Quit
	case "ctrl+z":
		return m, tea.Suspend
	}
	switch m.mode {
	case modePrompt:
		return m.edited(msg), nil
	case modeHelp:
		return m.helped(msg.String())
	}
	if msg.String() == "q" {
		return m, tea.Quit
	}
	return m.commanded(msg.String()), nil
}

// commanded handles a key of the table.
func (m model) commanded(key string) model {
	switch key {
	case "?", "f1":
		m.mode, m.help = modeHelp, 0
	case "/", "f4":
		m.mode = modePrompt
		m.prompt = prompt{text: m.filter.text, before: m.filter}
	case "\\":
		m.filter = filter{}
		return m.arranged()
	case "s", ">", ".":
		return m.sortedBy(+1)
	case "<", ",":
		return m.sortedBy(-1)
	case "r":
		m.sort.ascending = !m.sort.ascending
		return m.arranged()
	case "p", "space", " ":
		return m.held()
	case "d":
		return m.totaled()
	case "z":
		m.shown = m.shown.held()
		m.peaks = peaksFrom(m.shown)
		return m.arranged()
	case "+", "=":
		m.interval = step(m.interval, +1)
	case "-", "_":
		m.interval = step(m.interval, -1)
	default:
		return m.navigated(key)
	}
	return m
}

// navigated handles a key that moves the cursor.
func (m model) navigated(key string) model {
	switch key {
	case "up", "k":
		return m.moved(-1)
	case "down", "j":
		if !m.pinned { // the cursor appears where it is
			m.pinned = true
			return m.moved(0)
		}
		return m.moved(+1)
	case "pgup", "ctrl+b":
		return m.moved(-m.page())
	case "pgdown", "ctrl+f":
		return m.moved(m.page())
	case "home", "g":
		return m.moved(-len(m.rows))
	case "end", "G":
		return m.moved(len(m.rows))
	case "esc":
		m.pinned, m.top = false, 0
		return m.arranged()
	}
	return m
}

func (m model) wheeled(msg tea.MouseWheelMsg) model {
	const rows = 3
	switch msg.Button {
	case tea.MouseWheelUp:
		return m.moved(-rows)
	case tea.MouseWheelDown:
		return m.moved(rows)
	}
	return m
}

// clicked sorts by the column whose title was clicked, or selects a row.
func (m model) clicked(x, y int) model {
	if y == headLines-1 {
		for _, c := range m.layout().placed {
			if x >= c.at && x <= c.at+c.width {
				return m.sortedOn(c.by(m.totals))
			}
		}
	}
	if at := m.top + y - headLines; y >= headLines && y < headLines+m.page() && at < len(m.rows) {
		m.pinned = true
		return m.moved(at - m.cursor)
	}
	return m
}

// sortedOn sorts by a field in its natural order, or the other way round if it does already.
func (m model) sortedOn(field string) model {
	by := natural(field)
	if m.sort.field == field {
		by.ascending = !m.sort.ascending
	}
	m.sort = by
	return m.arranged()
}

// sortedBy sorts by the column that is n further on the screen.
func (m model) sortedBy(n int) model {
	var names []string
	for _, c := range m.layout().placed {
		if name := c.by(m.totals); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return m
	}
	i := slices.Index(names, m.sort.field)
	if i < 0 && n < 0 {
		i = 0
	}
	m.sort = natural(names[(i+n+len(names))%len(names)])
	return m.arranged()
}

// totaled changes from rates to totals or back; what is sorted by the one is sorted by the other.
func (m model) totaled() model {
	for i := range columns {
		if c := &columns[i]; c.by(m.totals) == m.sort.field {
			m.sort.field = c.by(!m.totals)
			break
		}
	}
	m.totals = !m.totals
	return m.arranged()
}

// held holds the picture, or lets it go on with what came in meanwhile.
func (m model) held() model {
	if m.shown.program.ended {
		return m
	}
	m.paused = !m.paused
	if m.paused {
		m.shown = m.shown.held()
		return m
	}
	if m.latest != nil {
		return m.sampled(m.latest)
	}
	return m
}

// intervals are what + and - step through.
var intervals = []time.Duration{
	minInterval, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
	10 * time.Second, 30 * time.Second, time.Minute,
}

// step returns the next longer or shorter interval.
func step(now time.Duration, n int) time.Duration {
	if n > 0 {
		for _, d := range intervals {
			if d > now {
				return d
			}
		}
		return now
	}
	for _, d := range slices.Backward(intervals) {
		if d < now {
			return d
		}
	}
	return now
}

// edited handles a key of the prompt.
func (m model) edited(msg tea.KeyPressMsg) model {
	text := m.prompt.text
	switch msg.String() {
	case "enter":
		if m.prompt.err == nil {
			m.mode = modeTable
		}
		return m
	case "esc":
		m.mode, m.filter = modeTable, m.prompt.before
		return m.arranged()
	case "backspace", "ctrl+h":
		_, n := utf8.DecodeLastRuneInString(text)
		return m.typed(text[:len(text)-n])
	case "ctrl+u":
		return m.typed("")
	case "ctrl+w":
		text = strings.TrimRight(text, " ")
		return m.typed(text[:strings.LastIndexByte(text, ' ')+1])
	}
	return m.typed(text + msg.Text)
}

// promptMax is the longest filter in bytes.
const promptMax = 512

// typed makes text the filter, as far as it can be read.
func (m model) typed(text string) model {
	text = printable(strings.TrimLeft(text, " "))
	if len(text) > promptMax {
		return m
	}
	m.prompt.text = text
	m.filter, m.prompt.err = parseFilter(text)
	return m.arranged()
}

// helped handles a key of the help.
func (m model) helped(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "q":
		return m, tea.Quit
	case "down", "j", "pgdown":
		m.help = min(m.help+1, max(0, len(helpLines)-m.height+helpFrame))
	case "up", "k", "pgup":
		m.help = max(0, m.help-1)
	default:
		m.mode = modeTable
	}
	return m, nil
}
