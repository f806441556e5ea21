package main

import (
	"slices"
	"time"

	"charm.land/lipgloss/v2"
)

// column shows a field of the rows.
type column struct {
	title  string
	field  string // by which it sorts
	total  string // the field while totals are shown, if that is another
	head   string // the title while totals are shown, if that is another
	width  int
	widest int  // it grows up to this where there is room
	left   bool // aligned to the left
	leaves int  // on a narrow terminal the columns with the highest leave first; 0 stays
	cell   func(r *row, p *painter) (string, lipgloss.Style)
}

// painter has what the cells need besides their row.
type painter struct {
	*theme
	totals bool
	width  int // of the cell
}

// columns in their order on the screen. Those that leave first are the ones that the core of the picture can do without.
var columns = []column{
	{title: "NAME", field: "name", width: 14, left: true, cell: nameCell},
	{title: "WKR", field: "worker", width: 5, left: true, leaves: 1, cell: workerCell},
	{title: "STATE", field: "state", width: 6, left: true, cell: stateCell},
	{title: "IN/s", field: "in", total: "in_total", head: "IN", width: 6, cell: inCell},
	{title: "OUT/s", field: "out", total: "out_total", head: "OUT", width: 6, leaves: 3, cell: outCell},
	{title: "DEPTH", field: "depth", width: 6, cell: depthCell},
	{title: "CAP", field: "cap", width: 5, leaves: 5, cell: capCell},
	{title: "FILL", field: "fill", width: 8, left: true, leaves: 2, cell: fillCell},
	{title: "PEAK", field: "peak", width: 5, leaves: 6, cell: peakCell},
	{title: "AGE", field: "age", width: 6, leaves: 4, cell: ageCell},
	{title: "ERR", field: "errors", width: 5, leaves: 9, cell: errorsCell},
	{title: "RST", field: "restarts", width: 5, leaves: 8, cell: troubleCell(func(r *row) uint64 { return uint64(r.Restarts) })},
	{title: "CRASH", field: "crashes", width: 6, leaves: 11, cell: troubleCell(func(r *row) uint64 { return r.Crashes })},
	{title: "HANDLED", field: "handled", width: 8, leaves: 10, cell: handledCell},
	{title: "REFUSED", field: "refused", width: 8, leaves: 12, cell: troubleCell(func(r *row) uint64 { return r.Refused })},
	{title: "BLOCK", field: "blocked", width: 6, leaves: 13, cell: blockedCell},
	{title: "", field: "in", width: 10, widest: historyLen, left: true, leaves: 7, cell: sparkCell},
}

const (
	nameColumn   = 0
	workerColumn = 1
	nameWidest   = 20  // up to this a name gets its room before further columns come in
	workerWidest = 12  // so does the name of a worker
	coreLeaves   = 6   // columns above this come in only when names have their room
	gutter       = 1   // in front of the rows
	margin       = 2   // behind them, where the mark of hidden columns is
	hiddenColumn = ">" // the mark
)

// placed is a column with its place on the screen.
type placed struct {
	*column
	at, width int
}

// layout is which columns are shown, and where.
type layout struct {
	placed []placed
	hidden bool // not all columns are shown
}

// wide is how wide the widest texts are: of the names, and of the workers.
type wide struct{ name, worker int }

// lay chooses the columns for a width. The core of the columns comes in before texts have all their room, the others after
// it.
func lay(width int, texts wide) layout {
	name, worker := columns[nameColumn].width, columns[workerColumn].width
	room := width - gutter - margin - name
	shown := make([]bool, len(columns))
	shown[nameColumn] = true
	for _, i := range byLeaving() {
		c := &columns[i]
		grown, forWorkers := 0, 0
		if c.leaves > coreLeaves {
			forWorkers = max(0, min(texts.worker, workerWidest)-worker)
			grown = max(0, min(texts.name, nameWidest)-name)
		}
		if room < c.width+1+grown+forWorkers {
			break // none that leaves earlier comes in
		}
		room -= c.width + 1 + grown + forWorkers
		name, worker = name+grown, worker+forWorkers
		shown[i] = true
	}
	if shown[workerColumn] {
		more := max(0, min(room, min(texts.worker, workerWidest)-worker))
		worker, room = worker+more, room-more
	}
	more := max(0, min(room, texts.name-name))
	return place(shown, wide{name + more, worker}, room-more)
}

// byLeaving returns the columns in the order in which they come in.
func byLeaving() []int {
	all := make([]int, 0, len(columns))
	for i := range columns {
		if i != nameColumn {
			all = append(all, i)
		}
	}
	slices.SortStableFunc(all, func(a, b int) int { return columns[a].leaves - columns[b].leaves })
	return all
}

