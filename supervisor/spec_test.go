package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// Kinds that something is wrong with.
var (
	channels = actor.NewKindWith("channels", func(chan int) (*counter, error) { return new(counter), nil })
	twins    = [...]actor.Kind[*counter]{newKind("twin"), newKind("twin")}
	nameless = newKind("")
	tiny     = newKind("tiny", actor.Capacity(0))
	huge     = newKind("huge", actor.Capacity(mailbox.MaxCapacity+1))
	immense  = newKind("immense", actor.Capacity(math.MaxInt))
	wide     = newKind("wide", actor.Capacity(1<<20))
	here     = newKind("here", actor.InProcess())
)

// late is a kind that is made when main has begun.
var late = sync.OnceValue(func() actor.Kind[*counter] { return newKind("late") })

func newKind(name string, opts ...actor.KindOption) actor.Kind[*counter] {
	return actor.NewKind(name, func() *counter { return new(counter) }, opts...)
}

func a(name string, opts ...supervisor.ChildOption) supervisor.Child {
	return supervisor.Actor(name, counters).With(opts...)
}

func b(what actor.Spawnable) supervisor.Child { return supervisor.Actor("b", what) }

func w(children ...supervisor.Child) supervisor.Child { return supervisor.Worker("w", children...) }

func of(children ...supervisor.Child) supervisor.Spec { return supervisor.Spec{Children: children} }

