package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/supervisor"
)

// counter is the actor of most tests.
type counter struct {
	total int64
	notes []int64
}

var (
	counters   = actor.NewKind("counter", func() *counter { return new(counter) })
	add        = actor.NewMethod(counters, "add", (*counter).Add)
	note       = actor.NewMethod(counters, "note", (*counter).Note)
	notes      = actor.NewMethod(counters, "notes", (*counter).Notes)
	echo       = actor.NewMethod(counters, "echo", (*counter).Echo)
	reverse    = actor.NewMethod(counters, "reverse", (*counter).Reverse)
	grow       = actor.NewMethod(counters, "grow", (*counter).Grow)
	carry      = actor.NewMethod(counters, "carry", (*counter).Carry)
	about      = actor.NewMethod(counters, "about", (*counter).About)
	relay      = actor.NewMethod(counters, "relay", (*counter).Relay)
	die        = actor.NewMethod(counters, "die", (*counter).Die)
	wait       = actor.NewMethod(counters, "wait", (*counter).Wait)
	leave      = actor.NewMethod(counters, "leave", (*counter).Leave)
	manage     = actor.NewMethod(counters, "manage", (*counter).Manage)
	write      = actor.NewMethod(counters, "write", (*counter).Write)
	waitAndAdd = actor.NewMethod(counters, "wait and add", (*counter).WaitAndAdd)
	launch     = actor.NewMethod(counters, "launch", (*counter).Launch)
	refuse     = actor.NewMethod(counters, "refuse", func(*counter, context.Context, string) (struct{}, error) { return struct{}{}, errRefused })
	letters    = actor.NewMethod(counters, "letters", (*counter).Letters)
)

var (
	errNegative = actor.RegisterError("test: negative", errors.New("negative"))
	errRefused  = actor.RegisterError("test: refused", errors.New("refused"))
)

// Add adds n, which is not negative.
func (c *counter) Add(_ context.Context, n int64) (int64, error) {
	if n < 0 {
		return 0, fmt.Errorf("%d: %w", n, errNegative)
	}
	c.total += n
	return c.total, nil
}

// Note keeps n; a negative one is refused.
func (c *counter) Note(_ context.Context, n int64) (struct{}, error) {
	if n < 0 {
		return struct{}{}, errNegative
	}
	c.notes = append(c.notes, n)
	return struct{}{}, nil
}

// Notes are what was kept, in order.
func (c *counter) Notes(context.Context, struct{}) ([]int64, error) { return c.notes, nil }

// Echo returns what it gets.
func (c *counter) Echo(_ context.Context, n uint64) (uint64, error) { return n, nil }

// Reverse returns its bytes the other way round.
func (c *counter) Reverse(_ context.Context, b []byte) ([]byte, error) {
	r := slices.Clone(b)
	slices.Reverse(r)
	return r, nil
}

// Grow returns n bytes.
func (c *counter) Grow(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil }

// cargo holds anything, also what cannot be sent.
type cargo struct{ Any any }

// Carry returns a channel if it is asked for one, otherwise what it gets.
func (c *counter) Carry(_ context.Context, what cargo) (cargo, error) {
	if what.Any == "channel" {
		return cargo{make(chan int)}, nil
	}
	return what, nil
}

// facts are what an actor knows of itself.
type facts struct {
	System, Name, Ref, Worker string
	Generation                uint32
	PID, OwnerPID             int
}

// About tells what the actor knows of itself.
func (c *counter) About(ctx context.Context, _ struct{}) (facts, error) {
	self, ok := actor.SelfOf(ctx)
	ref, okRef := counters.Self(ctx)
	if !ok || !okRef {
		return facts{}, errors.New("no self")
	}
	sys := self.System()
	return facts{
		System: sys.Name(), Name: self.Name(), Ref: ref.Name(), Worker: sys.Worker(), Generation: self.Generation(),
		PID: os.Getpid(), OwnerPID: sys.PID(),
	}, nil
}

// Relay has another actor add n.
func (c *counter) Relay(ctx context.Context, o order) (int64, error) {
	self, _ := actor.SelfOf(ctx)
	return add.Call(ctx, counters.Ref(self.System(), o.Name), o.N)
}

type order struct {
	What, Name, Worker string
	N                  int64
}

// Wait waits at a gate, which is an actor of the test's own process.
func (c *counter) Wait(ctx context.Context, gate string) (int64, error) {
	self, _ := actor.SelfOf(ctx)
	_, err := pass.Call(ctx, gates.Ref(self.System(), gate), struct{}{})
	return c.total, err
}

// WaitAndAdd waits at a gate, and then has another actor add 1.
func (c *counter) WaitAndAdd(ctx context.Context, o order) (int64, error) {
	if _, err := c.Wait(ctx, o.What); err != nil {
		return 0, err
	}
	o.N = 1
	return c.Relay(ctx, o)
}

