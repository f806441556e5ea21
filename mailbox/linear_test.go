package mailbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/shmactor/shmactor/internal/testkit"
)

// A history is linearizable if its operations can be put in one order that obeys the specification, where no operation that had
// ended comes after one that began later. The specifications are here; history_test.go and history_call_test.go record what
// the real code does.

// event is one operation of a history, as its client saw it.
type event struct {
	Client   int
	What     string
	Value    int // what was sent or received, or by how much a call raises the total
	Outcome  string
	Total    int   // the answer of a call
	Rest     []int // what a close, or a death, left to the dead letters
	Beside   bool  // another send was under way, which may have waited for room: nobody passes those who do
	From, To int64 // exact machine clock
}

// never is when an operation ends that was cut off: its effect may come at any time, or not at all.
const never = 1<<62 - 1

func (e event) String() string {
	to := fmt.Sprint(e.To - e.From)
	if e.To == never {
		to = "never"
	}
	return fmt.Sprintf("client %d at %d+%s: %s %d: %s %d %v", e.Client, e.From, to, e.What, e.Value, e.Outcome, e.Total, e.Rest)
}

// What clients do, and what came of it.
const (
	doSend    = "send"    // with room or not at all, or waiting until a context ends
	doReceive = "receive" // if there is something, or waiting until a context ends
	doClose   = "close"
	doCall    = "call"
	doRestart = "restart" // another life of the server, which has lost its total

	cameOK      = "ok"
	cameFull    = "full"    // refused: at some moment there was no room that is not for one who waited
	cameEmpty   = "empty"   // at some moment there was nothing
	cameStopped = "stopped" // refused: the mailbox was closed
	cameCrashed = "crashed" // the call failed after it was run
	cameUnknown = "unknown" // cut off, given up, or its server died: it may have had its effect or not
)

// queue is a state of a mailbox: the messages in it, one letter each.
type queue struct {
	messages string
	closed   bool
}

// queueModel is a queue for so many messages. A message is in it from the compare-and-swap that fills its slot to the one that
// empties it: while a receive is under way its message still takes up room, so a refusal beside it is lawful.
func queueModel(capacity int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return queue{} },
		Step: func(state, input, _ any) (bool, any) {
			return state.(queue).step(input.(event), capacity)
		},
		DescribeOperation: func(input, _ any) string { return input.(event).String() },
	}
}

func letter(value int) string { return string(rune(value)) }

func (q queue) step(e event, capacity int) (legal bool, next queue) {
	size := len([]rune(q.messages))
	room := !q.closed && size < capacity
	sent := queue{q.messages + letter(e.Value), q.closed}
	switch e.What + " " + e.Outcome {
	case "send ok":
		return room, sent
	case "send unknown":
		if room {
			return true, sent
		}
		return true, q
	case "send full":
		return !q.closed && (size >= capacity-1 || e.Beside), q // the last place may be left to a process that has the turn
	case "send stopped":
		return q.closed, q
	case "receive ok":
		rest, first := strings.CutPrefix(q.messages, letter(e.Value))
		return first, queue{rest, q.closed}
	case "receive empty":
		return size == 0, q
	case "close ok":
		var rest strings.Builder
		for _, value := range e.Rest {
			rest.WriteString(letter(value))
		}
		return !q.closed && rest.String() == q.messages, queue{"", true}
	}
	return false, q
}

// counter is the state of a server that adds up what it is called with.
type counter struct {
	total  int
	closed bool
}

// counterModel is a counter whose calls answer with the new total.
var counterModel = porcupine.Model{
	Init: func() any { return counter{} },
	Step: func(state, input, _ any) (bool, any) { return state.(counter).step(input.(event)) },
	DescribeOperation: func(input, _ any) string {
		return input.(event).String()
	},
}

