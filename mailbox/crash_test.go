//go:build shmactor_points

package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/points"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// A crash is one run of a scenario: a process of its own, the actor, does what the scenario says until it comes to one
// point, and there it is killed. The survivor is this process: it owns the segment, or takes over the file that the actor
// owned, repairs what was left, goes on with the same mailbox, and accounts for every message.

// crashScenario is what the actor does, and what the survivor does about it.
type crashScenario struct {
	name       string
	capacity   int  // of the mailbox "box"; 8 if not set
	owner      bool // the actor owns a segment in a file; otherwise it is a process beside the survivor
	produces   bool // the survivor receives from the box; otherwise the actor does, and the survivor after it
	processes  int  // entries of the process table, if not the usual number
	entering   bool // its points count from before it enters the segment
	redelivers bool // what was begun may be handled once more
	hoards     bool // it may hold all message memory: nobody else can send before it was swept
	setup      func(c *crash)
	ready      func(a *actor)
	prepare    func(a *actor) // of an owner: what it finds, made by an owner before it that was killed
	act        func(a *actor)
	during     func(c *crash) // in the survivor, beside act; it returns early when the actor has come to its point
	after      func(c *crash) // in the survivor, after the sweep
}

// target is where the actor stops: before it comes to a point for the n-th time. The zero target is nowhere.
type target struct {
	point string
	times int
	pause bool // SIGSTOP instead of SIGKILL

	ghost      string // where a process died before that the actor repairs after
	ghostTimes int
}

func (o target) String() string {
	if o.point == "" {
		return "nowhere"
	}
	if o.ghost != "" {
		return fmt.Sprintf("%s, time %d, after a death at %s, time %d", o.point, o.times, o.ghost, o.ghostTimes)
	}
	return fmt.Sprintf("%s, time %d", o.point, o.times)
}

// crash is one run, in the survivor.
type crash struct {
	t        *testing.T
	scenario *crashScenario
	target   target
	list     string // file of the list of points
	path     string // of the segment of an owner
	prepared *prepared
	ctx      context.Context

	seg     *shm.Segment
	hub     *Hub
	box     *Mailbox
	letters *Receiver
	actor   *victim
	victims []*victim  // all, for the end
	token   chan Token // of a deferred call, on its way to the actor

	mu      sync.Mutex
	fates   map[string]*fate
	wrong   []string
	tasks   sync.WaitGroup // what the survivor has begun: it ends whatever becomes of the actor
	serving func()         // ends the survivor's receiver
	hoard   []Draft
	other   *Mailbox
	last    []func()        // done in the end
	dead    []shm.ProcessID // swept beside the actor
	cancel  func()
}

// abort ends a run that makes no sense any more.
type abort struct{ why string }

func (c *crash) errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *crash) must(what string, err error) {
	if err != nil {
		panic(abort{fmt.Sprintf("%s: %v", what, err)})
	}
}

// until waits until cond is true, or the actor has come to its point; it reports which.
func (c *crash) until(what string, cond func() bool) bool {
	return c.poll(what, func() bool { return cond() || c.actor.over() }) && cond()
}

// poll waits until cond is true.
func (c *crash) poll(what string, cond func() bool) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := 20 * time.Microsecond; !cond(); pause = min(2*pause, time.Millisecond) {
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			panic(abort{"waited in vain: " + what})
		}
	}
	return true
}

// crashOptions is a segment that is quick to make: eight spans.
func crashOptions() shm.Options {
	return shm.Options{
		Name: "crash", Processes: 4, Mailboxes: 8, RingBytes: 4 << 10, MessageBytes: 512 << 10, MaxMessage: 150_000,
	}
}

// run runs the scenario once, and returns what was wrong.
func (c *crash) run() (wrong []string) {
	defer c.begin()()
	if c.scenario.owner {
		c.caught(c.runOwner)
	} else {
		c.caught(c.runWorker)
	}
	c.caught(c.close)
	return c.wrong
}

func (c *crash) begin() (end func()) {
	c.fates = map[string]*fate{}
	c.ctx, end = context.WithTimeout(context.Background(), testkit.Scale(limit))
	return end
}

