package main

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// sample is everything there is to show about one moment.
type sample struct {
	at       time.Time
	interval time.Duration // since the sample before, 0 for the first
	program  programState
	rows     []row
	procs    []process
	alerts   []alert
	totals   totals
	frames   shm.Usage
	dead     [shm.Reasons]uint64

	ring, ringMax int64 // bytes of ring memory
	limit         int   // of mailboxes
}

// programState is what the header says.
type programState struct {
	name    string
	pid     int
	abi     int
	size    int64
	uptime  time.Duration
	ended   bool
	endedAt time.Time
	stopped bool // by a signal
}

// totals sums up the rows.
type totals struct {
	inRate, outRate float64 // per second, NaN when not known
	queued          int
	restarts        uint64
	deadLetters     uint64
	workers, wanted int // processes besides the program's own: usable, and in all
}

// row is one mailbox.
type row struct {
	mailbox.Info
	label  string // its name as it is shown
	worker string // the name of its process as it is shown
	state  state

	inRate, outRate float64 // per second, NaN when not known
	age             time.Duration
	ageAtLeast      bool // the segment does not say; it has been seen waiting for so long
	highest         int  // the deepest since the peaks were reset
	history         history
}

// key names one use of a mailbox.
type key struct{ index, incarnation uint32 }

func (r *row) key() key { return key{r.Index, r.Incarnation} }

// historyLen is how many samples the history of a row has.
const historyLen = 24

// history is the messages per second of the last samples, the newest last.
type history struct {
	rates [historyLen]float32
	n     int
}

func (h *history) add(rate float64) {
	copy(h.rates[:], h.rates[1:])
	h.rates[historyLen-1] = float32(rate)
	h.n = min(h.n+1, historyLen)
}

// last returns the newest n rates, or fewer.
func (h *history) last(n int) []float32 { return h.rates[historyLen-min(n, h.n):] }

// past is what the sampler remembers of a mailbox.
type past struct {
	incarnation uint32
	known       bool
	in, out     uint64
	head        time.Time // since when the message at the head has been seen there, zero when there is none
	accepted    [historyLen]uint32
	history     history
}

// sampler reads the segment and measures the time between two reads. It hands out two samples in turn: one is good until the
// next but one is taken. One goroutine at a time uses it.
type sampler struct {
	program shm.Program
	seg     *shm.Segment
	looker  *mailbox.Inspector
	snap    mailbox.Snapshot
	samples [2]sample
	turn    int
	last    *sample
	past    []past                // by mailbox index
	times   [historyLen]time.Time // of the last samples, the newest last
	since   map[alertKey]time.Time
}

func newSampler(p shm.Program, seg *shm.Segment) *sampler {
	return &sampler{program: p, seg: seg, looker: mailbox.NewInspector(seg), since: map[alertKey]time.Time{}}
}

// next takes a sample. When the program has ended it returns the last one again, marked.
func (s *sampler) next() *sample {
	if s.last != nil && s.last.program.ended {
		return s.last
	}
	self := readProcess(shm.ProcessInfo{PID: s.program.PID, Start: s.program.Start})
	ended := self.kernel == processGone || s.seg.Ended()
	if ended && s.last != nil {
		s.last = s.last.final(time.Now())
		return s.last
	}
	s.looker.Look(&s.snap)
	now := &s.samples[s.turn]
	s.turn = 1 - s.turn
	s.fill(now)
	now.program.stopped = self.kernel == processStopped
	now.alerts = s.alerts(now)
	if ended {
		now = now.final(now.at)
	}
	s.last = now
	return now
}

// final returns the sample marked as the program's last.
func (s *sample) final(at time.Time) *sample {
	f := *s
	f.program.ended, f.program.endedAt = true, at
	f.alerts = append([]alert{{
		kind: alertEnded, who: s.program.name, since: at, text: "this is its last picture",
	}}, s.alerts...)
	return &f
}

func (s *sampler) fill(now *sample) {
	snap := &s.snap
	now.at, now.interval = snap.Time, 0
	if s.last != nil {
		now.interval = now.at.Sub(s.last.at)
	}
	copy(s.times[:], s.times[1:])
	s.times[historyLen-1] = now.at
	now.program = programState{
		name: printable(snap.Segment.Name), pid: s.program.PID, abi: snap.Segment.ABI, size: snap.Size,
		uptime: max(0, now.at.Sub(snap.Segment.Created)),
	}
	now.frames, now.dead = snap.Frames, snap.DeadLetters
	now.ring, now.ringMax, now.limit = snap.RingBytes, snap.RingBytesMax, snap.Limit
	now.procs = now.procs[:0]
	for _, info := range snap.Processes {
		p := readProcess(info)
		p.name = processName(info.ID, info.Name)
		now.procs = append(now.procs, p)
	}
	now.rows = now.rows[:0]
	for i := range snap.Mailboxes {
		now.rows = append(now.rows, s.row(&snap.Mailboxes[i], now))
	}
	now.totals = s.total(now)
}

