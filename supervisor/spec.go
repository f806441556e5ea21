package supervisor

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/bits"
	"os"
	"strings"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// Spec describes a system. Only Name is mandatory.
type Spec struct {
	// Name is what tools show and programs attach to.
	Name string
	// Children are started in order, each when the one before is ready, and stopped in reverse order.
	Children []Child
	// Limits says when restarts are too many, and how long to wait between them.
	Limits Limits
	// Segment sizes the shared memory; see its formula. Its Name is not used. When a process went wild and wrote into it what
	// nobody writes, the system ends: everybody who waits, and Err of the System, get an error that wraps ErrCorrupt, the workers
	// are killed, and a file is kept as PATH.N.old. The program goes on, and may start the system again, as Run does.
	Segment shm.Options
	// DeadLetters is how many dead letters are kept. Default 1,024, at most MaxDeadLettersKept.
	DeadLetters int
	// AlwaysEncode sends every message through its codec, also inside one process: tests find shared state with it.
	AlwaysEncode bool
	// WorkerOutput gets what workers write to stderr, line by line behind the worker's name. Default os.Stderr.
	WorkerOutput io.Writer
	// Logger gets the events of supervision. Default: none but warnings and errors, to stderr.
	Logger *slog.Logger
}

// Restart says when a child that ended is started again.
type Restart int

// The restart types.
const (
	Permanent Restart = iota // always
	Transient                // only when it ended abnormally
	Temporary                // never
)

// String names the restart type.
func (r Restart) String() string {
	if r < Permanent || r > Temporary {
		return fmt.Sprintf("restart type %d", int(r))
	}
	return [...]string{"permanent", "transient", "temporary"}[r]
}

// Limits of a supervisor. The zero value of each field means its default.
type Limits struct {
	// Restarts in Period are allowed; one more ends the supervisor, and its own supervisor decides. Default 10 in 60 s;
	// Restarts negative: any number.
	Restarts int
	Period   time.Duration
	// The first restart of a child is immediate; each further one waits, from Backoff on doubling up to BackoffMax, with
	// a jitter of 20 %. A child that stayed up for max(10 s, twice its delay) begins anew. Default 100 ms and 10 s; negative: no
	// wait.
	Backoff    time.Duration
	BackoffMax time.Duration
}

// MaxDeadLettersKept is the largest number of dead letters that a system keeps.
const MaxDeadLettersKept = mailbox.MaxCapacity / 2

// Defaults of limits and timeouts.
const (
	DefaultRestarts    = 10
	DefaultPeriod      = time.Minute
	DefaultBackoff     = 100 * time.Millisecond
	DefaultBackoffMax  = 10 * time.Second
	DefaultShutdown    = 5 * time.Second
	DefaultReady       = 10 * time.Second
	DefaultDeadLetters = 1024
	healthy            = 10 * time.Second
	stopGrace          = 100 * time.Millisecond // between the end of a context and giving up on a goroutine
	backoffJitter      = 0.2
)

func (l Limits) withDefaults() Limits {
	set := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	if l.Restarts == 0 {
		l.Restarts = DefaultRestarts
	}
	set(&l.Period, DefaultPeriod)
	set(&l.Backoff, DefaultBackoff)
	set(&l.BackoffMax, DefaultBackoffMax)
	return l
}

type childKind int

const (
	actorChild childKind = iota
	workerChild
	supervisorChild
)

// Child is the spec of a child: made by Actor, Worker or Group, changed by With.
type Child struct {
	name     string
	kind     childKind
	recipe   actor.Recipe
	children []Child
	restart  Restart
	shutdown time.Duration
	ready    time.Duration
	limits   Limits
	env      []string
}

// Actor is a child that is an actor with that name.
func Actor(name string, what actor.Spawnable) Child {
	c := Child{name: name, kind: actorChild}
	if what != nil {
		c.recipe = what.Recipe()
	}
	return c.withDefaults()
}

// Worker is a child that is a process of this program's binary with actors in it, which supervises them. Main must be called at the
// top of the program. When the worker is started again, so are its actors, also those that were spawned in it, but for those that
// had ended for good.
func Worker(name string, actors ...Child) Child {
	return Child{name: name, kind: workerChild, children: actors}.withDefaults()
}

