package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
)

// TestRun runs the program with few calls, and holds the form of what it writes.
func TestRun(t *testing.T) {
	testkit.NoLeaks(t)
	before := allowedCPUs()
	file := filepath.Join(t.TempDir(), "out.json")
	var stdout, stderr bytes.Buffer
	if status := execute([]string{"-rounds", "2", "-n", "50", "-json", file}, &stdout, &stderr); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, &stderr)
	}
	if after := allowedCPUs(); !slices.Equal(before, after) {
		t.Errorf("this process may use CPUs %v afterwards, %v before", after, before)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Machine struct {
			CPU        string  `json:"cpu"`
			Cores      int     `json:"cores"`
			GOMAXPROCS int     `json:"gomaxprocs"`
			Kernel     string  `json:"kernel"`
			GOOS       string  `json:"goos"`
			GOARCH     string  `json:"goarch"`
			Go         string  `json:"go"`
			Command    string  `json:"command"`
			Rounds     int     `json:"rounds"`
			ClockNs    float64 `json:"clock_ns"`
			Placements string  `json:"placements"`
		} `json:"machine"`
		Rows []map[string]any `json:"rows"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	m := got.Machine
	if m.CPU == "" || m.Cores < 1 || m.GOMAXPROCS < 1 || m.Kernel == "" || !strings.HasPrefix(m.Go, "go") || m.Rounds != 2 {
		t.Errorf("machine: %+v", m)
	}
	if want := "go run ./bench -rounds 2 -n 50 -json " + file; m.Command != want {
		t.Errorf("command %q, want %q", m.Command, want)
	}
	var rows []string
	for _, r := range got.Rows {
		rows = append(rows, fmt.Sprint(r["scenario"], " ", r["context"], " ", r["placement"]))
		checkRow(t, r)
	}
	if want := expectedRows(); !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
	for _, part := range []string{m.CPU, m.Kernel, m.Command, "p99.9", "vs direct", "vs floor", "large-bytes"} {
		if !strings.Contains(stdout.String(), part) {
			t.Errorf("the table lacks %q:\n%s", part, &stdout)
		}
	}
}

// expectedRows are the rows of a run of everything on this machine.
func expectedRows() (rows []string) {
	p := newPlacer()
	for _, s := range scenarios {
		for _, c := range contexts {
			if elsewhere(c) && !canPin || floorless(s, c) {
				continue
			}
			for _, place := range (options{placements: placements}).placementsOf(c) {
				if p.possible(place) == nil {
					rows = append(rows, s+" "+c+" "+place)
				}
			}
		}
	}
	return rows
}

// floorless reports whether a floor has no such scenario.
func floorless(scenario, context string) bool {
	return strings.HasPrefix(context, "floor-") && (scenario == large || scenario == largeBytes && !elsewhere(context))
}

// checkRow checks the columns of a row and what holds for the figures of any machine.
func checkRow(t *testing.T, r map[string]any) {
	t.Helper()
	number := func(name string) float64 {
		v, ok := r[name].(float64)
		if !ok || v < 0 || math.IsInf(v, 0) {
			t.Errorf("%v: %s is %v", r, name, r[name])
		}
		return v
	}
	const columns = 12
	if len(r) != columns {
		t.Errorf("%v has %d columns, want %d", r, len(r), columns)
	}
	mean, perSecond := number("mean_ns"), number("ops_per_s")
	p50, p99, p999 := number("p50_ns"), number("p99_ns"), number("p999_ns")
	if mean <= 0 || perSecond <= 0 || p50 <= 0 || p50 > p99 || p99 > p999 {
		t.Errorf("%v: want 0 < p50 <= p99 <= p99.9, and a mean", r)
	}
	number("allocs_per_op")
	number("cpu_ns_per_op")
	if ratio := number("vs_direct"); ratio <= 0 || r["context"] == direct && ratio != 1 {
		t.Errorf("%v: ratio to the direct call is %v", r, ratio)
	}
	switch floor := floorOf[r["context"].(string)]; {
	case floor == "" || floorless(r["scenario"].(string), floor):
		if r["vs_floor"] != nil {
			t.Errorf("%v: a ratio to what floor?", r)
		}
	case number("vs_floor") <= 0:
		t.Errorf("%v: no ratio to the floor", r)
	}
}

func TestSelection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	args := []string{"-rounds", "1", "-n", "20", "-scenario", small, "-context", goroutine, "-placement", placedSame, "-json", file}
	var stderr bytes.Buffer
	if status := execute(args, io.Discard, &stderr); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, &stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Rows []row }
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 1 {
		t.Fatalf("%d rows, want 1", len(got.Rows))
	}
	if r := got.Rows[0]; r.Scenario != small || r.Context != goroutine || r.Placement != placedByDefault || r.VsDirect != nil {
		t.Errorf("got %+v, want small, goroutine, default, and no ratio without a direct call", r)
	}
}

// TestWrongReplies checks that no wrong reply passes.
func TestWrongReplies(t *testing.T) {
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, errWrongReply) {
			t.Errorf("%s: got %v, want a wrong reply", what, err)
		}
	}
	const call = 6
	s := smallExchange()
	sum := s.next(call).A + s.next(call).B
	if err := s.check(call, &sum); err != nil {
		t.Error(err)
	}
	sum++
	refused("another sum", s.check(call, &sum))

	b := bytesExchange()
	if sent := b.next(call); b.check(call, &sent) != nil || b.glance(call, &sent) != nil {
		t.Error("the bytes that were sent are refused")
	}
	short, stale := b.next(call)[1:], slices.Clone(b.next(call))
	b.next(call + bytesSize/8) // the same place
	refused("fewer bytes", b.glance(call, &short))
	refused("bytes of an earlier call, glanced at", b.glance(call, &stale))
	refused("bytes of an earlier call", b.check(call, &stale))

	l := largeExchange()
	good, err := new(clerk).Format(t.Context(), l.next(call))
	if err != nil || l.check(call, &good) != nil || l.glance(call, &good) != nil {
		t.Error("the right reply is refused", err)
	}
	refused("the reply to the call before", l.glance(call+1, &good))
	for what, change := range map[string]func(*Formatted){
		"status":    func(f *Formatted) { f.Status = "" },
		"length":    func(f *Formatted) { f.Length++ },
		"items":     func(f *Formatted) { f.Document.Items = f.Document.Items[:1] },
		"item":      func(f *Formatted) { f.Document.Items[call/2].Name = "" },
		"timestamp": func(f *Formatted) { f.Timestamp = 0 },
	} {
		f := good
		f.Document = newDocument(1)
		change(&f)
		refused("another "+what, l.glance(call, &f))
	}
	f := good
	f.Document = newDocument(1)
	f.Document.Summary.TotalItems++
	refused("another summary", l.check(call, &f))
}

// TestWrongReplyFails checks that a wrong reply ends the run.
func TestWrongReplyFails(t *testing.T) {
	x := smallExchange()
	wrong := newSubject(x, func(p Pair) (int64, error) { return p.A - p.B, nil })
	bad := &run{scenario: small, context: direct, placement: placedByDefault, subject: wrong}
	err := quickEffort.measureAll([]*run{bad}, newPlacer(), t.Logf)
	if !errors.Is(err, errWrongReply) || !strings.Contains(err.Error(), "small, direct, default") {
		t.Errorf("got %v, want a wrong reply and its case", err)
	}
	if _, err := wrong.timed(); !errors.Is(err, errWrongReply) {
		t.Errorf("a timed call: got %v, want a wrong reply", err)
	}
	refused := errors.New("no")
	failing := newSubject(x, func(Pair) (int64, error) { return 0, refused })
	if err := failing.calls(1); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of the call", err)
	}
}

func TestRepeat(t *testing.T) {
	for _, calls := range []int{1, 2, 50, 1000} {
		made := 0
		n, elapsed, err := repeat(time.Hour, calls, func(n int) error { made += n; return nil })
		if err != nil || n != calls || made != calls || elapsed <= 0 {
			t.Errorf("%d calls: made %d, told %d in %v, %v", calls, made, n, elapsed, err)
		}
	}
	n, elapsed, err := repeat(time.Millisecond, 0, func(int) error { return nil })
	if err != nil || n < 1 || elapsed < time.Millisecond {
		t.Errorf("for a millisecond: %d calls in %v, %v", n, elapsed, err)
	}
}

func TestFormats(t *testing.T) {
	for got, want := range map[string]string{
		nanos(1.296): "1.30 ns", nanos(45.04): "45.0 ns", nanos(999.4): "999 ns", nanos(1040): "1.04 µs", nanos(165.5e3): "166 µs",
		nanos(2.22e6): "2.22 ms", nanos(3.5e9): "3.50 s", count(8): "8.00", count(4770): "4.77k", count(737e6): "737M",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var b strings.Builder
	writeTable(&b, [][]string{{"a", "b", "c", "mean"}, nil, {"aa", "b", "cc", "1 µs"}, {"a", "b", "c", "10 µs"}})
	if want := "a   b  c    mean\n\naa  b  cc   1 µs\na   b  c   10 µs\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