// row makes a row of what the segment says about a mailbox now and what was seen before.
func (s *sampler) row(m *mailbox.Info, now *sample) row {
	for int(m.Index) >= len(s.past) {
		s.past = append(s.past, past{})
	}
	p := &s.past[m.Index]
	if !p.known || p.incarnation != m.Incarnation {
		*p = past{incarnation: m.Incarnation, known: true}
		if now.interval == 0 {
			p.in, p.out = m.In, m.Out // it was there before the first sample: nobody knows since when
		}
	}
	r := row{
		Info: *m, label: mailboxName(m), worker: processName(m.Process, m.Worker), highest: m.Peak,
		inRate: perSecond(p.in, m.In, now.interval), outRate: perSecond(p.out, m.Out, now.interval),
	}
	if now.interval > 0 {
		p.history.add(r.inRate)
		copy(p.accepted[:], p.accepted[1:])
		p.accepted[historyLen-1] = uint32(min(m.In-min(p.in, m.In), math.MaxUint32))
	}
	r.history = p.history
	if m.Oldest > 0 {
		r.age = m.Oldest
	} else if r.age = s.seenWaiting(p, m, now); r.age > 0 {
		r.ageAtLeast = true
	}
	p.in, p.out = m.In, m.Out
	r.state = stateOf(m, now.procs)
	return r
}

// seenWaiting is for how long the oldest queued message has been seen waiting at least: it has been at the head since the head
// moved, and in the queue since the last messages that fill the rest of it began to come in.
func (s *sampler) seenWaiting(p *past, m *mailbox.Info, now *sample) time.Duration {
	if m.Depth == 0 {
		p.head = time.Time{}
		return 0
	}
	if p.head.IsZero() || p.out != m.Out {
		p.head = now.at
	}
	behind := uint64(m.Depth) - 1 // messages that came after the oldest
	queued := now.at
	for k := historyLen - 1; k > 0 && k > historyLen-1-p.history.n; k-- {
		came := uint64(p.accepted[k])
		if came > behind {
			break // the oldest came after the sample before this one
		}
		behind -= came
		queued = s.times[k-1]
	}
	return max(now.at.Sub(p.head), now.at.Sub(queued))
}

// perSecond is the rate between two counts.
func perSecond(before, now uint64, d time.Duration) float64 {
	if d <= 0 {
		return math.NaN()
	}
	return float64(now-min(before, now)) / d.Seconds()
}

func (s *sampler) total(now *sample) (t totals) {
	if now.interval == 0 {
		t.inRate, t.outRate = math.NaN(), math.NaN()
	}
	missing := map[shm.ProcessID]bool{}
	for i := range now.rows {
		r := &now.rows[i]
		t.inRate += r.inRate
		t.outRate += r.outRate
		t.queued += r.Depth
		t.restarts += uint64(r.Restarts)
		if !r.Alive && r.Process != 0 {
			missing[r.Process] = true
		}
	}
	for _, p := range now.procs {
		delete(missing, p.ID)
		if p.ID.Index() == 0 {
			continue
		}
		t.wanted++
		if p.usable() {
			t.workers++
		}
	}
	t.wanted += len(missing)
	for _, n := range now.dead {
		t.deadLetters += n
	}
	return t
}

// state is what a mailbox does, in one word.
type state string

const (
	stateBad    state = "bad"    // its record makes no sense
	stateClosed state = "closed" // it is being closed
	stateDown   state = "down"   // the process that receives is gone
	stateFull   state = "full"   // senders find no room
	stateWait   state = "wait"   // its actor waits for another's reply
	stateRun    state = "run"    // a message is being handled
	stateReady  state = "ready"  // messages wait to be taken
	stateIdle   state = "idle"
)

func stateOf(m *mailbox.Info, procs []process) state {
	switch {
	case m.Corrupt:
		return stateBad
	case !m.Open:
		return stateClosed
	case m.Process != 0 && (!m.Alive || gone(m.Process, procs)):
		return stateDown
	case m.Depth >= m.Capacity:
		return stateFull
	case m.WaitsFor >= 0:
		return stateWait
	case m.Busy > 0:
		return stateRun
	case m.Depth > 0:
		return stateReady
	}
	return stateIdle
}

// gone reports whether the kernel knows that a process has exited, though nobody has declared it dead yet.
func gone(id shm.ProcessID, procs []process) bool {
	i, ok := slices.BinarySearchFunc(procs, id.Index(), func(p process, index uint32) int { return cmp.Compare(p.ID.Index(), index) })
	return ok && procs[i].ID == id && procs[i].State == shm.ProcLive && procs[i].kernel == processGone
}

func mailboxName(m *mailbox.Info) string {
	if m.Name == "" {
		return "#" + strconv.FormatUint(uint64(m.Index), 10)
	}
	return printable(m.Name)
}

func processName(id shm.ProcessID, name string) string {
	switch {
	case id == 0: // nobody receives yet
		return none
	case name == "":
		return id.String()
	}
	return printable(name)
}
