package main

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

func TestMain(m *testing.M) {
	testkit.Run(m, map[string]func(){
		"shmtop":  main,
		"program": playProgram,
	})
}

var update = flag.Bool("update", false, "write what was drawn to testdata, instead of comparing it")

// wantGolden compares text with a file in testdata.
func wantGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what was drawn (-update writes it)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// bare removes the styles.
func bare(s string) string { return escapes.ReplaceAllString(s, "") }

// noon is when the pictures of the tests were taken.
var noon = time.Date(2026, 3, 1, 13, 5, 9, 0, time.UTC)

// rowOf makes a row: its name, process, rates, depth and capacity.
func rowOf(index uint32, name, worker string, in, out float64, depth, capacity int) row {
	m := mailbox.Info{
		Index: index, Incarnation: 1, Name: name, Hash: shm.Hash(name), Kind: 7, Open: true, Alive: true,
		Process: shm.MakeProcessID(index%3, 1), Worker: worker, Capacity: capacity, Depth: depth, Peak: max(depth, capacity/8),
		In: uint64(3600*in) + uint64(depth), Out: uint64(3600 * in), Handled: uint64(3600 * in), WaitsFor: -1, Parked: depth == 0,
	}
	r := row{Info: m, label: mailboxName(&m), worker: worker, inRate: in, outRate: out, highest: m.Peak}
	for i := range 12 {
		r.history.add(in * (1 + math.Sin(float64(i)+float64(index))/3))
	}
	r.state = stateOf(&r.Info, nil)
	return r
}

// aSample is a picture with something of everything.
func aSample() *sample {
	s := &sample{
		at: noon, interval: time.Second, limit: 4096, ring: 992 << 10, ringMax: 2 << 20,
		program: programState{name: "orders", pid: 4242, abi: 1, size: 18 << 20, uptime: 2*time.Hour + 14*time.Minute + 7*time.Second},
		rows: []row{
			rowOf(0, "orders/book", "w1", 412_300, 412_290, 31, 1024),
			rowOf(1, "orders/match", "w1", 398_000, 398_000, 4, 1024),
			rowOf(2, "risk/limits", "w2", 201_000, 201_000, 0, 1024),
			rowOf(3, "calc", "main", 120_000, 120_000, 2, 256),
			rowOf(4, "audit/log", "worker-3", 96_000, 78_700, 4096, 4096),
			rowOf(5, "prices/feed", "w2", 88_000, 88_000, 0, 1024),
			rowOf(6, "prices/agg", "w2", 61_000, 61_000, 700, 1024),
			rowOf(7, "timer", "main", 100, 100, 0, 64),
			rowOf(8, "dead-letters", "main", 0.2, 0, 3, 256),
			rowOf(9, "report/daily", "worker-4", 0, 0, 12, 64),
			rowOf(10, "名前/日本語", "w1", 3, 3, 0, 16),
			rowOf(11, "evil\x1b[2Jname\nof two lines", "w1", 1.5, 1.5, 0, 16),
			rowOf(12, "a/name/that/is/much/longer/than/its/column/can/ever/be", "main", 17, 17, 1, 1<<20),
		},
		procs: []process{
			{
				ProcessInfo: shm.ProcessInfo{ID: shm.MakeProcessID(0, 1), State: shm.ProcLive, Name: "main", PID: 4242}, name: "main",
				kernel: processRunning, cpu: 90 * time.Second, rss: 41 << 20,
			},
			{ProcessInfo: shm.ProcessInfo{ID: shm.MakeProcessID(1, 1), State: shm.ProcLive, Name: "w1", PID: 4251}, name: "w1", kernel: processRunning},
			{ProcessInfo: shm.ProcessInfo{ID: shm.MakeProcessID(2, 3), State: shm.ProcDead, Name: "worker-4", PID: 4254}, name: "worker-4", kernel: processGone},
		},
		alerts: []alert{
			{alertDown, "worker-4", noon.Add(-6200 * time.Millisecond), "1 mailbox, 12 queued"},
			{alertFull, "audit/log", noon.Add(-4100 * time.Millisecond), "4096/4096, 3 processes wait for room"},
		},
		totals: totals{inRate: 1_420_000, outRate: 1_402_000, queued: 4849, restarts: 7, deadLetters: 3, workers: 3, wanted: 4},
		frames: shm.Usage{Total: 16 << 20, Carved: 8 << 20},
	}
	s.dead[shm.Stopped] = 3
	s.frames.States[shm.Queued], s.frames.Bytes[shm.Queued] = 4849, 6_900_000
	s.frames.States[shm.Held], s.frames.Bytes[shm.Held] = 64, 98_304
	s.rows[4].age, s.rows[4].RoomWaiters, s.rows[4].Errors, s.rows[4].Refused, s.rows[4].Restarts = 41*time.Millisecond, 3, 12, 40_211, 2
	s.rows[0].age, s.rows[0].Busy, s.rows[0].state = 70*time.Microsecond, 9*time.Microsecond, stateRun
	s.rows[6].age, s.rows[6].ageAtLeast = 1200*time.Millisecond, true
	s.rows[9].Alive, s.rows[9].state, s.rows[9].Restarts, s.rows[9].Crashes = false, stateDown, 5, 5
	s.rows[9].age, s.rows[9].ageAtLeast = 6200*time.Millisecond, true
	s.rows[1].WaitsFor, s.rows[1].state = 2, stateWait
	for i := range s.rows {
		s.rows[i].history.rates = aHistory(s.rows[i].inRate, i)
	}
	return s
}

// aHistory is made of whole numbers, so that it is the same on every machine.
func aHistory(top float64, seed int) (rates [historyLen]float32) {
	for i := range rates {
		rates[i] = float32(top) * float32((seed*7+i*5)%11) / 10
	}
	return rates
}

// screen is a model of a size, without colours and with rates.
func screen(w, h int, args ...string) model {
	o, err := parseOptions(append([]string{"--no-color"}, args...))
	if err != nil {
		panic(err)
	}
	m := newModel(o, aSample())
	return after(m, tea.WindowSizeMsg{Width: w, Height: h})
}

// after is the model after some messages. Keys are given as text: a single character, or the name of a key.
func after(m model, msgs ...any) model {
	for _, msg := range msgs {
		if key, ok := msg.(string); ok {
			msg = press(key)
		}
		next, _ := m.Update(msg)
		m = next.(model)
	}
	return m
}

func press(key string) tea.KeyPressMsg {
	named := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "backspace": tea.KeyBackspace, "up": tea.KeyUp, "down": tea.KeyDown,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd,
	}
	if code, ok := named[key]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	if rest, ok := strings.CutPrefix(key, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(rest[0]), Mod: tea.ModCtrl}
	}
	if key == "space" {
		return tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
	}
	return tea.KeyPressMsg{Code: []rune(key)[0], Text: key}
}

// keys are the keys of a text.
func keys(text string) (all []any) {
	for _, r := range text {
		all = append(all, strings.ReplaceAll(string(r), " ", "space"))
	}
	return all
}

// trimmed removes the blanks at the ends of lines.
func trimmed(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// drawn is the screen as text.
func drawn(m model) string { return bare(m.View().Content) }

// names are the labels of the shown rows, in their order.
func names(m model) (all []string) {
	for i := range m.rows {
		all = append(all, m.at(i).label)
	}
	return all
}
