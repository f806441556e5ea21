package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// lifeEnv holds the orders of a life, as JSON.
const lifeEnv = "SHMACTOR_STORM_LIFE"

// orders are what a life of the program is told: the program that the storm is about, a process of its own, which has the
// workers and the callers.
type orders struct {
	options
	Ledger string
	Life   uint64
}

// report is what a life says in the end.
type report struct {
	Settled []time.Duration // of each kill, sorted
	Dropped uint64          // dead letters, for want of memory
	Notes   []string
}

// playLife is the whole of a process that has the orders of a life; in every other process it returns at once.
func playLife() {
	text, ok := os.LookupEnv(lifeEnv)
	if !ok {
		return
	}
	_ = os.Unsetenv(lifeEnv)
	var o orders
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(exitFailed) // the command is gone
		}()
		l := life{orders: o}
		if err = l.live(); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(l.report)
		}
	}
	if err != nil {
		complain("life %d: %v", o.Life, err)
		os.Exit(exitFailed)
	}
	os.Exit(0)
}

// complain reports what is wrong. A life and its workers write nothing else to stderr.
func complain(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// life is one life of the program.
type life struct {
	orders
	report report
	ledger *ledger
	sys    *actor.System
	killer *killer

	over    chan struct{} // closed: no more kills
	killing sync.WaitGroup
	calling sync.WaitGroup

	collecting sync.WaitGroup
	counts     map[string]uint64 // of dead letters, in the end
}

// systemName is the name of the system, in a runtime directory of the run's own.
const systemName = "storm"

// any number of restarts, at once.
var eager = supervisor.Limits{Restarts: -1, Backoff: -1}

func workerName(w int) string { return fmt.Sprintf("w%d", w) }

func (l *life) spec() supervisor.Spec {
	spec := supervisor.Spec{
		Name: systemName, Limits: eager, Logger: slog.New(slog.DiscardHandler), DeadLetters: supervisor.MaxDeadLettersKept / 16,
		Segment: shm.Options{
			Processes: 2*l.Workers + 1 + 2*clients, // few, so that their numbers come round again
			Mailboxes: 4*l.Workers + 32, RingBytes: 4 << 20, MessageBytes: int64(l.Memory) << 20, MaxMessage: sizeHuge, File: l.File,
		},
	}
	for w := range l.Workers {
		i := uint64(2 * w)
		spec.Children = append(spec.Children, supervisor.Worker(workerName(w), l.target(i), l.target(i+1)).With(supervisor.WithLimits(eager)))
	}
	spec.Children = append(spec.Children, l.target(l.ledger.shape.home()))
	return spec
}

func (l *life) target(i uint64) supervisor.Child {
	return supervisor.Actor(l.ledger.shape.targetName(i), targets.With(place{l.Ledger, i}))
}

// live is the life. All but the last are killed somewhere in it.
func (l *life) live() (err error) {
	if l.ledger, err = ledgerOf(l.Ledger); err != nil {
		return err
	}
	l.ledger.count(countLives)
	filling()
	before := holdings()
	if err = l.begin(); err != nil {
		return err
	}
	l.ledger.count(countStorms)
	small := l.rage()
	l.calm()
	l.inspect(small)
	if err := l.sys.Close(); err != nil {
		complain("close: %v", err)
	}
	l.finish()
	for _, left := range before.left() {
		complain("left behind: %s", left)
	}
	return closeLedger()
}

func (l *life) begin() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), stuckTime)
	defer cancel()
	if l.sys, err = supervisor.Start(ctx, l.spec()); err != nil {
		return err
	}
	l.over = make(chan struct{})
	l.collecting.Go(l.collect)
	l.killer = &killer{ledger: l.ledger, seg: l.sys.Hub().Segment(), over: l.over, kills: map[int]*kill{}}
	for w := range l.Workers {
		l.killing.Go(func() { l.killer.hunt(w, l.random(uint64(w), 1)) })
	}
	l.killing.Go(func() { l.killer.cradle(l.random(0, 2)) })
	for g := l.ledger.shape.home() + 1; g < l.ledger.shape.targets(); g++ {
		l.calling.Go(func() { l.visit(g, l.random(g, 4)) })
	}
	for c := range uint64(clients) {
		l.killing.Go(func() { l.employ(c, l.random(c, 5)) })
	}
	for c := range uint64(l.Callers) {
		one := caller{sender{l.ledger, l.sys, c, l.killer.told}, l.random(c, 3)}
		l.calling.Go(func() { one.work(l.over) })
	}
	return nil
}

// random is a source of its own for each part of each life.
func (l *life) random(who, part uint64) *rand.Rand {
	return rand.New(rand.NewPCG(l.Seed+l.Life<<32, who<<8|part))
}

// rage waits until the storm is over, and returns how much memory there was early on.
func (l *life) rage() uint64 {
	early, end := time.NewTimer(l.For/3), time.NewTimer(l.For)
	defer end.Stop()
	<-early.C
	small := memory()
	select {
	case <-end.C:
	case <-l.sys.Done():
		complain("the system ended: %v", l.sys.Err())
	}
	return small
}

// calm ends the storm: no more kills, no more messages, and then everything that is queued is handled.
func (l *life) calm() {
	close(l.over)
	l.killing.Wait()
	done := make(chan struct{})
	go func() {
		l.calling.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * stuckTime):
		complain("callers are stuck:\n%s", stacks())
	}
	ctx, cancel := context.WithTimeout(context.Background(), stuckTime)
	defer cancel()
	for range 3 { // what a target sends while it handles what was queued reaches another before the second time
		for i := range l.ledger.shape.home() + 1 {
			name := l.ledger.shape.targetName(i)
			if _, err := flush.Call(ctx, targets.Ref(l.sys, name), struct{}{}); err != nil {
				complain("flushing %s: %v", name, err)
			}
		}
	}
}

