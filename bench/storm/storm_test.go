package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/supervisor"
)

func TestMain(m *testing.M) {
	supervisor.Main()
	playLife()
	playClient()
	testkit.Run(m, nil)
}

var resultLine = regexp.MustCompile(`(?m)^storm: for=\w+ kills=([1-9]\d*) stops=\d+ parent_kills=(\d+) accepted=\d+ handled=[1-9]\d* failed=\d+ dead=\d+ violations=0$`)

// A short storm of each kind. It fails on any violation: the whole is in the package comment.
func TestStorm(t *testing.T) {
	testkit.NeedWorkers(t)
	if raceEnabled {
		t.Skip("processes with the race detector start too slowly for a storm")
	}
	long := "8s"
	if testing.Short() {
		long = "2s"
	}
	for _, c := range []struct{ name, file string }{{"plain", ""}, {"file", filepath.Join(t.TempDir(), "segment")}} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			var stdout, stderr bytes.Buffer
			status := execute([]string{"-for", long, "-file", c.file}, &stdout, &stderr)
			t.Logf("%s%s", &stdout, &stderr)
			found := resultLine.FindStringSubmatch(stdout.String())
			if status != 0 || found == nil {
				t.Fatalf("exit status %d", status)
			}
			if killed := found[2] != "0"; killed != (c.file != "") {
				t.Errorf("the program was killed %s times", found[2])
			}
		})
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-for", "3s", "-seed", "7", "-workers", "2", "-callers", "5", "-limits"}, io.Discard)
	if want := (options{For: 3 * time.Second, Seed: 7, Workers: 2, Callers: 5, Memory: 128, Limits: true}); err != nil || o != want {
		t.Errorf("got %+v, %v, want %+v", o, err, want)
	}
	o, err = parseOptions([]string{"-file", "x"}, io.Discard)
	if err != nil || o.Seed == 0 || !filepath.IsAbs(o.File) {
		t.Errorf("got %+v, %v, want a seed and an absolute path", o, err)
	}
	for _, args := range []string{"-for 0s", "-for 25h", "-workers 0", "-workers 33", "-callers 0", "-callers 5000", "-memory 3", "more", "-unknown"} {
		var stderr bytes.Buffer
		if status := execute(strings.Fields(args), io.Discard, &stderr); status != exitMisuse || !strings.Contains(stderr.String(), "usage") {
			t.Errorf("%s: exit status %d:\n%s", args, status, &stderr)
		}
	}
	if status := execute([]string{"-h"}, io.Discard, io.Discard); status != 0 {
		t.Errorf("-h: exit status %d", status)
	}
}

// Each account can be violated.
func TestJudge(t *testing.T) {
	const (
		call   = entrySent
		oneWay = entrySent | entryOneWay
		both   = entryBegun | entryDone
		died   = entryLetter | entryInHand | entryDied
	)
	for _, c := range []struct {
		what  string
		entry uint32
		right bool
	}{
		{"nothing", 0, true},
		{"handled, and never sent", both, false},
		{"a call with a reply", call | entryTook | both, true},
		{"a reply without a handler", call | entryTook, false},
		{"a reply of a handler that is not done", call | entryTook | entryBegun, false},
		{"a reply and a dead letter", call | entryTook | both | died, false},
		{"a call that failed before it began", call | entryFailed, true},
		{"a call that failed in hand", call | entryFailed | entryBegun, true},
		{"a call that failed when it was done", call | entryFailed | both, true},
		{"a call handled twice", call | entryFailed | 2*entryBegun, false},
		{"done twice", call | entryFailed | entryBegun | 2*entryDone, false},
		{"done and not begun", call | entryFailed | entryDone, false},
		{"a crash", call | entryFailed | entryCrashed | entryBegun, true},
		{"a crash that was done", call | entryFailed | entryCrashed | both, false},
		{"a crash, while another answers", call | entryFailed | entryCrashed | entryPut | both, true},
		{"a crash before it began", call | entryFailed | entryCrashed, false},
		{"refused", call | entryRefused, true},
		{"refused and begun", call | entryRefused | entryBegun, false},
		{"refused and a dead letter", oneWay | entryRefused | entryLetter, false},
		{"two outcomes", call | entryTook | entryFailed | both, false},
		{"one-way, handled", oneWay | entryTook | both, true},
		{"one-way, failed at the caller", oneWay | entryFailed, false},
		{"a dead letter of one that waited", oneWay | entryTook | entryLetter, true},
		{"a dead letter of one that began, whose reason is none for that", oneWay | entryTook | entryLetter | entryBegun, false},
		{"a dead letter in hand", oneWay | entryTook | entryBegun | died, true},
		{"a dead letter that was done", oneWay | entryTook | both | died, true},
		{"a dead letter that was done and crashed", oneWay | entryTook | both | entryLetter | entryInHand, false},
		{"two dead letters", oneWay | entryTook | (died + entryLetter), false},
		{"a sender died", call, true},
		{"a sender died, and its call was handled", call | both, true},
		{"a sender died, and its call was handled twice", call | (both + entryBegun), false},
		{"a sender died, and its message is a dead letter", oneWay | died, true},
	} {
		var s summary
		if wrong := s.judge(c.entry); (wrong == "") != c.right {
			t.Errorf("%s: %q", c.what, wrong)
		}
		if sum := s.handled + s.failed + s.dead; c.right && s.accepted != sum {
			t.Errorf("%s: accepted %d, settled %d", c.what, s.accepted, sum)
		}
	}
}