// Group is a child that is a supervisor of its own, in this process, with limits of its own. When the group is started again, so
// are its children, but for those that had ended for good.
func Group(name string, children ...Child) Child {
	return Child{name: name, kind: supervisorChild, children: children}.withDefaults()
}

func (c Child) withDefaults() Child {
	c.shutdown = DefaultShutdown
	if c.kind != supervisorChild { // its children have their own
		c.ready = DefaultReady
	}
	return c
}

// Name is the child's name.
func (c Child) Name() string { return c.name }

// ChildOption changes a child's spec.
type ChildOption func(*Child)

// With returns the child with options applied.
func (c Child) With(opts ...ChildOption) Child {
	for _, o := range opts {
		o(&c)
	}
	return c
}

// RestartWhen sets the restart type. Default Permanent.
func RestartWhen(r Restart) ChildOption { return func(c *Child) { c.restart = r } }

// ShutdownTimeout sets how long an orderly stop may take. After it a worker is killed, and an actor's context is cancelled; an actor
// that ignores that is given up. Default 5 s. A Group takes as long as its children.
func ShutdownTimeout(d time.Duration) ChildOption { return func(c *Child) { c.shutdown = d } }

// ReadyTimeout sets how long a start may take. Default 10 s; for a Group no limit besides those of its children.
func ReadyTimeout(d time.Duration) ChildOption { return func(c *Child) { c.ready = d } }

// WithLimits sets the limits of a Worker's or a Group's own supervisor.
func WithLimits(l Limits) ChildOption { return func(c *Child) { c.limits = l } }

// Env adds "NAME=value" pairs to a worker's environment.
func Env(pairs ...string) ChildOption { return func(c *Child) { c.env = append(c.env, pairs...) } }

// mainProcess is how the process that started the system is called in the process table.
const mainProcess = "main"

// systemPrefix begins the names of the runtime's own actors.
const systemPrefix = "$"

// check says all that is wrong with a spec, before anything is started.
func (s Spec) check() error {
	c := specCheck{ids: map[string]bool{}}
	if len(s.Name) > shm.MaxSystemName {
		c.add("the system's name %.20q... has %d bytes, at most %d: %w", s.Name, len(s.Name), shm.MaxSystemName, shm.ErrBadName)
	} else if err := shm.CheckName(s.Name); err != nil {
		c.add("the system's name: %w", err)
	}
	c.children("system "+s.Name, s.Children)
	c.limits("system "+s.Name, s.Limits)
	if s.DeadLetters < 0 || s.DeadLetters > MaxDeadLettersKept {
		c.add("DeadLetters is %d, want 0 to %d", s.DeadLetters, MaxDeadLettersKept)
	}
	if os.Getenv(workerEnv) != "" && !mainCalled.Load() {
		c.add("this process was started as a worker, and did not call supervisor.Main: call it at the top of main, before " +
			"anything else")
	} else if c.workers > 0 {
		c.workersPossible(s.Segment.Heap)
	}
	if len(c.wrong) == 0 {
		c.fits(s)
	}
	if _, err := s.segment().Size(); err != nil {
		c.add("Segment: %w", err)
	}
	return errors.Join(c.wrong...)
}

// segment is what the segment is made from.
func (s Spec) segment() shm.Options {
	o := s.Segment
	o.Name = s.Name
	o.Heap = o.Heap || !sys.Supported
	return o
}

// fits says if the segment is too small for what the spec names: the runtime has two mailboxes of its own, and one a worker.
func (c *specCheck) fits(s Spec) {
	mailboxes, processes := s.Segment.Mailboxes, s.Segment.Processes
	if mailboxes == 0 {
		mailboxes = shm.DefaultMailboxes
	}
	if processes == 0 {
		processes = shm.DefaultProcesses
	}
	if need := c.actors + c.workers + 2; need > mailboxes {
		c.add("the spec needs %d mailboxes, and Segment.Mailboxes is %d: %w", need, mailboxes, shm.ErrNoSpace)
	}
	if need := c.workers + 1; need > processes {
		c.add("the spec needs %d processes, and Segment.Processes is %d: %w", need, processes, shm.ErrNoSpace)
	}
	need := c.messages + c.workers*ringSize(actor.DefaultCapacity) + ringSize(adminCapacity) + ringSize(lettersCapacity(s.letters()))
	if bytes := int64(need) * ringSlot; s.Segment.RingBytes != 0 && bytes > s.Segment.RingBytes {
		c.add("the mailboxes of the spec need %d bytes, and Segment.RingBytes is %d: %w", bytes, s.Segment.RingBytes, shm.ErrNoSpace)
	}
}

