package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/shmactor/shmactor/shm"
)

// jsonVersion grows when a key changes its meaning or goes; a new key does not change it.
const jsonVersion = 1

// picture is what --json prints. Numbers are raw, keys name their units, null is what is not known.
type picture struct {
	V         int           `json:"v"`
	TS        int64         `json:"ts_ns"` // Unix time
	Interval  int64         `json:"interval_ns"`
	Program   programJSON   `json:"program"`
	Mailboxes []mailboxJSON `json:"mailboxes"`
	Processes []processJSON `json:"processes"`
	Alerts    []alertJSON   `json:"alerts"`
}

type programJSON struct {
	Name            string            `json:"name"`
	PID             int               `json:"pid"`
	ABI             int               `json:"abi"`
	Uptime          int64             `json:"uptime_ns"`
	Ended           bool              `json:"ended"`
	Size            int64             `json:"segment_bytes"`
	Memory          int64             `json:"memory_bytes"`
	MemoryUsed      int64             `json:"memory_used_bytes"`
	MemoryHeld      int64             `json:"memory_held_bytes"`
	MemoryEstimated bool              `json:"memory_estimated"`
	Frames          map[string]int64  `json:"frames"` // by state
	Rings           int64             `json:"rings_bytes"`
	RingsUsed       int64             `json:"rings_used_bytes"`
	MailboxesMax    int               `json:"mailboxes_max"`
	Workers         int               `json:"workers"`
	WorkersWanted   int               `json:"workers_wanted"`
	InPerS          *float64          `json:"in_per_s"`
	OutPerS         *float64          `json:"out_per_s"`
	Queued          int               `json:"queued"`
	DeadLetters     map[string]uint64 `json:"dead_letters"` // by reason
}

type mailboxJSON struct {
	Name        string   `json:"name"`
	Hash        string   `json:"hash"` // hexadecimal, as is kind: they do not fit the numbers of JSON
	Kind        string   `json:"kind"`
	Index       uint32   `json:"index"`
	Incarnation uint32   `json:"incarnation"`
	Worker      string   `json:"worker"`
	WorkerAlive bool     `json:"worker_alive"`
	State       state    `json:"state"`
	Parked      bool     `json:"parked"`
	Depth       int      `json:"depth"`
	Cap         int      `json:"cap"`
	Peak        int      `json:"peak"`
	In          uint64   `json:"in_total"`
	Out         uint64   `json:"out_total"`
	InPerS      *float64 `json:"in_per_s"`
	OutPerS     *float64 `json:"out_per_s"`
	Handled     uint64   `json:"handled_total"`
	Errors      uint64   `json:"errors_total"`
	Crashes     uint64   `json:"crashes_total"`
	Restarts    uint32   `json:"restarts_total"`
	Expired     uint64   `json:"expired_total"`
	Abandoned   uint64   `json:"abandoned_total"`
	Dead        uint64   `json:"dead_letters_total"`
	Refused     uint64   `json:"refused_total"`
	Blocked     int      `json:"blocked"` // processes with senders that wait for room
	Busy        *int64   `json:"busy_ns"`
	Oldest      *int64   `json:"oldest_ns"`
	OldestLeast bool     `json:"oldest_at_least"` // it was not sampled: it has been seen for so long
	WaitsFor    string   `json:"waits_for,omitempty"`
}

type processJSON struct {
	Name  string `json:"name"`
	ID    string `json:"id"` // entry and life
	PID   int    `json:"pid"`
	State string `json:"state"`  // in the segment
	OS    string `json:"kernel"` // what the kernel says: running, stopped, gone
	CPU   int64  `json:"cpu_ns"`
	RSS   int64  `json:"rss_bytes"`
}

type alertJSON struct {
	Kind  alertKind `json:"kind"`
	Who   string    `json:"who"`
	Since int64     `json:"since_ns"` // Unix time when this viewer saw it first
	Text  string    `json:"text"`
}

// writeJSON prints the picture as one object in one line.
func writeJSON(w io.Writer, m model) error { return json.NewEncoder(w).Encode(pictureOf(m)) }

func pictureOf(m model) picture {
	s := m.shown
	p := picture{
		V: jsonVersion, TS: s.at.UnixNano(), Interval: s.interval.Nanoseconds(), Program: programOf(s),
		Mailboxes: []mailboxJSON{}, Processes: []processJSON{}, Alerts: []alertJSON{},
	}
	names := make(map[int64]string, len(s.rows))
	for i := range s.rows {
		names[int64(s.rows[i].Index)] = s.rows[i].Name
	}
	for i := range m.rows {
		r := m.at(i)
		j := mailboxOf(r)
		j.WaitsFor = names[r.WaitsFor]
		p.Mailboxes = append(p.Mailboxes, j)
	}
	for i := range s.procs {
		q := &s.procs[i]
		p.Processes = append(p.Processes, processJSON{
			Name: q.name, ID: q.ID.String(), PID: q.PID, State: q.State.String(), OS: string(q.kernel),
			CPU: q.cpu.Nanoseconds(), RSS: q.rss,
		})
	}
	for _, a := range s.alerts {
		p.Alerts = append(p.Alerts, alertJSON{Kind: a.kind, Who: a.who, Since: a.since.UnixNano(), Text: a.text})
	}
	return p
}

func programOf(s *sample) programJSON {
	p := programJSON{
		Name: s.program.name, PID: s.program.pid, ABI: s.program.abi, Uptime: s.program.uptime.Nanoseconds(), Ended: s.program.ended,
		Size: s.program.size, Memory: s.frames.Total, MemoryUsed: s.frames.Used(), MemoryHeld: s.frames.Kept(),
		MemoryEstimated: s.frames.Estimated, Frames: map[string]int64{}, Rings: s.ringMax, RingsUsed: s.ring,
		MailboxesMax: s.limit, Workers: s.totals.workers, WorkersWanted: s.totals.wanted,
		InPerS: number(s.totals.inRate), OutPerS: number(s.totals.outRate), Queued: s.totals.queued,
		DeadLetters: map[string]uint64{},
	}
	for st, n := range s.frames.States {
		if n > 0 {
			p.Frames[shm.State(st).String()] = n
		}
	}
	for why, n := range s.dead {
		if n > 0 {
			p.DeadLetters[shm.Reason(why).String()] = n
		}
	}
	return p
}

func mailboxOf(r *row) mailboxJSON {
	return mailboxJSON{
		Name: r.Name, Hash: hex(r.Hash), Kind: hex(r.Kind), Index: r.Index, Incarnation: r.Incarnation,
		Worker: r.worker, WorkerAlive: r.Alive && r.state != stateDown, State: r.state, Parked: r.Parked,
		Depth: r.Depth, Cap: r.Capacity, Peak: r.highest, In: r.In, Out: r.Out, InPerS: number(r.inRate), OutPerS: number(r.outRate),
		Handled: r.Handled, Errors: r.Errors, Crashes: r.Crashes, Restarts: r.Restarts, Expired: r.Expired, Abandoned: r.Abandoned,
		Dead: r.Dead, Refused: r.Refused, Blocked: r.RoomWaiters,
		Busy: positive(r.Busy.Nanoseconds()), Oldest: positive(r.age.Nanoseconds()), OldestLeast: r.ageAtLeast,
	}
}

func hex(n uint64) string { return fmt.Sprintf("%016x", n) }

// number is nil for a rate that is not known.
func number(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

// positive is nil for a duration that is not known.
func positive(n int64) *int64 {
	if n <= 0 {
		return nil
	}
	return &n
}
