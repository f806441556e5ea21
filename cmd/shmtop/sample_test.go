package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// sampled is a segment of this process and a sampler that looks at it.
type sampled struct {
	t   *testing.T
	seg *shm.Segment
	hub *mailbox.Hub
	*sampler
}

func newSampled(t *testing.T) *sampled {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("processes are looked at in /proc")
	}
	seg, err := shm.Create(shm.Options{Name: "sampled", Heap: true, Mailboxes: 16})
	if err != nil {
		t.Fatal(err)
	}
	p := shm.Program{Name: "sampled", PID: os.Getpid(), Start: seg.Info().OwnerStart}
	s := &sampled{t, seg, mailbox.Join(seg, 0), newSampler(p, seg)}
	t.Cleanup(func() {
		s.hub.Close(mailbox.ErrSystemEnded)
		if err := seg.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *sampled) create(name string, capacity int) *mailbox.Mailbox {
	s.t.Helper()
	m, err := s.hub.Create(name, capacity, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *sampled) send(m *mailbox.Mailbox, n int) {
	s.t.Helper()
	for range n {
		if err := m.TrySendBytes(nil); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *sampled) take(r *mailbox.Receiver, n int) {
	s.t.Helper()
	for range n {
		msg, ok := r.TryReceive()
		if !ok {
			s.t.Fatal("no message")
		}
		msg.Release()
	}
}

// row is a row of the next sample.
func (s *sampled) row(name string) (row, *sample) {
	s.t.Helper()
	now := s.next()
	i := slices.IndexFunc(now.rows, func(r row) bool { return r.label == name })
	if i < 0 {
		s.t.Fatalf("no row %q", name)
	}
	return now.rows[i], now
}

func (s *sampled) wantRate(what string, got float64, n int, d time.Duration) {
	s.t.Helper()
	if want := float64(n) / d.Seconds(); math.Abs(got-want) > want*1e-9 {
		s.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestRates(t *testing.T) {
	s := newSampled(t)
	a := s.create("a", 64)
	r := a.Receiver()
	defer r.Close()
	s.send(a, 5)
	first, now := s.row("a")
	if !math.IsNaN(first.inRate) || !math.IsNaN(now.totals.inRate) || now.interval != 0 || first.Depth != 5 || first.history.n != 0 {
		t.Errorf("the first sample knows rates: %+v", first)
	}
	s.send(a, 7)
	s.take(r, 3)
	b := s.create("b", 64)
	s.send(b, 2)
	second, now := s.row("a")
	s.wantRate("in", second.inRate, 7, now.interval)
	s.wantRate("out", second.outRate, 3, now.interval)
	s.wantRate("all in", now.totals.inRate, 9, now.interval)
	s.wantRate("new mailbox", now.rows[1].inRate, 2, now.interval)
	if second.history.n != 1 || now.totals.queued != 11 {
		t.Errorf("history %d, queued %d", second.history.n, now.totals.queued)
	}
	a.Close(shm.Stopped)
	r.Close()
	c := s.create("c", 64)
	s.send(c, 4)
	third, now := s.row("c")
	if c.Index() != a.Index() {
		t.Fatal("the mailbox was not used again")
	}
	s.wantRate("the same mailbox in another use", third.inRate, 4, now.interval)
	if third.history.n != 1 || now.totals.deadLetters != 9 {
		t.Errorf("history %d, dead letters %d", third.history.n, now.totals.deadLetters)
	}
}

// Who looks twice gets two samples, and the first stays as it is until the third.
func TestSamplesTakeTurns(t *testing.T) {
	s := newSampled(t)
	a := s.create("a", 64)
	one := s.next()
	s.send(a, 3)
	two := s.next()
	if one == two || one.rows[0].Depth != 0 || two.rows[0].Depth != 3 || !two.at.After(one.at) {
		t.Errorf("%+v\n%+v", one.rows[0], two.rows[0])
	}
}

func TestStates(t *testing.T) {
	s := newSampled(t)
	a, b := s.create("a", 2), s.create("b", 2)
	want := func(what string, state state, worker string) {
		t.Helper()
		if got, _ := s.row("a"); got.state != state || got.worker != worker {
			t.Errorf("%s: %s of %s, want %s of %s", what, got.state, got.worker, state, worker)
		}
	}
	want("nobody receives yet", stateIdle, "-")
	r := a.Receiver()
	want("empty", stateIdle, "main")
	s.send(a, 1)
	want("one message", stateReady, "main")
	r.Busy(true)
	want("handled", stateRun, "main")
	a.WaitFor(b, 0)
	want("waits for another", stateWait, "main")
	s.send(a, 1)
	want("no room", stateFull, "main")
	r.Close()

	id, err := s.seg.Grant("w1")
	if err != nil || s.seg.Enter(id) != nil {
		t.Fatal(err)
	}
	w1 := mailbox.Join(s.seg, id.Index())
	there, err := w1.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	there.Receiver().Close()
	if _, now := s.row("a"); now.totals.workers != 1 || now.totals.wanted != 1 {
		t.Errorf("workers %d of %d", now.totals.workers, now.totals.wanted)
	}
	w1.Close(mailbox.ErrSystemEnded)
	if _, err := s.hub.Sweep(id, "killed"); err != nil {
		t.Fatal(err)
	}
	want("its process is dead", stateDown, "w1")
	if _, now := s.row("a"); now.totals.workers != 0 || now.totals.wanted != 1 || now.alerts[0].text != "1 mailbox, 2 queued" {
		t.Errorf("workers %d of %d, %+v", now.totals.workers, now.totals.wanted, now.alerts)
	}

	if id, err = s.seg.Grant("w1"); err != nil || s.seg.Enter(id) != nil {
		t.Fatal(err)
	}
	w1 = mailbox.Join(s.seg, id.Index())
	if there, err = w1.Open("a"); err != nil {
		t.Fatal(err)
	}
	r = there.Receiver()
	want("its worker was started again", stateFull, "w1")
	s.take(r, 2)
	want("and handles what was left", stateIdle, "w1")
	if now := s.next(); now.totals.workers != 1 || now.totals.wanted != 1 || len(now.alerts) != 0 {
		t.Errorf("workers %d of %d, %+v", now.totals.workers, now.totals.wanted, now.alerts)
	}
	r.Close()
	w1.Close(mailbox.ErrSystemEnded)
}

func TestAlerts(t *testing.T) {
	s := newSampled(t)
	a := s.create("a", 2)
	s.send(a, 2)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = a.SendBytes(ctx, nil)
	}()
	var now *sample
	testkit.Eventually(t, 10*time.Second, "a sender waits", func() bool {
		now = s.next()
		return len(now.alerts) == 1 && strings.Contains(now.alerts[0].text, "waits")
	})
	if got := now.alerts[0]; got.kind != alertFull || got.who != "a" || got.text != "2/2, 1 process waits for room" {
		t.Errorf("%+v", got)
	}
	since := now.alerts[0].since
	if now = s.next(); !now.alerts[0].since.Equal(since) || !now.at.After(since) {
		t.Errorf("since %v, now %v", since, now.alerts[0].since)
	}
	cancel()
	<-ended

	id, err := s.seg.Grant("w1")
	if err != nil || !s.seg.Condemn(id) {
		t.Fatal(err)
	}
	s.create("b", 2)
	if r, now := s.row("b"); len(now.alerts) != 1 || r.state != stateIdle {
		t.Errorf("a process that never came: %+v", now.alerts)
	}
}

// A process can be gone before anybody has said so.
func TestProcessIsGone(t *testing.T) {
	s := newSampled(t)
	self := shm.ProcessInfo{ID: s.seg.ID(0), State: shm.ProcLive, Name: "main", PID: os.Getpid(), Start: s.seg.Info().OwnerStart}
	if p := readProcess(self); p.kernel != processRunning || !p.usable() || p.rss <= 0 {
		t.Errorf("this process: %+v", p)
	}
	gone := self
	gone.Start++
	p := readProcess(gone)
	if p.kernel != processGone || p.usable() {
		t.Errorf("another process of that pid: %+v", p)
	}
	m := mailbox.Info{Open: true, Alive: true, Process: self.ID, Capacity: 2, WaitsFor: -1}
	if got := stateOf(&m, []process{p}); got != stateDown {
		t.Errorf("its mailbox is %s", got)
	}
	now := &sample{procs: []process{p}, rows: []row{{Info: m, state: stateDown, worker: "main"}}}
	now.procs[0].name = "main"
	if got := s.alerts(now); len(got) != 1 || got[0].kind != alertDown || got[0].text != "1 mailbox, 0 queued" {
		t.Errorf("%+v", got)
	}
	for _, pid := range []int{0, -1, math.MaxInt, math.MinInt} {
		if p := readProcess(shm.ProcessInfo{PID: pid}); p.kernel != processGone {
			t.Errorf("pid %d: %+v", pid, p)
		}
	}
}

// A mailbox that hovers about its capacity has one alert, not one every other sample.
func TestFullAlertLasts(t *testing.T) {
	s := newSampler(shm.Program{}, nil)
	for i, c := range []struct {
		depth int
		since int // seconds after noon, -1 for no alert
	}{{19, -1}, {20, 1}, {19, 1}, {18, 1}, {20, 1}, {17, -1}, {19, -1}, {20, 7}} {
		r := rowOf(0, "a", "w1", 1, 1, c.depth, 20)
		now := &sample{at: noon.Add(time.Duration(i) * time.Second), rows: []row{r}}
		got := s.alerts(now)
		if c.since < 0 && len(got) != 0 || c.since >= 0 && (len(got) != 1 || !got[0].since.Equal(noon.Add(time.Duration(c.since)*time.Second))) {
			t.Errorf("sample %d: %+v", i, got)
		}
	}
}

func TestMemoryLow(t *testing.T) {
	s := newSampled(t)
	now := &sample{frames: shm.Usage{Total: 1 << 20}}
	now.frames.Bytes[shm.Queued] = 1000 << 10
	if got := s.alerts(now); len(got) != 1 || got[0].kind != alertMemory || got[0].text != "messages fill 1000 KiB of 1.0 MiB" {
		t.Errorf("%+v", got)
	}
}

func TestEnd(t *testing.T) {
	s := newSampled(t)
	s.send(s.create("a", 2), 1)
	before := s.next()
	s.seg.End()
	last := s.next()
	if !last.program.ended || len(last.rows) != 1 || last.alerts[0].kind != alertEnded || before.program.ended {
		t.Errorf("%+v", last)
	}
	if s.next() != last {
		t.Error("there is another picture after the last")
	}
	late := newSampler(s.program, s.seg)
	if first := late.next(); !first.program.ended || len(first.rows) != 1 {
		t.Errorf("seen first after the end: %+v", first)
	}
}

// What the segment does not say of the oldest message is seen from outside, and never more than is true.
func TestSeenWaiting(t *testing.T) {
	type step struct{ in, out uint64 } // one a second
	for _, c := range []struct {
		name  string
		steps []step
		want  time.Duration
	}{
		{"nothing queued", []step{{5, 5}, {9, 9}}, 0},
		{"just came", []step{{5, 5}, {9, 5}}, 0},
		{"was there at first", []step{{9, 5}}, 0},
		{"stuck", []step{{9, 5}, {9, 5}, {9, 5}}, 2 * time.Second},
		{"stuck, and more comes", []step{{9, 5}, {19, 5}, {29, 5}}, 2 * time.Second},
		{"flows through", []step{{10, 0}, {20, 10}, {30, 20}}, 0},
		{"flows through slowly", []step{{10, 0}, {20, 5}, {30, 10}, {40, 15}}, 2 * time.Second},
		{"all of it is new", []step{{10, 0}, {20, 10}, {30, 29}}, 0},
		{"longer than the history", slices.Repeat([]step{{9, 5}}, 2*historyLen), (2*historyLen - 1) * time.Second},
	} {
		s := newSampler(shm.Program{}, nil)
		var last *sample
		var got row
		for i, st := range c.steps {
			now := &sample{at: noon.Add(time.Duration(i) * time.Second)}
			if last != nil {
				now.interval = now.at.Sub(last.at)
			}
			copy(s.times[:], s.times[1:])
			s.times[historyLen-1] = now.at
			m := mailbox.Info{Incarnation: 1, Capacity: 64, Depth: int(st.in - st.out), In: st.in, Out: st.out, Open: true}
			got = s.row(&m, now)
			last = now
		}
		if got.age != c.want || got.ageAtLeast != (c.want > 0) {
			t.Errorf("%s: %v, want %v", c.name, got.age, c.want)
		}
	}
}

func BenchmarkSample(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			seg, err := shm.Create(shm.Options{Heap: true, Mailboxes: n, RingBytes: int64(n) * 16})
			if err != nil {
				b.Fatal(err)
			}
			hub := mailbox.Join(seg, 0)
			defer hub.Close(mailbox.ErrSystemEnded)
			for i := range n {
				if _, err := hub.Create(fmt.Sprintf("session/%06d", i), 2, 0); err != nil {
					b.Fatal(err)
				}
			}
			s := newSampler(shm.Program{PID: os.Getpid(), Start: seg.Info().OwnerStart}, seg)
			m := after(newModel(options{sort: defaultSorting}, s.next()), tea.WindowSizeMsg{Width: 100, Height: 30})
			b.ReportAllocs()
			for b.Loop() {
				m = after(m, sampleMsg{s.next()})
				_ = m.View()
			}
		})
	}
}
