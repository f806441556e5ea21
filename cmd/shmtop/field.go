package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// unit is how the numbers of a field are written.
type unit int

const (
	unitCount unit = iota
	unitPercent
	unitSeconds
)

// field is something about a row that can be compared: rows are sorted and filtered by fields, columns show them.
type field struct {
	name string
	unit unit
	text func(r *row) string  // nil for a number
	num  func(r *row) float64 // NaN when not known
}

// fields are all fields, the ones with columns in the order of these.
var fields = []field{
	{name: "name", text: func(r *row) string { return r.label }},
	{name: "worker", text: func(r *row) string { return r.worker }},
	{name: "state", text: func(r *row) string { return string(r.state) }},
	{name: "in", num: func(r *row) float64 { return r.inRate }},
	{name: "out", num: func(r *row) float64 { return r.outRate }},
	{name: "depth", num: func(r *row) float64 { return float64(r.Depth) }},
	{name: "cap", num: func(r *row) float64 { return float64(r.Capacity) }},
	{name: "fill", unit: unitPercent, num: func(r *row) float64 { return 100 * r.fill() }},
	{name: "peak", num: func(r *row) float64 { return float64(r.highest) }},
	{name: "age", unit: unitSeconds, num: func(r *row) float64 { return r.age.Seconds() }},
	{name: "errors", num: func(r *row) float64 { return float64(r.Errors) }},
	{name: "restarts", num: func(r *row) float64 { return float64(r.Restarts) }},
	{name: "crashes", num: func(r *row) float64 { return float64(r.Crashes) }},
	{name: "handled", num: func(r *row) float64 { return float64(r.Handled) }},
	{name: "refused", num: func(r *row) float64 { return float64(r.Refused) }},
	{name: "blocked", num: func(r *row) float64 { return float64(r.RoomWaiters) }},

	{name: "in_total", num: func(r *row) float64 { return float64(r.In) }},
	{name: "out_total", num: func(r *row) float64 { return float64(r.Out) }},
	{name: "expired", num: func(r *row) float64 { return float64(r.Expired) }},
	{name: "abandoned", num: func(r *row) float64 { return float64(r.Abandoned) }},
	{name: "dead", num: func(r *row) float64 { return float64(r.Dead) }},
	{name: "busy", unit: unitSeconds, num: func(r *row) float64 { return r.Busy.Seconds() }},
}

// fill is the part of the mailbox that is in use.
func (r *row) fill() float64 {
	if r.Capacity == 0 {
		return 0
	}
	return float64(r.Depth) / float64(r.Capacity)
}

// fieldNamed finds a field by its name.
func fieldNamed(name string) (*field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return nil, false
	}
	return &fields[i], true
}

func fieldNames() string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// sorting is the order of rows.
type sorting struct {
	field     string
	ascending bool
}

// defaultSorting shows first what has the most to do.
var defaultSorting = sorting{field: "in"}

// natural is the order of a field that is most often wanted: texts from A, numbers from the largest.
func natural(name string) sorting {
	f, ok := fieldNamed(name)
	return sorting{field: name, ascending: ok && f.text != nil}
}

// words say which rows come first.
func (s sorting) words() string {
	f, ok := fieldNamed(s.field)
	switch {
	case ok && f.text != nil && s.ascending:
		return "from A to Z"
	case ok && f.text != nil:
		return "from Z to A"
	case s.ascending:
		return "the smallest first"
	}
	return "the largest first"
}

var errBadOrder = errors.New("want asc or desc behind the colon")

// parseSorting reads COLUMN, COLUMN:asc or COLUMN:desc.
func parseSorting(s string) (sorting, error) {
	name, order, given := strings.Cut(strings.ToLower(s), ":")
	if _, ok := fieldNamed(name); !ok {
		return sorting{}, fmt.Errorf("no column %q; there are %s", name, fieldNames())
	}
	by := natural(name)
	switch {
	case order == "asc":
		by.ascending = true
	case order == "desc":
		by.ascending = false
	case given:
		return by, errBadOrder
	}
	return by, nil
}

// order returns the indexes of the rows that the filter lets through, in the order of by. Rows that are equal there stand by
// their names.
func order(rows []row, by sorting, only filter, into []int32) []int32 {
	into = into[:0]
	for i := range rows {
		if only.match(&rows[i]) {
			into = append(into, int32(i))
		}
	}
	f, ok := fieldNamed(by.field)
	if !ok {
		f = &fields[0]
	}
	slices.SortFunc(into, func(a, b int32) int {
		x, y := &rows[a], &rows[b]
		c := f.compare(x, y)
		if !by.ascending {
			c = -c
		}
		return cmp.Or(c, strings.Compare(x.label, y.label), cmp.Compare(x.Index, y.Index))
	})
	return into
}

// compare compares two rows by a field; what is not known is the smallest.
func (f *field) compare(a, b *row) int {
	if f.text != nil {
		return strings.Compare(f.text(a), f.text(b))
	}
	return cmp.Compare(known(f.num(a)), known(f.num(b)))
}

func known(v float64) float64 {
	if math.IsNaN(v) {
		return math.Inf(-1)
	}
	return v
}
