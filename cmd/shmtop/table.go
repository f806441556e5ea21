package main

import (
	"strings"

	"charm.land/lipgloss/v2"
)

// head draws the titles of the columns, with the direction beside the one that is sorted by.
func (m *model) head(l layout) string {
	var b strings.Builder
	t := &m.theme
	b.WriteString(t.head.Render(strings.Repeat(" ", gutter)))
	used := gutter
	for i, c := range l.placed {
		if i > 0 {
			b.WriteString(t.head.Render(" "))
			used++
		}
		title, style := c.titled(m.totals, m.interval), t.head
		if c.title != "" && c.by(m.totals) == m.sort.field {
			arrow := t.down
			if m.sort.ascending {
				arrow = t.up
			}
			title, style = title+arrow, t.sorted
		}
		b.WriteString(style.Render(pad(cut(title, c.width, ""), c.width, c.left)))
		used += c.width
	}
	mark := " "
	if l.hidden {
		mark = hiddenColumn
	}
	b.WriteString(t.head.Render(pad(mark, m.width-used, false)))
	return b.String()
}

// line draws one row. The selected one is drawn in one style, which those of its cells would interrupt.
func (m *model) line(l layout, position int) string {
	r := m.at(position)
	chosen := m.pinned && position == m.cursor
	t := &m.theme
	var b strings.Builder
	pointer := strings.Repeat(" ", gutter)
	if chosen {
		pointer = t.pointer
	}
	b.WriteString(pointer)
	used := gutter
	for i, c := range l.placed {
		if i > 0 {
			b.WriteByte(' ')
			used++
		}
		text, style := c.cell(r, &painter{theme: t, totals: m.totals, width: c.width})
		text = pad(cut(text, c.width, t.more), c.width, c.left)
		if chosen {
			style = lipgloss.Style{}
		}
		b.WriteString(render(style, text))
		used += c.width
	}
	b.WriteString(strings.Repeat(" ", max(0, m.width-used)))
	if chosen {
		return t.chosen.Render(b.String())
	}
	return b.String()
}

// render styles the text and not the blanks around it.
func render(style lipgloss.Style, text string) string {
	core := strings.Trim(text, " ")
	if core == "" {
		return text
	}
	at := strings.Index(text, core)
	return text[:at] + style.Render(core) + text[at+len(core):]
}

// body draws the rows that are in view, and blank lines below.
func (m *model) body(l layout) []string {
	lines := make([]string, 0, m.page())
	for i := m.top; i < len(m.rows) && len(lines) < m.page(); i++ {
		lines = append(lines, m.line(l, i))
	}
	if len(m.rows) == 0 {
		text := "no mailboxes yet"
		if len(m.shown.rows) > 0 {
			text = "no mailbox matches the filter; \\ clears it"
		}
		lines = append(lines, pad("", m.width, true), pad(" "+m.theme.dim.Render(text), m.width, true))
	}
	for len(lines) < m.page() {
		lines = append(lines, strings.Repeat(" ", m.width))
	}
	return lines
}
