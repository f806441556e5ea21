package actor

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/shmactor/shmactor/internal/codec"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// DefaultCapacity is how many messages a mailbox holds when its kind does not say.
const DefaultCapacity = 64

// Kind is a kind of actor: a name, how a fresh value of it is made, and the methods that NewMethod gives it. Kinds are made
// once, in package-level variables. T is what the methods are called on, usually a pointer to a struct.
//
// T may have two more methods, which are no messages:
//
//	Init(ctx context.Context) error   // runs before the first message of each life; an error is a failed start
//	Close() error                     // runs after the last message of a life that was stopped, not after a crash
type Kind[T any] struct{ class *class }

// NewKind makes a kind. fresh makes the value of each life. A name that is taken, or is no name, is reported by everything that
// uses the kind, first of all by the start of the system.
func NewKind[T any](name string, fresh func() T, opts ...KindOption) Kind[T] {
	c := newClass(name, opts)
	if fresh == nil {
		c.failNoFresh()
	}
	c.fresh = func(any) (any, error) { return fresh(), nil }
	c.register()
	return Kind[T]{c}
}

// KindWith is a kind whose values are made from one argument, which each child's spec gives: the same at each restart,
// encoded for workers.
type KindWith[T, A any] struct{ Kind[T] }

// NewKindWith makes a kind with an argument.
func NewKindWith[T, A any](name string, fresh func(A) (T, error), opts ...KindOption) KindWith[T, A] {
	c := newClass(name, opts)
	if fresh == nil {
		c.failNoFresh()
	}
	arg, err := codec.For[A]()
	if err != nil {
		c.argErr = fmt.Errorf("actor: the argument of kind %q: %w", name, err)
	}
	c.needsArg = true
	c.fresh = func(a any) (any, error) { v, _ := a.(A); return fresh(v) }
	c.encodeArg = func(a any) ([]byte, error) {
		if c.argErr != nil {
			return nil, c.argErr
		}
		v, _ := a.(A)
		return appendTo(arg, nil, &v)
	}
	c.decodeArg = func(b []byte) (any, error) {
		var v A
		if c.argErr != nil {
			return nil, c.argErr
		}
		err := arg.Decode(b, &v)
		return v, err
	}
	c.register()
	return KindWith[T, A]{Kind[T]{c}}
}

// With gives the argument: what a child's spec takes.
func (k KindWith[T, A]) With(arg A) Recipe { return Recipe{class: k.class, arg: arg, hasArg: true} }

// Name is the kind's name.
func (k Kind[T]) Name() string { return k.Recipe().Kind() }

// Recipe makes a Kind usable in a child's spec.
func (k Kind[T]) Recipe() Recipe { return Recipe{class: k.class} }

// Spawnable is what a child's spec takes: a Kind, or a KindWith and its argument.
type Spawnable interface {
	// Recipe is the kind and its argument.
	Recipe() Recipe
}

// Recipe is a kind and its argument.
type Recipe struct {
	class  *class
	arg    any
	hasArg bool
}

// Recipe returns r.
func (r Recipe) Recipe() Recipe { return r }

// Kind is the name of the kind.
func (r Recipe) Kind() string {
	if r.class == nil {
		return ""
	}
	return r.class.name
}

// Capacity is the kind's mailbox capacity.
func (r Recipe) Capacity() int {
	if r.class == nil {
		return 0
	}
	return r.class.capacity
}

// KindHash is what a mailbox of this kind carries.
func (r Recipe) KindHash() uint64 {
	if r.class == nil {
		return 0
	}
	return r.class.hash
}

var errZeroKind = errors.New("actor: the zero Kind is no kind; make it with NewKind")

// Check says what is wrong with the kind, its methods or the argument.
func (r Recipe) Check() error {
	if r.class == nil {
		return errZeroKind
	}
	if r.class.needsArg != r.hasArg {
		return fmt.Errorf("actor: kind %q is made with an argument (%v), and none is given (%v): use With", r.class.name,
			r.class.needsArg, !r.hasArg)
	}
	return r.class.problem()
}

// CheckWorker says why a worker process cannot have this actor.
func (r Recipe) CheckWorker() error {
	if err := r.Check(); err != nil {
		return err
	}
	if r.class.late {
		return fmt.Errorf("actor: kind %q is made after supervisor.Main: a worker process cannot know it; make it in a "+
			"package-level variable", r.class.name)
	}
	if r.class.inProcess {
		return fmt.Errorf("actor: kind %q is made with InProcess: it cannot run in a worker", r.class.name)
	}
	_, err := r.Arg()
	return err
}

// Arg encodes the argument for another process.
func (r Recipe) Arg() ([]byte, error) {
	if r.class == nil || !r.hasArg {
		return nil, nil
	}
	return r.class.encodeArg(r.arg)
}

