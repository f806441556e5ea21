package main

import (
	"fmt"
	"io"
	"time"
)

// summary is what came of a run.
type summary struct {
	options
	report
	lasted      time.Duration
	parentKills int
	violations  []string

	clients                                           uint64
	kills, cradle, stops                              uint64
	accepted, handled, failed, dead, refused, unknown uint64
	lost                                              uint64
}

// violationsMax bounds what is said about a run in which everything is wrong.
const violationsMax = 30

func (s *summary) violate(format string, args ...any) {
	switch n := len(s.violations); {
	case n < violationsMax:
		s.violations = append(s.violations, fmt.Sprintf(format, args...))
	case n == violationsMax:
		s.violations = append(s.violations, "and so on")
	}
}

// audit settles the accounts.
func (s *summary) audit(l *ledger) {
	s.kills, s.cradle, s.stops = l.counted(countKills)+l.counted(countClients), l.counted(countCradle), l.counted(countStops)
	s.clients = l.counted(countClients)
	for c, what := range map[int]string{
		countTorn: "payloads were torn", countOrder: "messages came before an earlier one of their sender",
		countTwice: "messages began twice", countAlien: "dead letters name no message", countStuck: "senders were stuck",
	} {
		if n := l.counted(c); n > 0 {
			s.violate("%d %s", n, what)
		}
	}
	for sender := range l.shape.senders() {
		sent := l.next[sender].Load()
		if sent >= l.shape.perSender {
			s.violate("sender %d used up its %d numbers: the ledger is too small", sender, l.shape.perSender)
		}
		for n := range min(sent, l.shape.perSender) {
			id := sender*l.shape.perSender + n
			if wrong := s.judge(l.entries[id].Load()); wrong != "" {
				s.violate("message %d of sender %d: %s", n, sender, wrong)
			}
		}
	}
	if s.lost > s.Dropped {
		s.violate("%d messages were accepted and are lost; %d dead letters were dropped", s.lost, s.Dropped)
	}
	if s.accepted != s.handled+s.failed+s.dead {
		s.violate("accepted %d, and handled %d, failed %d, dead %d", s.accepted, s.handled, s.failed, s.dead)
	}
	if s.kills == 0 || s.handled == 0 {
		s.violate("no storm: %d kills, %d messages handled", s.kills, s.handled)
	}
	if _, p99 := s.percentiles(); s.Limits && p99 > settleLimit {
		s.violate("p99 from a kill until it is settled is %v, at most %v", p99, settleLimit)
	}
}

// judge holds one message against its outcome: the accounts of the package comment.
func (s *summary) judge(e uint32) (wrong string) {
	begun, done, letters := e&entryCount, e/entryDone&entryCount, e/entryLetter&entryCount
	oneWay, inHand := e&entryOneWay != 0, e&entryInHand != 0
	say := func(what string) string {
		return fmt.Sprintf("%s: one-way %v, begun %d, done %d, dead letters %d, in hand %v, entry %#x", what, oneWay, begun, done, letters, inHand, e)
	}
	if begun > 1 || done > begun || letters > 1 || letters > 0 && !oneWay || letters > 0 && begun > 0 && !inHand ||
		letters > 0 && done > 0 && e&entryDied == 0 {
		return say("impossible")
	}
	took := e&outcomes == entryTook
	switch {
	case e&entrySent == 0: // its sender died before
		if e != 0 {
			return say("it was not sent")
		}
	case e&outcomes == 0:
		s.unknown++
		if oneWay && begun > done && letters == 0 {
			s.lost++
		}
	case e&outcomes == entryRefused:
		s.refused++
		if begun+done+letters > 0 {
			return say("it was refused")
		}
	case took && !oneWay:
		s.accepted++
		s.handled++
		if begun != 1 || done != 1 {
			return say("its caller has a reply")
		}
	case e&outcomes == entryFailed && !oneWay:
		s.accepted++
		s.failed++
		if e&entryCrashed != 0 && (begun != 1 || done != 0 && e&entryPut == 0) {
			return say("it crashed")
		}
	case took && letters == 1:
		s.accepted++
		s.dead++
	case took && done == 1:
		s.accepted++
		s.handled++
	case took && oneWay: // a dead letter that was dropped, or else it is lost
		s.accepted++
		s.dead++
		s.lost++
	default:
		return say("more than one outcome")
	}
	return ""
}

// settleLimit is how long a kill may take until it is settled, for 99 of 100.
const settleLimit = 20 * time.Millisecond

// percentiles are those of the time from a kill until it is settled.
func (s *summary) percentiles() (p50, p99 time.Duration) {
	n := len(s.Settled)
	if n == 0 {
		return 0, 0
	}
	return s.Settled[n/2], s.Settled[min(n-1, n*99/100)]
}

func (s *summary) write(w io.Writer) {
	p50, p99 := s.percentiles()
	for _, note := range s.Notes {
		_, _ = fmt.Fprintln(w, note)
	}
	_, _ = fmt.Fprintf(w, "SIGKILL to all callers told and all frames free: p50 %v, p99 %v, limit %v (%d kills)\n", p50, p99, settleLimit, len(s.Settled))
	_, _ = fmt.Fprintf(w, "of the kills %d were of attached programs and %d of workers that had not joined yet\n", s.clients, s.cradle)
	_, _ = fmt.Fprintf(w, "besides what was accepted: %d refused, %d unknown, %d dead letters dropped\n", s.refused, s.unknown, s.Dropped)
	_, _ = fmt.Fprintf(w, "storm: for=%v kills=%d stops=%d parent_kills=%d accepted=%d handled=%d failed=%d dead=%d violations=%d\n",
		s.lasted.Round(time.Second), s.kills, s.stops, s.parentKills, s.accepted, s.handled, s.failed, s.dead, len(s.violations))
}