func (c counter) step(e event) (legal bool, next counter) {
	raised := counter{c.total + e.Value, c.closed}
	switch e.What + " " + e.Outcome {
	case "call ok":
		return !c.closed && e.Total == raised.total, raised
	case "call crashed":
		return !c.closed, raised
	case "call unknown": // that it had no effect is the same as an effect after everything else
		return true, raised
	case "call stopped":
		return c.closed, c
	case "restart ok":
		return true, counter{0, c.closed}
	case "close ok":
		return !c.closed, counter{c.total, true}
	}
	return false, c
}

// linearizable checks a history.
func linearizable(t testing.TB, model porcupine.Model, history []event) bool {
	t.Helper()
	ops := make([]porcupine.Operation, len(history))
	for i, e := range history {
		e.Beside = slices.ContainsFunc(history, func(o event) bool {
			return o.What == doSend && o.Client != e.Client && o.From <= e.To && e.From <= o.To
		})
		ops[i] = porcupine.Operation{ClientId: e.Client, Input: e, Call: e.From, Return: e.To}
	}
	verdict := porcupine.CheckOperationsTimeout(model, ops, testkit.Scale(limit))
	if verdict == porcupine.Unknown {
		t.Fatalf("no verdict on a history of %d operations:\n%s", len(history), show(history))
	}
	return verdict == porcupine.Ok
}

// show prints a history in the order in which its operations began.
func show(history []event) string {
	sorted := slices.SortedFunc(slices.Values(history), func(a, b event) int { return int(a.From - b.From) })
	var s strings.Builder
	for _, e := range sorted {
		e.From, e.To = e.From-sorted[0].From, max(e.To-sorted[0].From, e.To/never*never)
		fmt.Fprintln(&s, e)
	}
	return s.String()
}

// The specifications themselves: small histories that must pass and that must not. Times are small numbers; a client's
// operations follow each other.
func TestSpecificationOfTheQueue(t *testing.T) {
	send := func(from, to int64, value int, outcome string) event {
		return event{What: doSend, Value: value, Outcome: outcome, From: from, To: to}
	}
	receive := func(from, to int64, value int) event {
		return event{What: doReceive, Value: value, Outcome: cameOK, From: from, To: to}
	}
	empty := func(from, to int64) event { return event{What: doReceive, Outcome: cameEmpty, From: from, To: to} }
	closing := func(from, to int64, rest ...int) event {
		return event{What: doClose, Outcome: cameOK, Rest: rest, From: from, To: to}
	}
	full := []event{send(0, 1, 1, cameOK), send(2, 3, 2, cameOK)} // the capacity
	for _, c := range []struct {
		name    string
		history []event
		want    bool
	}{
		{"in order", append(full, receive(4, 5, 1), receive(6, 7, 2)), true},
		{"reordered", append(full, receive(4, 5, 2), receive(6, 7, 1)), false},
		{"sent at once, in either order", []event{send(0, 9, 1, cameOK), send(0, 9, 2, cameOK), receive(10, 11, 2)}, true},
		{"received twice", append(full, receive(4, 5, 1), receive(6, 7, 1)), false},
		{"lost", append(full, receive(4, 5, 1), empty(6, 7)), false},
		{"received before it was sent", []event{receive(0, 1, 1), send(2, 3, 1, cameOK)}, false},
		{"never sent", []event{receive(0, 1, 1)}, false},
		{"refused with reason", append(full, send(4, 5, 3, cameFull)), true},
		{"refused beside the receive that makes room", append(full, receive(4, 9, 1), send(5, 6, 3, cameFull)), true},
		{"refused when one place is left", append(full, receive(4, 5, 1), send(6, 7, 3, cameFull)), true},
		{"refused when all are", append(full, receive(4, 5, 1), receive(6, 7, 2), send(8, 9, 3, cameFull)), false},
		{"beyond the capacity", append(full, send(4, 5, 3, cameOK)), false},
		{"refused and delivered", append(full, send(4, 5, 3, cameFull), receive(6, 7, 1), receive(8, 9, 2), receive(10, 11, 3)), false},
		{"nothing there", []event{empty(0, 1), send(2, 3, 1, cameOK)}, true},
		{"cut off, and sent", []event{send(0, never, 1, cameUnknown), receive(2, 3, 1)}, true},
		{"cut off, and not sent", []event{send(0, never, 1, cameUnknown), empty(2, 3)}, true},
		{"cut off, not sent and then sent", []event{send(0, never, 1, cameUnknown), empty(2, 3), receive(4, 5, 1)}, true},
		{"cut off, and sent twice", []event{send(0, never, 1, cameUnknown), receive(2, 3, 1), receive(4, 5, 1)}, false},
		{"closed with the rest", append(full, receive(4, 5, 1), closing(6, 7, 2)), true},
		{"closed without the rest", append(full, receive(4, 5, 1), closing(6, 7)), false},
		{"refused after the close", []event{closing(0, 1), send(2, 3, 1, cameStopped)}, true},
		{"refused before the close", []event{send(0, 1, 1, cameStopped), closing(2, 3)}, false},
		{"accepted after the close", []event{closing(0, 1), send(2, 3, 1, cameOK)}, false},
		{"full after the close", append(full, closing(4, 5, 1, 2), send(6, 7, 3, cameFull)), false},
	} {
		if got := linearizable(t, queueModel(2), c.history); got != c.want {
			t.Errorf("%s: linearizable %v, want %v:\n%s", c.name, got, c.want, show(c.history))
		}
	}
}

