package main

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// filter says which rows are shown. All of its terms must hold; the zero filter lets every row through.
//
//	orders          the name holds this, in capitals or not
//	~^orders/\d+$   the name matches this regular expression
//	depth>100       a number: > >= < <= = with k, M, G; fill in percent, age and busy like 200ms or 5s
//	state:full      a text is this; * stands for anything
//	!TERM           the term does not hold
type filter struct {
	text  string
	terms []func(r *row) bool
}

func (f filter) match(r *row) bool {
	for _, t := range f.terms {
		if !t(r) {
			return false
		}
	}
	return true
}

// parseFilter reads a filter: terms separated by blanks. With an error it returns the terms that make sense.
func parseFilter(text string) (f filter, err error) {
	f.text = strings.TrimSpace(text)
	for word := range strings.FieldsSeq(text) {
		t, wrong := parseTerm(word)
		if wrong != nil {
			err = wrong
			continue
		}
		f.terms = append(f.terms, t)
	}
	return f, err
}

var errNothing = errors.New("! wants a term behind it")

// comparison is a field, an operator and a value. Of a name of a mailbox it may be a part, if the field is none.
var comparison = regexp.MustCompile(`^([a-z_]+)(>=|<=|>|<|=|:)(.*)$`)

func parseTerm(word string) (func(r *row) bool, error) {
	if rest, ok := strings.CutPrefix(word, "!"); ok {
		if rest == "" {
			return nil, errNothing
		}
		t, err := parseTerm(rest)
		if err != nil {
			return nil, err
		}
		return func(r *row) bool { return !t(r) }, nil
	}
	if expr, ok := strings.CutPrefix(word, "~"); ok {
		re, err := regexp.Compile(expr)
		if err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return func(r *row) bool { return re.MatchString(r.label) }, nil
	}
	if part := comparison.FindStringSubmatch(strings.ToLower(word)); part != nil {
		if f, ok := fieldNamed(part[1]); ok {
			return f.term(part[2], part[3])
		}
		if part[2] != ":" && part[2] != "=" {
			return nil, fmt.Errorf("no column %q; there are %s", part[1], fieldNames())
		}
	}
	want := strings.ToLower(word)
	return func(r *row) bool { return strings.Contains(strings.ToLower(r.label), want) }, nil
}

// term makes a term of an operator and a value, which is in small letters.
func (f *field) term(op, value string) (func(r *row) bool, error) {
	if value == "" {
		return nil, fmt.Errorf("%s%s wants a value behind it", f.name, op)
	}
	if f.text != nil {
		if op != ":" && op != "=" {
			return nil, fmt.Errorf("%s is a text: compare it with : or =", f.name)
		}
		like := pattern(value)
		return func(r *row) bool { return like.MatchString(f.text(r)) }, nil
	}
	want, err := f.unit.parse(value)
	if err != nil {
		return nil, fmt.Errorf("%s%s%s: %w", f.name, op, value, err)
	}
	var holds func(v float64) bool
	switch op {
	case ">":
		holds = func(v float64) bool { return v > want }
	case ">=":
		holds = func(v float64) bool { return v >= want }
	case "<":
		holds = func(v float64) bool { return v < want }
	case "<=":
		holds = func(v float64) bool { return v <= want }
	default:
		holds = func(v float64) bool { return v == want }
	}
	return func(r *row) bool { return holds(f.num(r)) }, nil
}

// pattern is a whole text in capitals or not, where * stands for anything.
func pattern(value string) *regexp.Regexp {
	parts := strings.Split(value, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?is)^` + strings.Join(parts, ".*") + `$`)
}

var errNoNumber = errors.New("want a number like 100, 1.5k or 2M")

// parse reads a number as people write it, in small letters.
func (u unit) parse(s string) (float64, error) {
	if u == unitSeconds {
		if d, err := time.ParseDuration(s); err == nil {
			return d.Seconds(), nil
		}
	}
	if u == unitPercent {
		s = strings.TrimSuffix(s, "%")
	}
	factor := 1.0
	for i, suffix := range []string{"k", "m", "g"} {
		if rest, ok := strings.CutSuffix(s, suffix); ok && u == unitCount {
			s, factor = rest, math.Pow(1000, float64(i+1))
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		if u == unitSeconds {
			return 0, errors.New("want a time like 200ms, 5s or 2m")
		}
		return 0, errNoNumber
	}
	return v * factor, nil
}
