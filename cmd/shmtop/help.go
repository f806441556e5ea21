package main

import (
	"strings"

	"charm.land/lipgloss/v2"
)

// helpFrame is how many lines of the help's screen are not the help itself.
const helpFrame = 2

// helpLines is the help: a key or a word, and what it means. A line without the first is a heading.
var helpLines = [][2]string{
	{"", "KEYS"},
	{"q  Ctrl-C", "quit"},
	{"p  Space", "hold the picture, and let it go on"},
	{"s  >  <", "sort by the next column, the one before"},
	{"r", "reverse the order"},
	{"/", "filter: all terms must hold"},
	{"", "  orders  part of a name       !orders  not"},
	{"", "  ~^a/\\d  regular expression   depth>100  fill>80  age>5s"},
	{"", "  state:full  worker:w*        any column of --sort"},
	{"\\", "no filter"},
	{"d", "totals instead of rates, and back"},
	{"z", "begin the peaks anew (here only; nothing is written)"},
	{"+  -", "longer and shorter interval"},
	{"Up Down PgUp PgDn", "move (also k j, Home End, the wheel); Esc lets go"},
	{"Ctrl-Z", "suspend"},
	{"", ""},
	{"", "COLUMNS"},
	{"WKR", "process that handles the messages"},
	{"IN/s OUT/s", "messages accepted and taken, per second"},
	{"DEPTH CAP FILL", "messages queued, room for so many, and the part"},
	{"PEAK", "the deepest it ever was, or since z"},
	{"AGE", "of the oldest queued message; > at least, where the"},
	{"", "sender did not note the time"},
	{"ERR RST CRASH", "errors of the handler, restarts, crashes of the actor"},
	{"REFUSED BLOCK", "times it was full, processes that wait for room"},
	{"", ""},
	{"", "STATES"},
	{"idle ready run", "nothing to do; messages wait; a message is handled"},
	{"wait", "its actor waits for another's reply"},
	{"FULL", "no room: senders wait or are refused"},
	{"down", "its process is gone; what is queued stays"},
	{"closed bad", "it is being closed; its record makes no sense"},
	{"", ""},
	{"", "Columns without room are left out; > at the right end of"},
	{"", "the titles says so: a wider terminal has them."},
}

// helpKeys is the width of the first column of the help.
const helpKeys = 19

// helpFrame draws the help instead of the table.
func (m *model) helpFrame() []string {
	t := &m.theme
	lines := []string{spread(m.width, []part{
		{"shmtop", t.brand, 0},
		{"every mailbox of a running program, from its shared memory", t.dim, 0},
	}, nil)}
	visible := m.height - helpFrame
	for i := m.help; i < len(helpLines) && i < m.help+visible; i++ {
		lines = append(lines, m.helpLine(helpLines[i][0], helpLines[i][1]))
	}
	for len(lines) < m.height-1 {
		lines = append(lines, strings.Repeat(" ", m.width))
	}
	last := part{"any other key: back", t.dim, 0}
	keys := []part{{"q quit", lipgloss.Style{}, 0}, last}
	if len(helpLines) > visible {
		keys = append([]part{{"Up Down more", lipgloss.Style{}, 0}}, keys...)
	}
	return append(lines, spread(m.width, keys, nil))
}

func (m *model) helpLine(key, text string) string {
	t := &m.theme
	switch {
	case key != "":
		text = t.key.Render(pad(key, helpKeys, true)) + text
	case text == strings.ToUpper(text):
		text = t.strong.Render(text)
	default:
		text = strings.Repeat(" ", helpKeys) + text
	}
	return clip(pad(" "+text, m.width, true), m.width)
}