// Leave ends the actor.
func (c *counter) Leave(ctx context.Context, _ struct{}) (struct{}, error) {
	self, _ := actor.SelfOf(ctx)
	self.Stop()
	return struct{}{}, nil
}

// Die waits at the gate of that name, if there is one, and then dies in one of many ways.
func (c *counter) Die(ctx context.Context, o order) (struct{}, error) {
	if o.Name != "" {
		if _, err := c.Wait(ctx, o.Name); err != nil {
			return struct{}{}, err
		}
	}
	switch o.What {
	case "exit":
		os.Exit(int(o.N))
	case "panic":
		panic("out of luck")
	case "goroutine":
		go panic("out of sight")
		select {}
	case "maps":
		m := map[int]int{}
		for g := range 4 {
			go func() {
				for i := 0; ; i++ {
					m[i%64] = g
				}
			}()
		}
		select {}
	case "stack":
		debug.SetMaxStack(1 << 20)
		deep = recurse(1)
	case "goexit":
		runtime.Goexit()
	case "wait":
		select {}
	case "scribble", "run wild":
		self, _ := actor.SelfOf(ctx)
		scribble(self.System().Hub().Segment().File(), o.N)
		if o.What == "run wild" {
			runWild()
		}
		select {}
	}
	return struct{}{}, nil
}

// recurse calls itself until the stack is full.
func recurse(n int) int {
	if n < 0 {
		return 0
	}
	return recurse(n+1) + 1
}

var deep int

// Manage spawns, stops, waits for and looks at actors from inside.
func (c *counter) Manage(ctx context.Context, o order) (struct{}, error) {
	self, _ := actor.SelfOf(ctx)
	sys := self.System()
	switch o.What {
	case "spawn":
		return struct{}{}, supervisor.SpawnIn(ctx, sys, o.Worker, supervisor.Actor(o.Name, argued.With(arg{Start: o.N})))
	case "stop":
		return struct{}{}, supervisor.Stop(ctx, sys, o.Name)
	case "await":
		return struct{}{}, supervisor.WaitFor(ctx, sys, o.Name)
	}
	return struct{}{}, errRefused
}

// Write writes n bytes to stderr, without a line end.
func (c *counter) Write(_ context.Context, n int) (struct{}, error) {
	piece := make([]byte, 64<<10)
	for i := range piece {
		piece[i] = 'x'
	}
	for n > 0 {
		k, err := os.Stderr.Write(piece[:min(n, len(piece))])
		if err != nil {
			return struct{}{}, err
		}
		n -= k
	}
	return struct{}{}, nil
}

// Launch starts a process that outlives this one and holds its stderr, and returns its id.
func (c *counter) Launch(context.Context, struct{}) (int, error) {
	cmd := exec.Command("sleep", "600")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid // before the release, which forgets it
	return pid, cmd.Process.Release()
}

// Letters reads dead letters from inside.
func (c *counter) Letters(ctx context.Context, most int) ([]supervisor.DeadLetter, error) {
	self, _ := actor.SelfOf(ctx)
	return supervisor.DeadLetters(ctx, self.System(), most)
}

// arg is what an argued actor starts from.
type arg struct {
	Start int64
	Fail  string // how Init ends instead of well
	Gate  string // where Init waits
}

// argued is a counter with an argument.
var (
	argued   = actor.NewKindWith("argued", func(a arg) (*arguedCounter, error) { return &arguedCounter{a: a, total: a.Start}, nil })
	arguedUp = actor.NewMethod(argued.Kind, "up", func(c *arguedCounter, _ context.Context, n int64) (int64, error) {
		c.total += n
		return c.total, nil
	})
	arguedDie = actor.NewMethod(argued.Kind, "die", func(*arguedCounter, context.Context, struct{}) (struct{}, error) {
		panic("argued")
	})
)

type arguedCounter struct {
	a     arg
	total int64
}

// Init fails as it was told to.
func (c *arguedCounter) Init(ctx context.Context) error {
	self, _ := actor.SelfOf(ctx)
	if c.a.Gate != "" {
		if _, err := pass.Call(ctx, gates.Ref(self.System(), c.a.Gate), struct{}{}); err != nil {
			return err
		}
	}
	switch c.a.Fail {
	case "error":
		return fmt.Errorf("no such luck: %w", errRefused)
	case "panic":
		panic("at the start")
	case "goroutine":
		go panic("beside the start")
		select {}
	case "exit":
		fmt.Fprintln(os.Stderr, "these are my last words")
		os.Exit(7)
	case "hang":
		<-hung()
	case "spawn":
		return supervisor.Spawn(ctx, self.System(), supervisor.Actor("child of "+self.Name(), counters))
	case "spawn here":
		return supervisor.SpawnIn(ctx, self.System(), self.System().Worker(), supervisor.Actor("child of "+self.Name(), counters))
	}
	return nil
}