// Everything that can be wrong with a spec is said by its name, before anything is started.
func TestBadSpecs(t *testing.T) {
	testkit.NeedWorkers(t)
	long := strings.Repeat("x", shm.MaxName+1)
	nearlyLong := strings.Repeat("x", shm.MaxName)
	group := func(children ...supervisor.Child) supervisor.Child { return supervisor.Group("g", children...) }
	segment := func(o shm.Options, children ...supervisor.Child) supervisor.Spec {
		return supervisor.Spec{Segment: o, Children: children}
	}
	for _, c := range []struct {
		what  string
		spec  supervisor.Spec
		is    error
		parts []string
	}{
		{"system: no name", supervisor.Spec{Name: "-"}, shm.ErrBadName, []string{"system's name"}},
		{"system: a long name", supervisor.Spec{Name: long}, shm.ErrBadName, []string{"system's name", "xxx"}},
		{"system: a name too long for a segment", supervisor.Spec{Name: strings.Repeat("y", 65)}, shm.ErrBadName, []string{"65"}},
		{"system: a control character", supervisor.Spec{Name: "a\nb"}, shm.ErrBadName, []string{`a\nb`}},

		{"no name", of(a("a"), a("")), shm.ErrBadName, []string{"child 2 of system test"}},
		{"a long name", of(a(long)), shm.ErrBadName, []string{"child 1 of system test", "112 bytes"}},
		{"a reserved name", of(a("$a")), shm.ErrBadName, []string{`"$a"`}},
		{"a bad character", of(a("a\x00")), shm.ErrBadName, []string{`a\x00`}},
		{"bad UTF-8", of(a("a\xff")), shm.ErrBadName, []string{`a\xff`}},
		{"a worker's long name", of(supervisor.Worker(nearlyLong, a("a"))), nil, []string{"the name of a worker has at most"}},

		{"two actors", of(a("a"), a("b"), a("a")), actor.ErrNameTaken, []string{`"a"`}},
		{"two workers", of(w(a("a")), w(a("b"))), actor.ErrNameTaken, []string{`"w"`}},
		{"an actor like a worker", of(w(a("a")), a("w")), actor.ErrNameTaken, []string{`"w"`}},
		{"an actor like its worker", of(w(a("w"))), actor.ErrNameTaken, []string{`"w"`}},
		{"actors of two workers", of(w(a("a")), supervisor.Worker("v", a("a"))), actor.ErrNameTaken, []string{`"a"`}},
		{"an actor in a group", of(a("a"), group(a("a"))), actor.ErrNameTaken, []string{`"a"`}},
		{"an actor like its group", of(group(a("g"))), actor.ErrNameTaken, []string{`"g"`}},

		{"no kind", of(b(nil)), nil, []string{`"b"`, "zero Kind"}},
		{"the zero kind", of(b(actor.Kind[*counter]{})), nil, []string{`"b"`, "zero Kind"}},
		{"no argument", of(b(argued.Kind)), nil, []string{`"b"`, `"argued"`, "argument"}},
		{"a kind's name twice", of(b(twins[1])), actor.ErrNameTaken, []string{`"twin"`}},
		{"a kind without a name", of(b(nameless)), shm.ErrBadName, []string{`"b"`}},
		{"no capacity", of(b(tiny)), nil, []string{`"b"`}},
		{"too much capacity", of(b(huge)), nil, []string{`"b"`}},
		{"far too much capacity", of(b(immense)), nil, []string{`"b"`}},

		{"worker: a late kind", of(w(b(late()))), nil, []string{`"b" of worker w`, `"late"`, "after supervisor.Main"}},
		{"worker: a kind of one process", of(w(b(here))), nil, []string{`"b" of worker w`, `"here"`, "InProcess"}},
		{"worker: an argument", of(w(b(channels.With(nil)))), actor.ErrNotEncodable, []string{`"b" of worker w`, "channels"}},
		{"worker: a worker", of(w(supervisor.Worker("v", a("a")))), nil, []string{`"v" of worker w`, "cannot have workers"}},
		{"worker: a group", of(w(group(a("a")))), nil, []string{`"g" of worker w`, "actors only"}},
		{"worker: on the heap", segment(shm.Options{Heap: true}, w(a("a"))), errors.ErrUnsupported, []string{"Segment.Heap"}},

		{"a restart type", of(a("a", supervisor.RestartWhen(3))), nil, []string{`"a"`, "restart type 3"}},
		{"a restart type in a worker", of(w(a("a", supervisor.RestartWhen(-1)))), nil, []string{`"a" of worker w`, "restart type -1"}},
		{"no time to get ready", of(a("a", supervisor.ReadyTimeout(0))), nil, []string{`"a"`, "ReadyTimeout is 0s"}},
		{"a group's time", of(group(a("a")).With(supervisor.ReadyTimeout(-1))), nil, []string{`"g"`, "ReadyTimeout is -1ns"}},
		{"time to stop", of(w(a("a", supervisor.ShutdownTimeout(-1)))), nil, []string{`"a" of worker w`, "ShutdownTimeout is -1ns"}},
		{"a period", supervisor.Spec{Limits: supervisor.Limits{Period: -1}}, nil, []string{"system test", "Period is -1ns"}},
		{
			"a group's period", of(group(a("a")).With(supervisor.WithLimits(supervisor.Limits{Period: -time.Hour}))), nil,
			[]string{`"g" of system test`, "Period is -1h"},
		},
		{"dead letters", supervisor.Spec{DeadLetters: -1}, nil, []string{"DeadLetters is -1"}},
		{"many dead letters", supervisor.Spec{DeadLetters: supervisor.MaxDeadLettersKept + 1}, nil, []string{"DeadLetters is 524289"}},
		{"an environment", of(w(a("a")).With(supervisor.Env("A=1", "novalue"))), nil, []string{`"w"`, `"novalue"`}},
		{"an environment's end", of(w(a("a")).With(supervisor.Env("A=1\x00B"))), nil, []string{`"w"`, "NAME=value"}},

		{"few mailboxes", segment(shm.Options{Mailboxes: 4}, a("a"), w(a("b"))), shm.ErrNoSpace, []string{"5 mailboxes", "Mailboxes is 4"}},
		{"few processes", segment(shm.Options{Processes: 1}, w(a("a"))), shm.ErrNoSpace, []string{"2 processes", "Processes is 1"}},
		{"many workers", of(workers(64)...), shm.ErrNoSpace, []string{"65 processes", "Processes is 64"}},
		{"few rings", segment(shm.Options{RingBytes: 4096}, a("a")), shm.ErrNoSpace, []string{"bytes", "RingBytes is 4096"}},
		{"rings for a wide kind", of(b(wide)), shm.ErrNoSpace, []string{`"b"`, "RingBytes"}},
		{"rings below none", segment(shm.Options{RingBytes: -1}), nil, []string{"RingBytes"}},
		{"mailboxes below none", segment(shm.Options{Mailboxes: -1}), nil, []string{"Mailboxes"}},
		{"messages", segment(shm.Options{MaxMessage: 1 << 20, MessageBytes: 1 << 20}), nil, []string{"MaxMessage"}},
		{"a file", segment(shm.Options{File: "/nowhere/segment"}, a("a")), os.ErrNotExist, []string{"/nowhere"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			testkit.NoLeaks(t)
			c.spec.Name = strings.TrimPrefix(orElse(c.spec.Name, "test"), "-")
			sys, err := supervisor.Start(context.Background(), c.spec)
			if sys != nil {
				_ = sys.Close()
				t.Fatal("it started")
			}
			wantError(t, err, c.is, append(c.parts, "supervisor: ")...)
			if left := runtimeEntries(t); len(left) > 0 {
				t.Errorf("in the runtime directory: %q", left)
			}
		})
	}
}