// ringSlot is what one message of a mailbox's capacity takes of Segment.RingBytes.
const ringSlot = 8

func (s Spec) letters() int {
	if s.DeadLetters == 0 {
		return DefaultDeadLetters
	}
	return s.DeadLetters
}

// ringSize is what a capacity is rounded up to.
func ringSize(n int) int { return max(2, 1<<bits.Len(uint(max(0, n-1)))) }

type specCheck struct {
	ids                       map[string]bool
	actors, workers, messages int
	inWorker                  bool
	wrong                     []error
}

func (c *specCheck) workersPossible(heap bool) {
	switch {
	case !sys.Supported:
		c.add("a Worker needs Linux: %w", errors.ErrUnsupported)
	case heap:
		c.add("a Worker needs shared memory, and Segment.Heap is set: %w", errors.ErrUnsupported)
	case !mainCalled.Load():
		c.add("a Worker executes this program again, so the program must call supervisor.Main at the top of main (in tests: of " +
			"TestMain)")
	}
}

func (c *specCheck) add(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf("supervisor: "+format, args...))
}

func (c *specCheck) children(of string, children []Child) {
	for i := range children {
		c.child(fmt.Sprintf("child %d of %s", i+1, of), of, &children[i])
	}
}

// child checks one child: position says where it stands, of in whom.
func (c *specCheck) child(position, of string, ch *Child) {
	where := fmt.Sprintf("child %q of %s", ch.name, of)
	if err := shm.CheckName(ch.name); err != nil {
		c.add("%s: %w", position, err)
	} else if strings.HasPrefix(ch.name, systemPrefix) {
		c.add("%s: names that begin with %q are the runtime's: %w", where, systemPrefix, shm.ErrBadName)
	}
	if c.ids[ch.name] {
		c.add("two children have the name %q: %w", ch.name, shm.ErrNameTaken)
	}
	c.ids[ch.name] = true
	if ch.restart < Permanent || ch.restart > Temporary {
		c.add("%s: unknown %v", where, ch.restart)
	}
	if ch.ready < 0 || ch.ready == 0 && ch.kind != supervisorChild {
		c.add("%s: ReadyTimeout is %v, want more than 0", where, ch.ready)
	}
	if ch.shutdown < 0 {
		c.add("%s: ShutdownTimeout is %v", where, ch.shutdown)
	}
	c.limits(where, ch.limits)
	for _, pair := range ch.env {
		if i := strings.IndexByte(pair, '='); i <= 0 || strings.ContainsRune(pair, 0) {
			c.add("%s: Env has %q, want NAME=value", where, pair)
		}
	}
	switch ch.kind {
	case actorChild:
		c.actor(where, ch)
	case workerChild:
		c.workers++
		if c.inWorker {
			c.add("%s: a worker cannot have workers", where)
		}
		if len(ch.name) > shm.MaxSystemName || ch.name == mainProcess {
			c.add("%s: the name of a worker has at most %d bytes, and is not %q: %w", where, shm.MaxSystemName, mainProcess, shm.ErrBadName)
		}
		outer := c.inWorker
		c.inWorker = true
		c.children("worker "+ch.name, ch.children)
		c.inWorker = outer
	case supervisorChild:
		if c.inWorker {
			c.add("%s: a worker holds actors only", where)
			return
		}
		c.children("group "+ch.name, ch.children)
	}
}

func (c *specCheck) actor(where string, ch *Child) {
	c.actors++
	err := ch.recipe.Check()
	if err == nil && c.inWorker {
		err = ch.recipe.CheckWorker()
	}
	if err != nil {
		c.add("%s: %w", where, err)
		return
	}
	n := ch.recipe.Capacity()
	if n < 1 || n > mailbox.MaxCapacity {
		c.add("%s: kind %q has the capacity %d, want 1 to %d", where, ch.recipe.Kind(), n, mailbox.MaxCapacity)
		return
	}
	c.messages += ringSize(n)
}

func (c *specCheck) limits(where string, l Limits) {
	if l.Period < 0 {
		c.add("%s: Limits.Period is %v", where, l.Period)
	}
}