// visit spawns a guest in one worker after the other, and stops it for good.
func (l *life) visit(g uint64, rng *rand.Rand) {
	for {
		select {
		case <-l.over:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), stuckTime)
		err := supervisor.SpawnIn(ctx, l.sys, workerName(rng.IntN(l.Workers)), l.target(g))
		switch {
		case err == nil:
			l.killer.pause(rng, visitMax)
			if err := supervisor.Stop(ctx, l.sys, l.ledger.shape.targetName(g)); err != nil {
				complain("stopping a guest: %v", err)
			}
		case !errors.Is(err, actor.ErrWorkerDied):
			complain("spawning a guest: %v", err)
		}
		if ctx.Err() != nil {
			l.ledger.count(countStuck)
		}
		cancel()
		l.killer.pause(rng, visitMax/4)
	}
}

const visitMax = 80 * time.Millisecond

// collect takes the dead letters out of the system and enters them, until the system ends.
func (l *life) collect() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.sys.Err() == nil {
		n, err := l.letters()
		switch {
		case errors.Is(err, actor.ErrSystemEnded):
			return
		case err != nil:
			complain("dead letters: %v", err)
			return
		case n == 0:
			select {
			case <-tick.C:
			case <-l.sys.Done():
			}
		}
	}
}

func (l *life) letters() (n int, err error) {
	err = l.ledger.exclusive(func() error {
		list, err := supervisor.DeadLetters(context.Background(), l.sys, supervisor.MaxDeadLetters)
		for _, letter := range list {
			l.enter(letter)
		}
		n = len(list)
		return err
	})
	return n, err
}

// Reasons of dead letters, as people read them.
var (
	diedReason   = shm.WorkerDied.String()
	inHandReason = []string{diedReason, shm.Crashed.String(), shm.HandlerFailed.String()}
)

func (l *life) enter(letter supervisor.DeadLetter) {
	l.ledger.count(countLetters)
	q, whole := unseal(letter.Payload)
	if !whole || !l.ledger.known(q.ID) {
		l.ledger.count(countAlien)
		complain("a dead letter for %q, reason %q, names no message: %d bytes of %d", letter.To, letter.Reason, len(letter.Payload), letter.Size)
		return
	}
	e := &l.ledger.entries[q.ID]
	e.Add(entryLetter)
	if slices.Contains(inHandReason, letter.Reason) {
		e.Or(entryInHand)
	}
	if letter.Reason == diedReason {
		e.Or(entryDied)
	}
}

// inspect looks at the quiet system.
func (l *life) inspect(small uint64) {
	hub := l.sys.Hub()
	var census shm.Census
	var last error
	if !eventually(func() bool {
		if census, last = mailbox.Check(hub.Segment()); last != nil {
			return false
		}
		for st, n := range census.States {
			if s := shm.State(st); s != shm.Free && s != shm.Held && n > 0 {
				last = fmt.Errorf("%d frames are %v", n, s)
			}
		}
		if held, kept := census.Held[hub.Self()], hub.Kept(); held != kept {
			last = fmt.Errorf("the program holds %d frames and keeps %d", held, kept)
		}
		return last == nil
	}) {
		complain("the segment does not come to rest: %v", last)
	}
	l.counts = supervisor.DeadLetterCounts(l.sys)
	if n := len(census.Held); n > l.Workers+1 {
		complain("%d processes hold frames", n)
	}
	if pids := children(); len(pids) != l.Workers {
		complain("there are %d child processes, and %d workers: %v", len(pids), l.Workers, pids)
	}
	if large := memory(); large > small+memoryGrowth && !raceEnabled { // the detector keeps memory of its own
		complain("memory grew from %d to %d bytes", small, large)
	} else {
		l.report.Notes = append(l.report.Notes, fmt.Sprintf("memory of the program: %d KiB after a third of the time, %d KiB in the end", small>>10, large>>10))
	}
}

// finish waits for what ends with the system.
func (l *life) finish() {
	l.collecting.Wait()
	var counted uint64
	for _, n := range l.counts {
		counted += n
	}
	l.report.Dropped = l.counts[shm.DroppedLetters.String()]
	// A process that is killed when it has just counted one, or counted it as dropped, has it counted twice.
	if taken := l.ledger.counted(countLetters); l.report.Dropped == 0 && counted < taken {
		complain("%d dead letters were taken out, and only %d were counted", taken, counted)
	}
	if !eventually(func() bool {
		l.killer.mu.Lock()
		defer l.killer.mu.Unlock()
		return len(l.killer.kills) == 0
	}) {
		complain("%d kills have no figure", len(l.killer.kills))
	}
	l.report.Settled = slices.Sorted(slices.Values(l.killer.settled))
}

// memoryGrowth is what may be in the hands of a collector that runs when it likes.
const memoryGrowth = 32 << 20

// memory is the private memory of this process, after everything unused was given back.
func memory() uint64 {
	debug.FreeOSMemory()
	var kib uint64
	if _, err := fmt.Sscanf(statusLine("/proc/self/status", "RssAnon:"), "%d kB", &kib); err != nil {
		complain("memory: %v", err)
	}
	return kib << 10
}

func stacks() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}

// patience is how long is waited for what is about to happen.
const patience = 10 * time.Second

// eventually waits for a condition.
func eventually(cond func() bool) bool {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		late := time.Now().After(end)
		if cond() {
			return true
		}
		if late {
			return false
		}
	}
}