// caught runs f until it ends or aborts the run.
func (c *crash) caught(f func()) {
	defer func() {
		switch why := recover().(type) {
		case nil:
		case abort:
			c.errorf("%s", why.why)
		default:
			panic(why)
		}
	}()
	f()
}

// close lets go of everything, also after an abort.
func (c *crash) close() {
	for _, v := range c.victims {
		_ = v.cmd.Process.Kill()
		_ = v.in.Close()
		<-v.gone
	}
	if c.seg == nil {
		return
	}
	if len(c.wrong) > 0 {
		c.hub.Close(errDeadline) // whoever waits
	}
	c.tasks.Wait()
	c.stopServing()
	c.hub.Close(nil)
	c.seg.End()
	if err := c.seg.Close(); err != nil {
		c.errorf("close: %v", err)
	}
}

// runWorker kills a process beside the survivor, which owns the segment.
func (c *crash) runWorker() {
	seg, err := shm.Create(crashOptions())
	c.must("create", err)
	c.adopt(seg)
	c.makeBoxes()
	if c.scenario.setup != nil {
		c.scenario.setup(c)
	}
	id, err := seg.Grant("actor")
	c.must("grant", err)
	c.actor = c.start(id)
	paused := make(chan struct{})
	go func() {
		defer close(paused)
		c.caught(c.pausedActor)
	}()
	if c.scenario.during != nil {
		c.scenario.during(c)
	}
	<-paused
	c.awaitActor()
	c.progress("before the sweep", c.scenario.produces && !c.scenario.hoards)
	for _, p := range append(c.dead, id) {
		_, err = c.hub.Sweep(p, text)
		c.must("sweep", err)
	}
	if c.scenario.after != nil {
		c.scenario.after(c)
	}
	c.box.NextLife()
	c.serve(nil)
	c.progress("after the sweep", true)
	c.settle()
}

// pausedActor waits for the actor to be stopped, goes on meanwhile, and lets it continue.
func (c *crash) pausedActor() {
	if !c.target.pause {
		return
	}
	select {
	case <-c.actor.at:
	case <-c.actor.gone:
		return
	case <-c.ctx.Done():
		panic(abort{"the actor neither stopped nor ended"})
	}
	defer func() { _ = c.actor.cmd.Process.Signal(syscall.SIGCONT) }()
	c.poll("the actor is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.actor.cmd.Process.Pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		return err != nil || strings.HasPrefix(rest, "T")
	})
	c.progress("beside a stopped process", true)
}

func (c *crash) awaitActor() {
	select {
	case <-c.actor.gone:
	case <-c.ctx.Done():
		panic(abort{"the actor does not end"})
	}
}

// adopt joins a segment of the survivor's own.
func (c *crash) adopt(seg *shm.Segment) {
	c.seg, c.hub = seg, Join(seg, seg.Self())
}

// makeBoxes makes the mailboxes that every scenario has, or finds them in a segment that was taken over.
func (c *crash) makeBoxes() {
	letters, err := c.hub.Create(lettersName, lettersCapacity, 0)
	c.must("the mailbox of dead letters", err)
	c.hub.SetLetters(letters)
	c.letters = letters.Receiver()
	c.must("recover", c.hub.Recover())
	c.box, err = c.hub.Create("box", c.scenario.boxCapacity(), 0)
	c.must("the box", err)
}

const lettersCapacity = 32

func (s *crashScenario) boxCapacity() int {
	if s.capacity == 0 {
		return 8
	}
	return s.capacity
}

// progress makes the survivor send and call: a message is accepted, and where the survivor receives, handled.
func (c *crash) progress(when string, served bool) {
	if !served {
		return
	}
	c.serve(nil)
	one, two := "one-way "+when, "call "+when
	c.send(one)
	c.must(two, c.callNow(two))
	c.poll("handled "+when, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.fate(one).done
	})
}

// send sends a one-way message of the survivor's, which has to be accepted.
func (c *crash) send(name string) {
	c.must("send "+name, c.box.SendBytes(c.ctx, []byte(name)))
	c.note(name, func(f *fate) { f.accepted = true })
}

// callNow calls and waits for the end.
func (c *crash) callNow(name string) error { return c.callWith(c.ctx, name, 0) }

