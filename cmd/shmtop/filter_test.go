package main

import (
	"slices"
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	rows := aSample().rows
	for expr, want := range map[string][]string{
		"book":                        {"orders/book"},
		"ORDERS":                      {"orders/book", "orders/match"},
		"orders !book":                {"orders/match"},
		"~^prices/(feed|agg)$":        {"prices/agg", "prices/feed"},
		"!~/ !é in>50":                {"calc", "timer"},
		"depth>100":                   {"audit/log", "prices/agg"},
		"depth>=4096":                 {"audit/log"},
		"depth<1 in<4":                {"evil?[2Jname?of two lines", "名前/日本語"},
		"depth=31":                    {"orders/book"},
		"depth:31":                    {"orders/book"},
		"in>100k":                     {"calc", "orders/book", "orders/match", "risk/limits"},
		"in_total>1g":                 {"orders/book", "orders/match"},
		"fill>60%":                    {"audit/log", "prices/agg"},
		"fill>99":                     {"audit/log"},
		"age>100ms":                   {"prices/agg", "report/daily"},
		"age>5":                       {"report/daily"},
		"state:FULL":                  {"audit/log"},
		"!state:idle !state:ready":    {"audit/log", "orders/book", "orders/match", "report/daily"},
		"worker:w* !worker=w1":        {"audit/log", "prices/agg", "prices/feed", "report/daily", "risk/limits"},
		"name:*/log":                  {"audit/log"},
		"restarts>0 crashes=0":        {"audit/log"},
		"refused>40k blocked>2 cap>1": {"audit/log"},
		"nothing:like this":           nil,
		"  \t orders/book  ":          {"orders/book"},
	} {
		f, err := parseFilter(expr)
		if err != nil {
			t.Errorf("%q: %v", expr, err)
			continue
		}
		var got []string
		for _, i := range order(rows, sorting{"name", true}, f, nil) {
			got = append(got, rows[i].label)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q lets through %q, want %q", expr, got, want)
		}
	}
	if f, err := parseFilter(" "); err != nil || len(order(rows, defaultSorting, f, nil)) != len(rows) {
		t.Errorf("the empty filter: %v", err)
	}
}

func TestFilterErrors(t *testing.T) {
	for expr, want := range map[string]string{
		"!":          "! wants a term",
		"~(":         "missing closing )",
		"depth>":     "depth> wants a value",
		"depth>x":    "want a number",
		"depth>nan":  "want a number",
		"age>5x":     "want a time",
		"state>full": "state is a text",
		"dept>5":     `no column "dept"`,
		"a !!":       "! wants a term",
	} {
		if _, err := parseFilter(expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", expr, err, want)
		}
	}
}

func TestSorting(t *testing.T) {
	rows := aSample().rows
	for expr, want := range map[string]string{
		"in": "orders/book", "depth": "audit/log", "depth:asc": "calc", "name": "a/name", "name:desc": "名前", "age": "report/daily",
		"RESTARTS": "report/daily", "state": "report/daily", "fill:desc": "audit/log",
	} {
		by, err := parseSorting(expr)
		if err != nil {
			t.Errorf("%q: %v", expr, err)
			continue
		}
		rows := slices.Clone(rows)
		if expr == "depth:asc" {
			rows = rows[:4]
			rows[2].Depth = 9
		}
		if first := rows[order(rows, by, filter{}, nil)[0]].label; !strings.HasPrefix(first, want) {
			t.Errorf("%q puts %q first, want %q", expr, first, want)
		}
	}
	for _, expr := range []string{"", "size", "depth:", "depth:up"} {
		if by, err := parseSorting(expr); err == nil {
			t.Errorf("%q: %+v", expr, by)
		}
	}
}

// Equal rows keep their order from one sample to the next.
func TestSortingIsStable(t *testing.T) {
	rows := []row{rowOf(2, "b", "", 1, 1, 0, 8), rowOf(1, "a", "", 1, 1, 0, 8), rowOf(0, "a", "", 1, 1, 0, 8)}
	for _, ascending := range []bool{true, false} {
		if got := order(rows, sorting{"in", ascending}, filter{}, nil); !slices.Equal(got, []int32{2, 1, 0}) {
			t.Errorf("ascending %v: %v", ascending, got)
		}
	}
}
