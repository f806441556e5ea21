//go:build shmactor_points

package supervisor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/points"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// A worker process is killed before an access to shared words, from its first one on, while it starts, serves, spawns and
// stops. Its supervisor starts it again, and the program goes on.

var workerSeed = flag.Uint64("crash.seed", 1, "chooses the deaths of the short run")

// crashEnv tells a worker where to die.
const crashEnv = "SHMACTOR_TEST_CRASH"

type crashOrder struct {
	List   string // file of the list of points
	Point  string // where; nowhere if empty
	Times  int    // the time that it comes there
	Marker string // file that is there when a worker has died: the next life goes on
	Record string // file that gets each point that is reached
}

func init() {
	text, ok := os.LookupEnv(crashEnv)
	if _, worker := os.LookupEnv("SHMACTOR_WORKER"); !ok || !worker {
		return
	}
	if err := traceWorker(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func traceWorker(text string) error {
	var o crashOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	b, err := os.ReadFile(o.List)
	if err != nil {
		return err
	}
	l, err := points.Read(bytes.NewReader(b))
	if err != nil {
		return err
	}
	record, err := os.OpenFile(o.Record, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	t := points.NewTracer(l, func(p *points.Point, times int) {
		if times == 1 {
			_, _ = record.WriteString(p.Name + "\n")
		}
		if p.Name == o.Point && times == o.Times && os.Mkdir(o.Marker, 0o700) == nil {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it is on its way
		}
	})
	t.Turn(true)
	word.Trace(t)
	return nil
}

// deathsShort is how many deaths the short run chooses.
const deathsShort = 60

func TestWorkerCrashAtEveryPoint(t *testing.T) {
	testkit.NeedWorkers(t)
	l, err := points.NewList("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := crashOrder{List: filepath.Join(dir, "points"), Record: filepath.Join(dir, "record")}
	var b bytes.Buffer
	if err := errors.Join(l.Write(&b), os.WriteFile(o.List, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	if !t.Run("nowhere", func(t *testing.T) { lifeOfWorker(t, o) }) {
		return
	}
	text, err := os.ReadFile(o.Record)
	if err != nil {
		t.Fatal(err)
	}
	reached := strings.Split(strings.TrimSpace(string(text)), "\n")
	slices.Sort(reached)
	reached = slices.Compact(reached)
	rng := rand.New(rand.NewPCG(*workerSeed, 0))
	type target struct {
		point string
		times int
	}
	var all []target
	for _, p := range reached {
		all = append(all, target{p, 1}, target{p, 2 + rng.IntN(10)})
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if os.Getenv("SHMACTOR_LONG") == "" {
		all = all[:min(len(all), deathsShort)]
	}
	deaths := 0
	for i, at := range all {
		o.Point, o.Times, o.Marker = at.point, at.times, filepath.Join(dir, fmt.Sprint("died", i))
		t.Run(fmt.Sprintf("%s, time %d", at.point, at.times), func(t *testing.T) { lifeOfWorker(t, o) })
		if _, err := os.Stat(o.Marker); err == nil {
			deaths++
		}
	}
	fmt.Printf("worker crash points: %d points, %d deaths in %d lives\n", len(reached), deaths, len(all))
	if deaths == 0 {
		t.Error("no worker died")
	}
}

// lifeOfWorker starts a system with a worker and has it do what workers do.
func lifeOfWorker(t *testing.T, o crashOrder) {
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(crashEnv, string(text))
	spec := supervisor.Spec{
		Limits: eager, Segment: shm.Options{Mailboxes: 64, MessageBytes: 4 << 20, MaxMessage: 256 << 10},
		Children: []supervisor.Child{a("near"), w(a("far"), a("far too"))},
	}
	s, err := tryStart(t, spec)
	if err != nil { // the worker died while it started: that is told, and the next start is another
		wantError(t, err, actor.ErrWorkerDied, "signal: killed")
		if s, err = startBeside(t, spec); err != nil {
			t.Fatal(err)
		}
	}
	far := s.counter("far")
	s.insist("call", func() error { _, err := add.Call(s.ctx, far, 1); return err })
	s.insist("call back", func() error { _, err := relay.Call(s.ctx, far, order{Name: "near", N: 1}); return err })
	s.insist("call with much", func() error { _, err := reverse.Call(s.ctx, far, make([]byte, 70_000)); return err })
	const sent = 20
	for i := range int64(sent) {
		if err := note.Send(s.ctx, far, i); err != nil {
			t.Errorf("send: %v", err)
		}
	}
	child := a("child")
	s.insist("spawn", func() error { return supervisor.SpawnIn(s.ctx, s.System, "w", child) }, actor.ErrNameTaken)
	s.insist("call what was spawned", func() error { _, err := add.Call(s.ctx, s.counter("child"), 1); return err })
	s.insist("stop", func() error { return supervisor.Stop(s.ctx, s.System, "child") }, actor.ErrNotFound)
	s.insist("call another", func() error { _, err := add.Call(s.ctx, s.counter("far too"), 1); return err })
	var got []int64
	s.insist("read", func() (err error) { got, err = notes.Call(s.ctx, far, struct{}{}); return err })
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("messages were handled out of order or twice: %v", got)
	}
	buried, err := supervisor.DeadLetters(s.ctx, s.System, 2*sent)
	if err != nil || len(buried) > 1 { // the one in hand
		t.Errorf("dead letters: %v, %v", buried, err)
	}
	if _, err := os.Stat(o.Marker); err != nil && (len(got) != sent || len(buried) > 0) {
		t.Errorf("nobody died, and %v of %d messages were handled, dead letters %v", got, sent, buried)
	}
}

// insist does something until it succeeds. It may fail when the worker dies, and there is one death; then, and only then, what
// was asked for may be done already.
func (s *system) insist(what string, f func() error, done ...error) {
	s.t.Helper()
	for tries := 0; ; tries++ {
		err := f()
		switch {
		case err == nil:
			return
		case tries > 0 && slices.ContainsFunc(done, func(e error) bool { return errors.Is(err, e) }):
			return
		case errors.Is(err, actor.ErrWorkerDied) && tries == 0:
		default:
			s.t.Fatalf("%s: %v", what, err)
		}
	}
}
