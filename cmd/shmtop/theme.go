package main

import (
	"strings"

	"charm.land/lipgloss/v2"
)

// theme is how things look. Its colours are the terminal's own sixteen, so that they fit its background.
type theme struct {
	brand, strong, dim, good, notice, bad lipgloss.Style

	head, sorted, chosen lipgloss.Style // the line above the rows, its sorted column, the selected row
	key                  lipgloss.Style
	spark                lipgloss.Style
	label                func(string) string // last change of a name
	glyphs
}

// glyphs are the characters that are not the same everywhere.
type glyphs struct {
	barFull, barHalf, barEmpty string
	sparks                     []string
	up, down                   string // beside the sorted column
	pointer                    string // in front of the selected row
	more                       string // where something is cut off
}

var unicodeGlyphs = glyphs{
	barFull: "━", barHalf: "╸", barEmpty: "─",
	sparks: strings.Split("▁▂▃▄▅▆▇", ""), // a full block would run into the row above
	up:     "▲", down: "▼", pointer: "▌", more: "…",
}

var asciiGlyphs = glyphs{
	barFull: "#", barHalf: "=", barEmpty: ".",
	sparks: strings.Split("_.-:=+*", ""),
	up:     "^", down: "v", pointer: ">", more: "~",
}

// newTheme returns the theme for a terminal with colours or without.
func newTheme(ascii, colours bool) theme {
	s := lipgloss.NewStyle
	t := theme{
		brand: s().Bold(true), strong: s().Bold(true), dim: s().Faint(true),
		notice: s().Bold(true), bad: s().Bold(true).Reverse(true),
		head: s().Reverse(true), sorted: s().Reverse(true).Bold(true), chosen: s().Reverse(true), key: s().Bold(true),
		label: func(name string) string { return name }, glyphs: unicodeGlyphs,
	}
	if colours {
		colour := func(c string) lipgloss.Style { return s().Foreground(lipgloss.Color(c)) }
		const grey, red, green, yellow, blue, cyan = "8", "1", "2", "3", "4", "6"
		t.brand, t.dim, t.key = colour(cyan).Bold(true), colour(grey), colour(cyan).Bold(true)
		t.good, t.notice, t.bad = colour(green), colour(yellow), colour(red).Bold(true)
		t.spark = colour(blue)
		t.head = s().Reverse(true).Foreground(lipgloss.Color(grey))
		t.sorted = s().Reverse(true).Foreground(lipgloss.Color(cyan)).Bold(true)
	}
	if ascii {
		t.glyphs, t.label = asciiGlyphs, asciiOnly
	}
	return t
}

// bar draws how full something is, in half cells. What is not empty shows.
func (t *theme) bar(part float64, width int) string {
	part = min(1, max(0, part))
	halves := int(part * float64(2*width))
	if part > 0 && halves == 0 {
		halves = 1
	}
	full, half := halves/2, halves%2
	return strings.Repeat(t.barFull, full) + strings.Repeat(t.barHalf, half) + strings.Repeat(t.barEmpty, width-full-half)
}

// alarm is the style for something that is full to that part.
func (t *theme) alarm(part float64) lipgloss.Style {
	switch {
	case part >= 0.9:
		return t.bad
	case part >= 0.5:
		return t.notice
	case part > 0:
		return t.good
	}
	return t.dim
}

// sparkline draws values as columns, the highest as high as a line. Where there never was anything it draws nothing.
func (t *theme) sparkline(values []float32, width int) string {
	var top float32
	for _, v := range values {
		top = max(top, v)
	}
	if top <= 0 {
		return strings.Repeat(" ", width)
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", max(0, width-len(values))))
	for _, v := range values[max(0, len(values)-width):] {
		step := int(v / top * float32(len(t.sparks)))
		b.WriteString(t.sparks[min(len(t.sparks)-1, max(0, step))])
	}
	return b.String()
}