func place(shown []bool, texts wide, room int) layout {
	var l layout
	at := gutter
	for i := range columns {
		if !shown[i] {
			l.hidden = true
			continue
		}
		c := &columns[i]
		w := c.width
		switch {
		case i == nameColumn:
			w = texts.name
		case i == workerColumn:
			w = texts.worker
		case c.widest > 0:
			w += min(room, c.widest-c.width)
		}
		l.placed = append(l.placed, placed{c, at, w})
		at += w + 1
	}
	return l
}

// titled is the head of a column.
func (c *placed) titled(totals bool, interval time.Duration) string {
	switch {
	case c.title == "":
		return "IN/s, " + span(time.Duration(c.width)*interval)
	case totals && c.head != "":
		return c.head
	}
	return c.title
}

// by is the field by which the column sorts.
func (c *column) by(totals bool) string {
	if totals && c.total != "" {
		return c.total
	}
	return c.field
}

func nameCell(r *row, p *painter) (string, lipgloss.Style) {
	text := cut(p.label(r.label), p.width, p.more)
	if r.state == stateFull || r.state == stateDown || r.state == stateBad {
		return text, p.strong
	}
	return text, lipgloss.Style{}
}

func workerCell(r *row, p *painter) (string, lipgloss.Style) {
	text := cutFront(p.label(r.worker), p.width, p.more) // they differ at their ends
	if r.state == stateDown {
		return text, p.bad
	}
	return text, lipgloss.Style{}
}

func stateCell(r *row, p *painter) (string, lipgloss.Style) {
	switch r.state {
	case stateBad, stateDown:
		return string(r.state), p.bad
	case stateFull:
		return "FULL", p.bad
	case stateClosed, stateWait, stateReady:
		return string(r.state), p.notice
	case stateRun:
		return string(r.state), p.good
	}
	return string(r.state), p.dim
}

// quiet writes a number dimly when it is nothing.
func quiet(text string, nothing bool, p *painter) (string, lipgloss.Style) {
	if nothing {
		return text, p.dim
	}
	return text, lipgloss.Style{}
}

func inCell(r *row, p *painter) (string, lipgloss.Style) {
	if p.totals {
		return quiet(count(r.In), r.In == 0, p)
	}
	return quiet(rate(r.inRate), !(r.inRate > 0), p)
}

func outCell(r *row, p *painter) (string, lipgloss.Style) {
	if p.totals {
		return quiet(count(r.Out), r.Out == 0, p)
	}
	return quiet(rate(r.outRate), !(r.outRate > 0), p)
}

func depthCell(r *row, p *painter) (string, lipgloss.Style) {
	if r.Depth == 0 {
		return "0", p.dim
	}
	if r.fill() >= 0.5 {
		return count(uint64(r.Depth)), p.alarm(r.fill())
	}
	return count(uint64(r.Depth)), lipgloss.Style{}
}

func capCell(r *row, p *painter) (string, lipgloss.Style) { return count(uint64(r.Capacity)), p.dim }

func fillCell(r *row, p *painter) (string, lipgloss.Style) {
	return p.bar(r.fill(), p.width), p.alarm(r.fill())
}

func peakCell(r *row, p *painter) (string, lipgloss.Style) {
	text := count(uint64(max(0, r.highest)))
	if r.Capacity > 0 && r.highest >= r.Capacity {
		return text, p.notice
	}
	return quiet(text, r.highest == 0, p)
}

func ageCell(r *row, p *painter) (string, lipgloss.Style) {
	text := age(r.age)
	if r.ageAtLeast {
		text = ">" + text
	}
	if r.age >= slowAge {
		return text, p.notice
	}
	return quiet(text, r.age <= 0, p)
}

// slowAge is how old a queued message is when it catches the eye.
const slowAge = time.Second

func handledCell(r *row, p *painter) (string, lipgloss.Style) {
	return quiet(count(r.Handled), r.Handled == 0, p)
}

func errorsCell(r *row, p *painter) (string, lipgloss.Style) {
	return quiet(count(r.Errors), r.Errors == 0, p)
}

// troubleCell counts something that should not happen often.
func troubleCell(n func(r *row) uint64) func(r *row, p *painter) (string, lipgloss.Style) {
	return func(r *row, p *painter) (string, lipgloss.Style) {
		if n := n(r); n > 0 {
			return count(n), p.notice
		}
		return "0", p.dim
	}
}

func blockedCell(r *row, p *painter) (string, lipgloss.Style) {
	if r.RoomWaiters > 0 {
		return count(uint64(r.RoomWaiters)), p.bad
	}
	return "0", p.dim
}

func sparkCell(r *row, p *painter) (string, lipgloss.Style) {
	return p.sparkline(r.history.last(p.width), p.width), p.spark
}
