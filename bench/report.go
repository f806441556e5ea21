package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

// report is what a run of the program found.
type report struct {
	machine machine
	rows    []row
	notes   []string
}

// machine is where and how the rows were measured.
type machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	GOMAXPROCS int     `json:"gomaxprocs"`
	Kernel     string  `json:"kernel"`
	GOOS       string  `json:"goos"`
	GOARCH     string  `json:"goarch"`
	Go         string  `json:"go"`
	Command    string  `json:"command"`
	Rounds     int     `json:"rounds"`
	ClockNs    float64 `json:"clock_ns"` // what reading the clock adds to a call that is timed by itself
	Placements string  `json:"placements"`
}

// row is one line of the table. A figure that was not measured is null.
type row struct {
	Scenario  string   `json:"scenario"`
	Context   string   `json:"context"`
	Placement string   `json:"placement"`
	Mean      float64  `json:"mean_ns"`
	P50       float64  `json:"p50_ns"`
	P99       float64  `json:"p99_ns"`
	P999      float64  `json:"p999_ns"`
	PerSecond float64  `json:"ops_per_s"`
	Allocs    float64  `json:"allocs_per_op"`
	CPU       *float64 `json:"cpu_ns_per_op"` // null where the system does not tell
	VsDirect  *float64 `json:"vs_direct"`     // null when the direct call was not measured
	VsFloor   *float64 `json:"vs_floor"`      // null when there is no floor, or it was not measured
}

func describeMachine(o options, p *placer, command string) machine {
	return machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0), Kernel: kernel(),
		GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Go: runtime.Version(), Command: command,
		Rounds: o.effort.rounds, ClockNs: clockCost(), Placements: p.describe(),
	}
}

const unknown = "unknown"

// cpuModel names the processor, where the system tells.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name", "Processor", "Model", "cpu model":
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return unknown
	}
	return strings.TrimSpace(string(text))
}

// rowsOf makes a row of each run. Ratios are those of the medians of the typical call (p50): to the direct call, and to the floor
// of the context in the same placement.
func rowsOf(runs []*run) []row {
	type key struct{ scenario, context, placement string }
	typical := map[key]float64{}
	for _, r := range runs {
		typical[key{r.scenario, r.context, r.placement}] = r.figures().p50
	}
	rows := []row{}
	for _, r := range runs {
		f := r.figures()
		line := row{
			Scenario: r.scenario, Context: r.context, Placement: r.placement, Mean: f.mean, P50: f.p50, P99: f.p99, P999: f.p999,
			PerSecond: f.perSecond, Allocs: f.allocs,
		}
		if f.cpuKnown {
			line.CPU = &f.cpu
		}
		ratio := func(base float64) *float64 {
			if base <= 0 {
				return nil
			}
			v := f.p50 / base
			return &v
		}
		line.VsDirect = ratio(typical[key{r.scenario, direct, placedByDefault}])
		line.VsFloor = ratio(typical[key{r.scenario, floorOf[r.context], r.placement}])
		rows = append(rows, line)
	}
	return rows
}

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// explain notes how the figures came about.
func (r *report) explain(o options, runs []*run) {
	r.note("Each figure is the median over %d rounds, in which the cases alternate.", o.effort.rounds)
	r.note("mean, calls/s, allocs/op and cpu/op are of passes without a look at the clock; p50 to p99.9 are of calls timed one by one, "+
		"which adds a reading of the clock, %.0f ns here.", r.machine.ClockNs)
	var batched, few []string
	for _, run := range runs {
		name := run.scenario + " " + run.context
		if run.subject.batch > 1 {
			batched = append(batched, name)
		} else if run.timed < 1000 {
			few = append(few, name+" "+run.placement)
		}
	}
	if len(batched) > 0 {
		r.note("%s: too short for the clock, so timed in batches of %d; p50 to p99.9 are of the batches' means.",
			strings.Join(batched, ", "), shortBatch)
	}
	if len(few) > 0 {
		r.note("%s: fewer than 1,000 calls timed in a round, so p99.9 is the slowest call of it.", strings.Join(few, ", "))
	}
	r.note("allocs/op counts the calling process only; cpu/op is of both processes. vs direct is the ratio of the p50.")
	r.note("vs floor is the same to floor-shm for what goes to another process, placed alike, and to floor-chan or floor-mutex for the rest.")
	r.note("Every reply was checked: whole where calls are timed, else a part that changes from call to call, whose check counts.")
}

// write prints the table.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	m := &r.machine
	fmt.Fprintf(&b, "cpu: %s, %d cores, GOMAXPROCS %d\n", m.CPU, m.Cores, m.GOMAXPROCS)
	fmt.Fprintf(&b, "system: %s/%s, kernel %s, %s\n", m.GOOS, m.GOARCH, m.Kernel, m.Go)
	fmt.Fprintf(&b, "placement: %s\ncommand: %s\n\n", m.Placements, m.Command)
	writeTable(&b, r.table())
	fmt.Fprintln(&b)
	for _, n := range r.notes {
		fmt.Fprintln(&b, n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const textColumns = 3 // the first columns of the table, which are words

// table is the table as text, with an empty line between scenarios.
func (r *report) table() (lines [][]string) {
	lines = append(lines, []string{
		"scenario", "context", "placement", "mean", "p50", "p99", "p99.9", "calls/s", "allocs/op", "cpu/op", "vs direct", "vs floor",
	})
	for i, l := range r.rows {
		if i > 0 && r.rows[i-1].Scenario != l.Scenario {
			lines = append(lines, nil)
		}
		cpu := none
		if l.CPU != nil {
			cpu = nanos(*l.CPU)
		}
		lines = append(lines, []string{
			l.Scenario, l.Context, l.Placement, nanos(l.Mean), nanos(l.P50), nanos(l.P99), nanos(l.P999), count(l.PerSecond),
			fmt.Sprintf("%.1f", l.Allocs), cpu, times(l.VsDirect), times(l.VsFloor),
		})
	}
	return lines
}

const none = "-"

// times writes a ratio.
func times(v *float64) string {
	if v == nil {
		return none
	}
	return three(*v) + "x"
}

// writeTable writes cells in columns: words to the left, numbers to the right.
func writeTable(b *strings.Builder, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		for i, cell := range line {
			switch {
			case i > 0 && i < textColumns:
				fmt.Fprintf(b, "  %-*s", widths[i], cell)
			case i > 0:
				fmt.Fprintf(b, "  %*s", widths[i], cell)
			default:
				fmt.Fprintf(b, "%-*s", widths[i], cell)
			}
		}
		b.WriteByte('\n')
	}
}

// writeJSON writes the rows to a file, which is there as a whole or not at all.
func (r *report) writeJSON(name string) error {
	text, err := json.MarshalIndent(struct {
		Machine machine `json:"machine"`
		Rows    []row   `json:"rows"`
	}{r.machine, r.rows}, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(append(text, '\n'))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}

// three writes a number with three digits that matter, and no exponent.
func three(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// nanos writes a time in the unit that suits it.
func nanos(v float64) string {
	switch {
	case v < float64(time.Microsecond):
		return three(v) + " ns"
	case v < float64(time.Millisecond):
		return three(v/1e3) + " µs"
	case v < float64(time.Second):
		return three(v/1e6) + " ms"
	}
	return three(v/1e9) + " s"
}

// count writes a rate.
func count(v float64) string {
	switch {
	case v < 1e3:
		return three(v)
	case v < 1e6:
		return three(v/1e3) + "k"
	}
	return three(v/1e6) + "M"
}
