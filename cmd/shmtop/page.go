package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// writePage prints the picture as plain text, for people and for scripts: comments begin with #, alerts with !, and the rows
// are words separated by blanks under a line of titles, which name their units. Numbers are not rounded to prefixes, and - is
// what is not known. New columns come last.
func writePage(w io.Writer, m model) error {
	b := bufio.NewWriter(w)
	s := m.shown
	fmt.Fprintf(b, "# %s pid %d abi %d up_s %.0f time %s interval_s %s\n", quoted(s.program.name), s.program.pid, s.program.abi,
		s.program.uptime.Seconds(), s.at.Format(time.RFC3339), fixed(s.interval.Seconds(), 3))
	if s.program.ended {
		fmt.Fprintf(b, "# ended: this is its last picture\n")
	}
	fmt.Fprintf(b, "# mailboxes %d workers %d/%d in_per_s %s out_per_s %s queued %d dead_letters %d restarts %d\n", len(s.rows),
		s.totals.workers, s.totals.wanted, fixed(s.totals.inRate, 1), fixed(s.totals.outRate, 1), s.totals.queued,
		s.totals.deadLetters, s.totals.restarts)
	fmt.Fprintf(b, "# memory_bytes %d used %d held %d rings %d of %d\n", s.frames.Total, s.frames.Used(), s.frames.Kept(), s.ring, s.ringMax)
	for i := range s.alerts {
		a := &s.alerts[i]
		fmt.Fprintf(b, "! %s %s %s\n", a.kind, quoted(a.who), a.text)
	}
	writeColumns(b, m)
	return b.Flush()
}

// pageColumns are the columns of the page.
var pageColumns = []struct {
	title string
	text  func(r *row) string
}{
	{"NAME", func(r *row) string { return quoted(r.label) }},
	{"WKR", func(r *row) string { return quoted(r.worker) }},
	{"STATE", func(r *row) string { return string(r.state) }},
	{"IN/s", func(r *row) string { return fixed(r.inRate, 1) }},
	{"OUT/s", func(r *row) string { return fixed(r.outRate, 1) }},
	{"DEPTH", func(r *row) string { return strconv.Itoa(r.Depth) }},
	{"CAP", func(r *row) string { return strconv.Itoa(r.Capacity) }},
	{"FILL%", func(r *row) string { return fixed(100*r.fill(), 1) }},
	{"PEAK", func(r *row) string { return strconv.Itoa(r.highest) }},
	{"AGE_ms", func(r *row) string { return milliseconds(r.age) }},
	{"IN", func(r *row) string { return strconv.FormatUint(r.In, 10) }},
	{"OUT", func(r *row) string { return strconv.FormatUint(r.Out, 10) }},
	{"HANDLED", func(r *row) string { return strconv.FormatUint(r.Handled, 10) }},
	{"ERR", func(r *row) string { return strconv.FormatUint(r.Errors, 10) }},
	{"CRASH", func(r *row) string { return strconv.FormatUint(r.Crashes, 10) }},
	{"RST", func(r *row) string { return strconv.FormatUint(uint64(r.Restarts), 10) }},
	{"REFUSED", func(r *row) string { return strconv.FormatUint(r.Refused, 10) }},
	{"BLOCK", func(r *row) string { return strconv.Itoa(r.RoomWaiters) }},
}

// writeColumns prints the rows, each column as wide as it has to be.
func writeColumns(b *bufio.Writer, m model) {
	cells := make([][]string, 0, len(m.rows)+1)
	titles := make([]string, len(pageColumns))
	for i, c := range pageColumns {
		titles[i] = c.title
	}
	cells = append(cells, titles)
	for i := range m.rows {
		line := make([]string, len(pageColumns))
		for k, c := range pageColumns {
			line[k] = c.text(m.at(i))
			if m.ascii {
				line[k] = asciiOnly(line[k])
			}
		}
		cells = append(cells, line)
	}
	widths := make([]int, len(pageColumns))
	for _, line := range cells {
		for k, text := range line {
			widths[k] = max(widths[k], width(text))
		}
	}
	const texts = 3 // the columns that are aligned to the left
	for _, line := range cells {
		for k := range line {
			line[k] = pad(line[k], widths[k], k < texts)
		}
		fmt.Fprintln(b, strings.TrimRight(strings.Join(line, "  "), " "))
	}
}

// fixed formats a number with so many digits behind the point, none of them a zero at the end.
func fixed(v float64, digits int) string {
	if v != v {
		return none
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func milliseconds(d time.Duration) string {
	if d <= 0 {
		return none
	}
	return fixed(float64(d)/float64(time.Millisecond), 3)
}