func TestSpecificationOfTheCounter(t *testing.T) {
	call := func(from, to int64, value, total int) event {
		return event{What: doCall, Value: value, Total: total, Outcome: cameOK, From: from, To: to}
	}
	ended := func(from, to int64, what string, value int, outcome string) event {
		return event{What: what, Value: value, Outcome: outcome, From: from, To: to}
	}
	for _, c := range []struct {
		name    string
		history []event
		want    bool
	}{
		{"one after the other", []event{call(0, 1, 1, 1), call(2, 3, 10, 11)}, true},
		{"at once", []event{call(0, 9, 1, 11), call(0, 9, 10, 10)}, true},
		{"against the order", []event{call(0, 1, 1, 11), call(2, 3, 10, 10)}, false},
		{"run twice", []event{call(0, 1, 1, 2)}, false},
		{"not run", []event{call(0, 1, 1, 1), call(2, 3, 10, 10)}, false},
		{"crossed", []event{call(0, 1, 1, 11), call(0, 1, 10, 1)}, false},
		{"given up and run", []event{ended(0, never, doCall, 1, cameUnknown), call(2, 3, 10, 11)}, true},
		{"given up and run late", []event{ended(0, never, doCall, 1, cameUnknown), call(2, 3, 10, 10), call(4, 5, 5, 16)}, true},
		{"given up and run twice", []event{ended(0, never, doCall, 1, cameUnknown), call(2, 3, 10, 12)}, false},
		{"another life", []event{call(0, 1, 1, 1), ended(2, 3, doRestart, 0, cameOK), call(4, 5, 10, 10)}, true},
		{"another life that remembers", []event{call(0, 1, 1, 1), ended(2, 3, doRestart, 0, cameOK), call(4, 5, 10, 11)}, false},
		{"refused", []event{ended(0, 1, doClose, 0, cameOK), ended(2, 3, doCall, 1, cameStopped)}, true},
		{"refused too early", []event{ended(0, 1, doCall, 1, cameStopped), ended(2, 3, doClose, 0, cameOK)}, false},
		{"answered after the close", []event{ended(0, 1, doClose, 0, cameOK), call(2, 3, 1, 1)}, false},
	} {
		if got := linearizable(t, counterModel, c.history); got != c.want {
			t.Errorf("%s: linearizable %v, want %v:\n%s", c.name, got, c.want, show(c.history))
		}
	}
}