// RecipeOf finds the kind with that name in this process and decodes its argument: a worker's side of a spec.
func RecipeOf(kind string, arg []byte) (Recipe, error) {
	c := classes.find(kind)
	if c == nil {
		return Recipe{}, fmt.Errorf("actor: no kind has the name %q in this process: %w", kind, ErrNotFound)
	}
	r := Recipe{class: c, hasArg: c.needsArg}
	if !c.needsArg {
		return r, nil
	}
	v, err := c.decodeArg(arg)
	if err != nil {
		return Recipe{}, fmt.Errorf("actor: the argument of kind %q: %w", kind, err)
	}
	r.arg = v
	return r, nil
}

// KindOption changes a kind.
type KindOption func(*class)

// Capacity sets how many messages wait in a mailbox of the kind before senders wait; it is rounded up to a power of two.
func Capacity(n int) KindOption { return func(c *class) { c.capacity = n } }

// InProcess says that actors of the kind never run in a worker and are never called from another process; then their methods
// may take and return what cannot be encoded, such as channels and functions.
func InProcess() KindOption { return func(c *class) { c.inProcess = true } }

// AlwaysEncoded says that messages to actors of the kind are encoded also inside one process: sender and receiver share nothing.
func AlwaysEncoded() KindOption { return func(c *class) { c.encoded = true } }

// ForControl says that actors of the kind keep the system going: what is sent to them may use the reserve of message memory, as
// replies do, so that it arrives also when messages that wait to be handled fill the rest.
func ForControl() KindOption { return func(c *class) { c.control = true } }

// Redeliver says that a message whose handler is cut off, by a crash of the actor or the death of its process, is handled again by
// the actor's next life, before what is queued behind it, until its handler was begun that many times. So handlers of such a kind may
// run more than once for a message, also when they had returned: Attempt tells them. What cuts off the last attempt makes a one-way
// message a dead letter and is told to the caller of a call; a caller that waits no longer ends its call at any attempt. Each attempt
// that is cut off is a restart, of which supervisors allow only so many: see supervisor.Limits.
//
// A handler's error is an answer, not a reason to try again; a call that was deferred, and a handler that did not stop in time, are not
// tried again either. Messages to such a kind are always encoded.
func Redeliver(attempts int) KindOption {
	return func(c *class) { c.redeliver, c.attempts, c.encoded = true, attempts, true }
}

// class is a kind without its type.
type class struct {
	name      string
	hash      uint64
	capacity  int
	inProcess bool
	encoded   bool
	control   bool
	redeliver bool
	attempts  int // with redeliver
	late      bool
	needsArg  bool
	fresh     func(arg any) (any, error)
	encodeArg func(any) ([]byte, error)
	decodeArg func([]byte) (any, error)
	argErr    error

	mu      sync.Mutex
	errs    []error
	broken  atomic.Bool                         // there are errs
	methods atomic.Pointer[map[uint64]*handler] // copied on write: read for each message
}

func newClass(name string, opts []KindOption) *class {
	c := &class{name: name, hash: shm.Hash(name), capacity: DefaultCapacity}
	c.methods.Store(&map[uint64]*handler{})
	for _, o := range opts {
		o(c)
	}
	if err := shm.CheckName(name); err != nil {
		c.fail(fmt.Errorf("actor: kind: %w", err))
	}
	if c.capacity < 1 || c.capacity > mailbox.MaxCapacity {
		c.fail(fmt.Errorf("actor: kind %q has capacity %d, want 1 to %d", name, c.capacity, mailbox.MaxCapacity))
	}
	if c.redeliver && (c.attempts < 1 || c.attempts > mailbox.MaxAttempts) {
		c.fail(fmt.Errorf("actor: kind %q has messages handled %d times, want 1 to %d", name, c.attempts, mailbox.MaxAttempts))
	}
	return c
}

func (c *class) failNoFresh() {
	c.fail(fmt.Errorf("actor: kind %q has no function that makes a fresh value", c.name))
}

func (c *class) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
	c.broken.Store(true)
}

func (c *class) problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.errs...)
}

// classes are the kinds of this process.
var classes registry

type registry struct {
	mu     sync.RWMutex
	byName map[string]*class
	byHash map[uint64]*class
	sealed bool
}

func (c *class) register() {
	r := &classes
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName == nil {
		r.byName, r.byHash = map[string]*class{}, map[uint64]*class{}
	}
	c.late = r.sealed
	if _, taken := r.byName[c.name]; taken {
		c.fail(fmt.Errorf("actor: two kinds have the name %q: %w", c.name, ErrNameTaken))
		return
	}
	r.byName[c.name], r.byHash[c.hash] = c, c
}

func (r *registry) find(name string) *class {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[name]
}

func (r *registry) kindName(hash uint64) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c := r.byHash[hash]; c != nil {
		return c.name
	}
	return "unknown to this program"
}

// SealKinds says that main has begun: kinds made from now on are unknown to worker processes. supervisor.Main calls it.
func SealKinds() {
	classes.mu.Lock()
	defer classes.mu.Unlock()
	classes.sealed = true
}
