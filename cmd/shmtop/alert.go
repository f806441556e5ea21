package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// alertKind names what somebody should look at.
type alertKind string

const (
	alertEnded   alertKind = "program-ended"
	alertDown    alertKind = "worker-down"
	alertStopped alertKind = "worker-stopped"
	alertMemory  alertKind = "memory-low"
	alertFull    alertKind = "mailbox-full"
)

// severity is the order in which alerts are shown.
var severity = []alertKind{alertEnded, alertDown, alertStopped, alertMemory, alertFull}

// alert is one thing that somebody should look at.
type alert struct {
	kind  alertKind
	who   string
	since time.Time // when this viewer saw it first
	text  string
}

// alertKey tells whether an alert is the same as one of the sample before.
type alertKey struct {
	kind alertKind
	who  string
}

// memoryLow is the part of the message memory from which on an alert is given.
const memoryLow = 0.9

// stillFull is how full a mailbox that was full has to be for its alert to last: it would flicker otherwise, as each message
// that is taken makes room for one.
const stillFull = 0.9

// alerts finds what somebody should look at, the worst first and then the oldest.
func (s *sampler) alerts(now *sample) []alert {
	var all []alert
	add := func(kind alertKind, who, text string) {
		all = append(all, alert{kind: kind, who: who, text: text})
	}
	processAlerts(now, add)
	if used := now.frames.Used(); float64(used) > memoryLow*float64(now.frames.Total) {
		add(alertMemory, "memory", fmt.Sprintf("messages fill %s of %s", size(used), size(now.frames.Total)))
	}
	for i := range now.rows {
		r := &now.rows[i]
		_, before := s.since[alertKey{alertFull, r.label}]
		if r.state == stateFull || before && r.fill() >= stillFull {
			add(alertFull, r.label, fullText(r))
		}
	}
	since := make(map[alertKey]time.Time, len(all))
	for i := range all {
		a := &all[i]
		k := alertKey{a.kind, a.who}
		a.since = now.at
		if before, ok := s.since[k]; ok {
			a.since = before
		}
		since[k] = a.since
	}
	s.since = since
	slices.SortStableFunc(all, func(a, b alert) int {
		return cmp.Or(
			cmp.Compare(slices.Index(severity, a.kind), slices.Index(severity, b.kind)),
			a.since.Compare(b.since),
			strings.Compare(a.who, b.who),
		)
	})
	return all
}

// processAlerts looks at the processes: those that are gone, with what waits for them, and those that are stopped.
func processAlerts(now *sample, add func(kind alertKind, who, text string)) {
	type waiting struct{ mailboxes, queued int }
	down := map[string]*waiting{}
	var names []string
	lost := func(who string) *waiting {
		if down[who] == nil {
			down[who] = &waiting{}
			names = append(names, who)
		}
		return down[who]
	}
	for i := range now.rows {
		if r := &now.rows[i]; r.state == stateDown {
			w := lost(r.worker)
			w.mailboxes++
			w.queued += r.Depth
		}
	}
	for i := range now.procs {
		switch p := &now.procs[i]; {
		case !p.usable() && p.kernel == processGone && p.PID != 0:
			lost(p.name)
		case p.kernel == processStopped:
			add(alertStopped, p.name, fmt.Sprintf("pid %d is stopped by a signal", p.PID))
		}
	}
	for _, who := range names {
		w := down[who]
		add(alertDown, who, fmt.Sprintf("%s, %d queued", plural(w.mailboxes, "mailbox", "mailboxes"), w.queued))
	}
}

func fullText(r *row) string {
	text := fmt.Sprintf("%d/%d", r.Depth, r.Capacity)
	if r.RoomWaiters > 0 {
		text += ", " + plural(r.RoomWaiters, "process waits", "processes wait") + " for room"
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
