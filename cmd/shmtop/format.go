package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
)

// none stands for a number that is not known.
const none = "-"

// prefixes of a thousand and its powers: counts and rates. Bytes have their own, so that no M means two things.
var (
	thousands = []string{"", "k", "M", "G", "T", "P", "E", "Z"}
	binaries  = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
)

// count formats a number of things: exactly up to five digits, then three digits and a prefix.
func count(n uint64) string {
	if n < 100_000 {
		return strconv.FormatUint(n, 10)
	}
	return scaled(float64(n))
}

// rate formats a number per second; NaN is not known.
func rate(v float64) string {
	switch {
	case math.IsNaN(v):
		return none
	case v <= 0:
		return "0"
	case v < 0.1:
		return "<0.1"
	case v < 9.95:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	return scaled(v)
}

// scaled formats a number of at least 1 with three digits and a prefix.
func scaled(v float64) string {
	i := 0
	for v >= 999.5 && i < len(thousands)-1 {
		v /= 1000
		i++
	}
	return digits(v, i > 0) + thousands[i]
}

// digits formats a number below 1,000 with three digits, or without a fraction.
func digits(v float64, fraction bool) string {
	switch {
	case !fraction || v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// size formats bytes.
func size(n int64) string {
	v, i := float64(max(0, n)), 0
	for v >= 1023.95 && i < len(binaries)-1 {
		v /= 1024
		i++
	}
	if i == 0 || v >= 99.95 {
		return fmt.Sprintf("%.0f %s", v, binaries[i])
	}
	return fmt.Sprintf("%.1f %s", v, binaries[i])
}

// age formats a duration in at most five characters.
func age(d time.Duration) string {
	s := d.Seconds()
	switch {
	case d <= 0:
		return none
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.1fus", s*1e6)
	case d < time.Millisecond:
		return fmt.Sprintf("%dus", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", math.Floor(s*1e4)/10)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", math.Floor(s*10)/10)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02d", int(d.Minutes()), int(s)%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02d", int(d.Hours()), int(d.Minutes())%60)
	case d < 1000*24*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
	return ">999d"
}

// span formats a duration that somebody chose.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
	}
	return strconv.FormatFloat(math.Round(d.Minutes()*10)/10, 'f', -1, 64) + " min"
}

// uptime formats how long something has been running.
func uptime(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	text := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / (24 * 3600); days > 0 {
		return fmt.Sprintf("%dd %s", days, text)
	}
	return text
}

// printable replaces what would disturb the terminal: names come from another process.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// asciiOnly replaces what is not ASCII.
func asciiOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, s)
}

// quoted returns a name as one word: as it is, or in Go's quotes when it holds a blank, a quote or anything odd.
func quoted(s string) string {
	if s != "" && printable(s) == s && !strings.ContainsAny(s, " \"\\") {
		return s
	}
	return strconv.Quote(s)
}

// cut shortens s to a width of cells, with a mark where something is missing.
func cut(s string, width int, mark string) string {
	if lipgloss.Width(s) <= width {
		return s
	}
	end := 0
	for i, r := range s {
		next := i + len(string(r))
		if lipgloss.Width(s[:next])+lipgloss.Width(mark) > width {
			break
		}
		end = next
	}
	if lipgloss.Width(mark) > width {
		return ""
	}
	return s[:end] + mark
}

// cutFront shortens s as cut does, at its beginning.
func cutFront(s string, width int, mark string) string {
	if lipgloss.Width(s) <= width {
		return s
	}
	for i := range s {
		if lipgloss.Width(s[i:])+lipgloss.Width(mark) <= width {
			return mark + s[i:]
		}
	}
	return cut(mark, width, "")
}

// pad fills s up to a width of cells, on its right if left is true.
func pad(s string, width int, left bool) string {
	blank := strings.Repeat(" ", max(0, width-lipgloss.Width(s)))
	if left {
		return s + blank
	}
	return blank + s
}