func workers(n int) (list []supervisor.Child) {
	for i := range n {
		list = append(list, supervisor.Worker(fmt.Sprint("w", i)))
	}
	return list
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// A spec that is wrong in many ways is told so all at once.
func TestBadSpecSaysAll(t *testing.T) {
	_, err := supervisor.Start(context.Background(), supervisor.Spec{
		Name: "", DeadLetters: -5, Limits: supervisor.Limits{Period: -1},
		Children: []supervisor.Child{a("$x", supervisor.ReadyTimeout(-1)), a("y"), a("y"), b(nil)},
	})
	wantError(t, err, nil, "system's name", "DeadLetters", "Period", `"$x"`, "ReadyTimeout", `"y"`, "zero Kind")
}

// The names and the sizes that are just good enough.
func TestGoodSpecs(t *testing.T) {
	testkit.NeedWorkers(t)
	longest := strings.Repeat("ü", shm.MaxName/2)
	for _, spec := range []supervisor.Spec{
		of(a(longest), a("a b/c.$d@e"), supervisor.Group("empty"), supervisor.Worker("none")),
		{
			Segment: shm.Options{Mailboxes: 5, Processes: 2, RingBytes: 8 * (3*64 + 256 + 64)}, DeadLetters: 1,
			Children: []supervisor.Child{a("a"), w(a("b"))},
		},
		{Segment: shm.Options{Heap: true}, Children: []supervisor.Child{a("a"), supervisor.Group("g", a("b"))}},
		{Name: strings.Repeat("n", 64)},
	} {
		s := must[*system](t)(startBeside(t, spec))
		for _, c := range spec.Children {
			if c.Name() == "a" || c.Name() == longest {
				must[int64](t)(add.Call(s.ctx, s.counter(c.Name()), 1))
			}
		}
	}
}

func TestRestartString(t *testing.T) {
	for r, want := range map[supervisor.Restart]string{
		supervisor.Permanent: "permanent", supervisor.Transient: "transient", supervisor.Temporary: "temporary",
		3: "restart type 3", -1: "restart type -1",
	} {
		if got := r.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What is spawned is checked like what is in a spec, wherever the order comes from.
func TestBadSpawns(t *testing.T) {
	s := withGate(t)
	for _, c := range []struct {
		what, in string
		child    supervisor.Child
		is       error
		parts    []string
	}{
		{"no name", "", a(""), shm.ErrBadName, []string{"the actor to spawn"}},
		{"a reserved name", "w", a("$a"), shm.ErrBadName, []string{`"$a"`}},
		{"a name that is taken", "", a("near"), actor.ErrNameTaken, []string{`"near"`}},
		{"a name that is taken in a worker", "w", a("near"), actor.ErrNameTaken, []string{`"near"`}},
		{"a name that is taken there", "w", a("far"), actor.ErrNameTaken, []string{`"far"`}},
		{"a worker's name", "", a("w"), actor.ErrNameTaken, []string{`"w"`}},
		{"a worker's name in it", "w", a("w"), actor.ErrNameTaken, []string{`"w"`}},
		{"no worker", "v", a("a"), actor.ErrNotFound, []string{`"v"`}},
		{"an actor for a worker", "near", a("a"), actor.ErrNotFound, []string{`"near"`}},
		{"a worker", "", supervisor.Worker("v", a("a")), nil, []string{`"v"`, "only actors"}},
		{"a group", "w", supervisor.Group("v", a("a")), nil, []string{`"v"`, "only actors"}},
		{"no kind", "", b(nil), nil, []string{`"b"`, "zero Kind"}},
		{"a late kind", "w", b(late()), nil, []string{`"b"`, "after supervisor.Main"}},
		{"a kind of one process", "w", b(here), nil, []string{`"b"`, "InProcess"}},
		{"an argument", "w", b(channels.With(nil)), actor.ErrNotEncodable, []string{`"b"`}},
		{"a capacity", "", b(huge), nil, []string{`"b"`, "capacity"}},
		{"a ring", "", b(wide), shm.ErrNoSpace, []string{`"b"`}},
		{"no time to get ready", "w", a("a", supervisor.ReadyTimeout(0)), nil, []string{`"a"`, "ReadyTimeout"}},
		{"a bad start", "", b(argued.With(arg{Fail: "error"})), errRefused, []string{`"b"`, "no such luck"}},
		{"a bad start in a worker", "w", b(argued.With(arg{Fail: "error"})), errRefused, []string{`"b"`, "no such luck"}},
		{"a panic", "", b(argued.With(arg{Fail: "panic"})), nil, []string{`"b"`, "at the start"}},
		{"a panic in a worker", "w", b(argued.With(arg{Fail: "panic"})), nil, []string{`"b"`, "at the start"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			wantError(t, supervisor.SpawnIn(s.ctx, s.System, c.in, c.child), c.is, append(c.parts, "supervisor: ")...)
			// Nothing is left of it: the name is free, or still another's.
			if name := c.child.Name(); name == "a" || name == "b" {
				if err := supervisor.Spawn(s.ctx, s.System, a(name)); err != nil {
					t.Errorf("the name afterwards: %v", err)
				} else if err := supervisor.Stop(s.ctx, s.System, name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, name := range []string{"near", "far", "far too"} {
		must[int64](t)(add.Call(s.ctx, s.counter(name), 1))
	}
	for name, part := range map[string]string{"w": "not an actor", "nobody": "no child", "$system": "no child", "": "no child"} {
		wantError(t, supervisor.Stop(s.ctx, s.System, name), nil, part)
	}
	wantError(t, supervisor.WaitFor(s.ctx, s.System, ""), shm.ErrBadName)
}