// What the processes enter is found by the audit.
func TestAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	if err := createLedger(path, shape{callers: 2, workers: 1, perSender: 4}); err != nil {
		t.Fatal(err)
	}
	l, err := openLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.close() }()
	send := func(sender uint64) uint64 {
		id, ok := l.draw(sender)
		if !ok || l.known(id) {
			t.Errorf("sender %d draws %d, %v", sender, id, ok)
		}
		l.entries[id].Or(entrySent | entryOneWay | entryTook)
		return id
	}
	handle := func(id uint64) {
		l.begin(1, id)
		l.done(id)
	}
	l.count(countKills)
	audit := func(want ...string) {
		t.Helper()
		s := summary{options: options{Limits: true}, report: report{Settled: []time.Duration{settleLimit}}}
		s.audit(l)
		slices.Sort(s.violations)
		text := strings.Join(s.violations, "\n")
		if len(s.violations) != len(want) {
			t.Errorf("got %d violations, want %d:\n%s", len(s.violations), len(want), text)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%q is missing in\n%s", w, text)
			}
		}
	}
	audit("no storm: 1 kills, 0 messages handled")
	first, second := send(0), send(0)
	handle(first)
	handle(second)
	handle(send(4))
	audit()
	third, fourth := send(1), send(1)
	handle(fourth)
	unknown, _ := l.draw(2)
	l.entries[unknown].Or(entrySent | entryOneWay)
	l.begin(2, unknown)
	audit("2 messages were accepted and are lost; 0 dead letters were dropped")
	l.done(unknown)
	handle(third)
	audit("1 messages came before an earlier one")
	handle(fourth)
	audit("1 messages came before", "1 messages began twice", "message 1 of sender 1: impossible")
}

// A message that is not whole is not read.
func TestRequest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		q := request{
			ID: rng.Uint64(), Other: rng.Uint64(), Token: rng.Uint64(), Size: headBytes + rng.Uint32N(5000), Reply: rng.Uint32(),
			Mode: mode(rng.Uint32()), Peer: rng.Uint32(), Linger: rng.Uint32(),
		}
		b := q.seal()
		if got, whole := unseal(b); !whole || got != q {
			t.Fatalf("got %+v, %v, want %+v", got, whole, q)
		}
		torn := slices.Clone(b)
		torn[rng.IntN(len(torn))] ^= byte(1 + rng.IntN(255))
		for what, b := range map[string][]byte{"torn": torn, "cut": b[:rng.IntN(len(b))], "longer": append(b, 0)} {
			if _, whole := unseal(b); whole {
				t.Errorf("a message that is %s is read", what)
			}
		}
	}
}

// Nothing but a living child is ever opened to be killed.
func TestChild(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	for _, pid := range []int{os.Getpid(), os.Getppid(), 1} {
		if h, err := child(pid); err == nil {
			t.Errorf("process %d, which is no child, is opened: %v", pid, h.Release())
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	p, err := os.StartProcess("/bin/cat", []string{"cat"}, &os.ProcAttr{Files: []*os.File{r, os.Stdout, os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := child(p.Pid)
	if err != nil {
		t.Errorf("a child is not opened: %v", err)
	} else {
		_ = h.Release()
	}
	_ = w.Close() // it ends, and stays a zombie until it is waited for
	testkit.Eventually(t, patience, "the child ends", func() bool {
		return strings.HasPrefix(statusLine(fmt.Sprintf("/proc/%d/status", p.Pid), "State:"), "Z")
	})
	if h, err := child(p.Pid); err == nil {
		t.Errorf("a zombie is opened: %v", h.Release())
	}
	if _, err := p.Wait(); err != nil {
		t.Error(err)
	}
	if h, err := child(p.Pid); err == nil {
		t.Errorf("a process that is gone is opened: %v", h.Release())
	}
}