func (c *crash) callWith(ctx context.Context, name string, size int) error {
	c.note(name, func(f *fate) { f.call = true })
	_, err := c.box.CallBytes(ctx, sized(name, size))
	if err == nil {
		c.note(name, func(f *fate) { f.replied = true })
	}
	return err
}

// call begins a call that ends well, or with what its receiver's death is called, or as the scenario allows.
func (c *crash) call(name string, size int, allowed ...error) {
	c.callCtx(c.ctx, name, size, append(allowed, ErrWorkerDied)...)
}

func (c *crash) callCtx(ctx context.Context, name string, size int, allowed ...error) {
	c.tasks.Go(func() {
		err := c.callWith(ctx, name, size)
		for _, e := range allowed {
			if errors.Is(err, e) {
				return
			}
		}
		if err != nil {
			c.errorf("call %s: %v", name, err)
		}
	})
}

// sized is a payload that bears a name, of at least size bytes.
func sized(name string, size int) []byte {
	b := append([]byte(name), '|')
	return append(b, make([]byte, max(0, size-len(b)))...)
}

// nameOf is the name that a payload bears.
func nameOf(b []byte) string {
	name, _, _ := strings.Cut(string(b), "|")
	return name
}

// serve makes the survivor the receiver of the box, if it is not yet. handle may do something else than to answer; then it
// returns true.
func (c *crash) serve(handle func(m *Message, name string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.serving != nil {
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	r := c.box.Receiver()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Close()
		for {
			m, _, err := r.Receive(ctx)
			if err != nil {
				return
			}
			if m.hub != nil {
				c.handle(&m, handle)
			}
		}
	}()
	c.serving = func() { cancel(); <-done }
}

func (c *crash) handle(m *Message, handle func(m *Message, name string) bool) {
	b, err := m.Bytes()
	if err != nil {
		c.errorf("a payload: %v", err)
	}
	name, size := nameOf(b), len(b)
	c.note(name, func(f *fate) { f.took = append(f.took, "the survivor") })
	switch {
	case handle != nil && handle(m, name):
	case m.IsCall():
		if err := m.Reply(sized(name, size)); err != nil && !errors.Is(err, ErrReplied) {
			c.errorf("reply: %v", err)
		}
	default:
		m.Release()
		c.note(name, func(f *fate) { f.done = true })
	}
}

func (c *crash) stopServing() {
	c.mu.Lock()
	end := c.serving
	c.serving = nil
	c.mu.Unlock()
	if end != nil {
		end()
	}
}

// later does f when everything else has ended.
func (c *crash) later(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = append(c.last, f)
}

// settle ends everything in order, and accounts for every message and every frame.
func (c *crash) settle() {
	c.tasks.Wait()
	c.poll("the box is empty", func() bool { return c.box.rec[recTail].Load() == c.box.rec[recHead].Load() })
	c.stopServing()
	for _, f := range c.last {
		f()
	}
	c.hub.CloseUnclaimed()
	c.takeLetters()
	for name, f := range c.fates {
		if why := f.check(c.seg.DeadLetterCounts()[shm.DroppedLetters] > 0, c.mostTaken()); why != "" {
			c.errorf("message %q: %s: %+v", name, why, *f)
		}
	}
	c.box.Close(shm.SystemEnded)
	census, err := Check(c.seg)
	if err != nil {
		c.errorf("check: %v", err)
	}
	if n := census.Held[c.hub.Self()]; n != c.hub.Kept() {
		c.errorf("%d frames are held, %d kept", n, c.hub.Kept())
	}
	for st, n := range census.States {
		if st := shm.State(st); n != 0 && st != shm.Held || st == shm.Held && n != c.hub.Kept() {
			c.errorf("%d frames are %v", n, st)
		}
	}
}

// mostTaken is how often a message may be handled.
func (c *crash) mostTaken() int {
	if c.scenario.redelivers {
		return attempts
	}
	return 1
}

// listFile writes the list of points where actors find it.
func listFile(t *testing.T) (*points.List, string) {
	t.Helper()
	l, err := points.NewList("..")
	must(t, err)
	path := filepath.Join(t.TempDir(), "points")
	f, err := os.Create(path)
	must(t, err)
	must(t, errors.Join(l.Write(f), f.Close()))
	return l, path
}