// hang holds starts that hang until a test lets go of them.
var hang = struct {
	sync.Mutex
	ch chan struct{}
}{ch: make(chan struct{})}

func hung() <-chan struct{} {
	hang.Lock()
	defer hang.Unlock()
	return hang.ch
}

// releaseHung ends the starts in this process that hang.
func releaseHung() {
	hang.Lock()
	defer hang.Unlock()
	close(hang.ch)
	hang.ch = make(chan struct{})
}

// gate holds those who come up to it, until the test lets them pass. It lives in the test's own process.
type gate struct {
	arrived chan struct{} // has a value for each who came
	open    chan struct{} // a value lets one pass
}

var (
	gates = actor.NewKind("gate", func() *gate { return new(gate) })
	pass  = actor.NewMethod(gates, "pass", func(_ *gate, ctx context.Context, _ struct{}) (struct{}, error) {
		self, _ := actor.SelfOf(ctx)
		g := gateNamed(self.Name())
		g.arrived <- struct{}{}
		select {
		case <-g.open:
			return struct{}{}, nil
		case <-ctx.Done():
			return struct{}{}, context.Cause(ctx)
		}
	})
)

var allGates = struct {
	sync.Mutex
	byName map[string]*gate
}{byName: map[string]*gate{}}

// newGates forgets who came to the gates before.
func newGates() {
	allGates.Lock()
	defer allGates.Unlock()
	clear(allGates.byName)
}

// gateNamed is the gate of that name in this process.
func gateNamed(name string) *gate {
	allGates.Lock()
	defer allGates.Unlock()
	g := allGates.byName[name]
	if g == nil {
		g = &gate{make(chan struct{}, 1000), make(chan struct{}, 1000)}
		allGates.byName[name] = g
	}
	return g
}

// recorder writes down when actors start and stop, in the test's own process.
var recorder = struct {
	sync.Mutex
	lines []string
}{}

func record(line string) {
	recorder.Lock()
	defer recorder.Unlock()
	recorder.lines = append(recorder.lines, line)
}

// recorded takes what was written down.
func recorded() []string {
	recorder.Lock()
	defer recorder.Unlock()
	lines := recorder.lines
	recorder.lines = nil
	return lines
}

// witness records its lives.
type witness struct{ name string }

var witnesses = actor.NewKind("witness", func() *witness { return new(witness) }, actor.InProcess())

// Init records the start.
func (w *witness) Init(ctx context.Context) error {
	self, _ := actor.SelfOf(ctx)
	w.name = self.Name()
	record("+" + w.name)
	return nil
}

// Close records both ends of the stop.
func (w *witness) Close() error {
	record("-" + w.name)
	for range 1000 {
		runtime.Gosched()
	}
	record("." + w.name)
	return nil
}

// stubborn ignores its context.
var (
	stubborns = actor.NewKind("stubborn", func() struct{} { return struct{}{} })
	stay      = actor.NewMethod(stubborns, "stay", func(_ struct{}, ctx context.Context, gate string) (struct{}, error) {
		self, _ := actor.SelfOf(ctx)
		if self.System().Worker() != "" {
			select {}
		}
		g := gateNamed(gate)
		g.arrived <- struct{}{}
		<-g.open
		return struct{}{}, nil
	})
)

// sortedKeys is for messages.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// moody counts its starts in a directory, and as many of them fail as a file there says.
type moodyActor struct{ dir string }

var (
	moody       = actor.NewKindWith("moody", func(dir string) (*moodyActor, error) { return &moodyActor{dir}, nil })
	moodyStarts = actor.NewMethod(moody.Kind, "starts", func(m *moodyActor, _ context.Context, _ struct{}) (int, error) {
		return m.number("starts")
	})
)

func (m *moodyActor) number(file string) (int, error) {
	text, err := os.ReadFile(filepath.Join(m.dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

func (m *moodyActor) set(file string, n int) error {
	return os.WriteFile(filepath.Join(m.dir, file), []byte(strconv.Itoa(n)), 0o600)
}

// Init counts the start, and fails if it is to.
func (m *moodyActor) Init(context.Context) error {
	starts, err := m.number("starts")
	if err != nil {
		return err
	}
	fail, err := m.number("fail")
	if err != nil {
		return err
	}
	if err := m.set("starts", starts+1); err != nil || fail == 0 {
		return err
	}
	return errors.Join(errors.New("in a bad mood"), m.set("fail", fail-1))
}
