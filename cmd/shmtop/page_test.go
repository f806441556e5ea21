package main

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	var b bytes.Buffer
	if err := writePage(&b, screen(0, 0)); err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "page.golden", b.String())
	for i, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		if len(strings.TrimRight(line, " ")) != len(line) {
			t.Errorf("line %d ends with blanks", i)
		}
	}
}

// A script finds as many words in each row as there are titles, whatever the names are.
func TestPageHasWords(t *testing.T) {
	var b bytes.Buffer
	if err := writePage(&b, screen(0, 0, "--filter", "!evil", "--sort", "name", "--ascii")); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(b.String()) {
		if line[0] == '#' || line[0] == '!' {
			continue
		}
		if got := len(strings.Fields(line)); got != len(pageColumns) {
			t.Errorf("%d words, want %d: %q", got, len(pageColumns), line)
		}
		rows++
	}
	if rows != 1+12 {
		t.Errorf("%d lines", rows)
	}
}

func TestPageOfTheLastPicture(t *testing.T) {
	m := after(screen(0, 0), sampleMsg{aSample().final(noon)})
	var b bytes.Buffer
	if err := writePage(&b, m); err != nil || !strings.Contains(b.String(), "\n# ended: ") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestJSON(t *testing.T) {
	p := pictureOf(screen(0, 0, "--filter", "orders"))
	text, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "picture.json", string(text)+"\n")
}

// The keys are a promise: one that goes, or comes, shows here.
func TestJSONShape(t *testing.T) {
	s := aSample()
	s.totals.inRate, s.rows[0].inRate = math.NaN(), math.NaN()
	m := after(screen(0, 0), sampleMsg{s})
	var b bytes.Buffer
	if err := writeJSON(&b, m); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\n") != 1 {
		t.Errorf("%d lines", strings.Count(b.String(), "\n"))
	}
	var p map[string]any
	if err := json.Unmarshal(b.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	object := func(v any) map[string]any {
		t.Helper()
		o, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%v is no object", v)
		}
		return o
	}
	first := func(key string) map[string]any {
		t.Helper()
		list, ok := p[key].([]any)
		if !ok || len(list) == 0 {
			t.Fatalf("%s: %v", key, p[key])
		}
		return object(list[0])
	}
	for what, c := range map[string]struct {
		got  map[string]any
		want string
	}{
		"picture": {p, "alerts interval_ns mailboxes processes program ts_ns v"},
		"program": {object(p["program"]), "abi dead_letters ended frames in_per_s mailboxes_max memory_bytes memory_estimated " +
			"memory_held_bytes memory_used_bytes name out_per_s pid queued rings_bytes rings_used_bytes segment_bytes uptime_ns " +
			"workers workers_wanted"},
		"mailbox": {first("mailboxes"), "abandoned_total blocked busy_ns cap crashes_total dead_letters_total depth errors_total " +
			"expired_total handled_total hash in_per_s in_total incarnation index kind name oldest_at_least oldest_ns out_per_s " +
			"out_total parked peak refused_total restarts_total state waits_for worker worker_alive"},
		"process": {first("processes"), "cpu_ns id kernel name pid rss_bytes state"},
		"alert":   {first("alerts"), "kind since_ns text who"},
	} {
		var keys []string
		for key := range c.got {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if got := strings.Join(keys, " "); got != c.want {
			t.Errorf("keys of a %s:\n%s\nwant:\n%s", what, got, c.want)
		}
	}
	if v := object(p["program"])["in_per_s"]; v != nil {
		t.Errorf("a rate that is not known: %v", v)
	}
	if p["v"] != float64(jsonVersion) || p["ts_ns"] != float64(noon.UnixNano()) {
		t.Errorf("version %v, time %v", p["v"], p["ts_ns"])
	}
}

// Without anything to show there are empty lists, not null.
func TestJSONOfNothing(t *testing.T) {
	m := newModel(options{}, &sample{})
	var b bytes.Buffer
	if err := writeJSON(&b, m); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{`"mailboxes":[]`, `"processes":[]`, `"alerts":[]`, `"dead_letters":{}`} {
		if !strings.Contains(b.String(), list) {
			t.Errorf("no %s in %s", list, b.String())
		}
	}
}
