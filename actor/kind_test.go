package actor_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

func fresh() *scripted { return new(scripted) }

func TestRecipeCheck(t *testing.T) {
	type pipe struct{ C chan int }
	good := actor.NewKind(newName(t), fresh)
	taken := newName(t)
	actor.NewKind(taken, fresh)
	with := actor.NewKindWith(newName(t), func(int) (*scripted, error) { return fresh(), nil })
	for _, c := range []struct {
		name string
		what actor.Spawnable
		want error // nil with says "": it is fine
		says string
	}{
		{"good", good, nil, ""},
		{"with its argument", with.With(1), nil, ""},
		{"a recipe", good.Recipe(), nil, ""},
		{"zero recipe", actor.Recipe{}, nil, "zero Kind"},
		{"zero kind", actor.Kind[*scripted]{}, nil, "zero Kind"},
		{"zero kind with an argument", actor.KindWith[*scripted, int]{}.With(1), nil, "zero Kind"},
		{"no argument", with, nil, "use With"},
		{"no name", actor.NewKind("", fresh), shm.ErrBadName, ""},
		{"long name", actor.NewKind(strings.Repeat("x", shm.MaxName+1), fresh), shm.ErrBadName, ""},
		{"control character", actor.NewKind("a\nb", fresh), shm.ErrBadName, ""},
		{"taken name", actor.NewKind(taken, fresh), actor.ErrNameTaken, taken},
		{"no fresh", actor.NewKind[*scripted](newName(t), nil), nil, "fresh"},
		{"no fresh with an argument", actor.NewKindWith[*scripted, int](newName(t), nil).With(1), nil, "fresh"},
		{"no capacity", actor.NewKind(newName(t), fresh, actor.Capacity(0)), nil, "capacity"},
		{"negative capacity", actor.NewKind(newName(t), fresh, actor.Capacity(math.MinInt)), nil, "capacity"},
		{"huge capacity", actor.NewKind(newName(t), fresh, actor.Capacity(mailbox.MaxCapacity+1)), nil, "capacity"},
		{"request that cannot be encoded", withMethod(t, nil, "m", func(*scripted, context.Context, pipe) (int, error) { return 0, nil }), actor.ErrNotEncodable, "pipe.C"},
		{"reply that cannot be encoded", withMethod(t, nil, "m", func(*scripted, context.Context, int) (func(), error) { return nil, nil }), actor.ErrNotEncodable, "func()"},
		{"in process, and cannot be encoded", withMethod(t, []actor.KindOption{actor.InProcess()}, "m", func(*scripted, context.Context, pipe) (int, error) { return 0, nil }), nil, ""},
		{"in process, always encoded, and cannot be", withMethod(t, []actor.KindOption{actor.InProcess(), actor.AlwaysEncoded()}, "m", func(*scripted, context.Context, pipe) (int, error) { return 0, nil }), actor.ErrNotEncodable, "pipe.C"},
		{"method without a name", withMethod(t, nil, "", echo[int]), shm.ErrBadName, ""},
		{"method with a long name", withMethod(t, nil, strings.Repeat("x", shm.MaxName+1), echo[int]), shm.ErrBadName, ""},
		{"method without a function", withMethod[int, int](t, nil, "m", nil), nil, "no function"},
		{"method twice", twoMethods(t, echo[int], echo[int]), actor.ErrNameTaken, `"m"`},
		{"method name twice", twoMethods(t, echo[int], func(*scripted, context.Context, int) (string, error) { return "", nil }), actor.ErrNameTaken, `"m"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.what.Recipe().Check()
			bad := c.want != nil || c.says != ""
			if (err != nil) != bad || c.want != nil && !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("Check says %v, want %v and %q", err, c.want, c.says)
			}
			if !bad {
				return
			}
			if err := c.what.Recipe().CheckWorker(); err == nil {
				t.Error("CheckWorker finds nothing")
			}
			w := newWorld(t)
			box, err := w.main.hub.Create("a", 4, 0)
			must(t, err)
			defer box.Close(shm.Stopped)
			if _, err := w.main.sys.Start(testkit.Deadline(t, patience), "a", box, c.what.Recipe()); err == nil {
				t.Error("it was started")
			}
		})
	}
}

func withMethod[Req, Res any](
	t testing.TB, opts []actor.KindOption, name string, f func(*scripted, context.Context, Req) (Res, error),
) actor.Kind[*scripted] {
	k := actor.NewKind(newName(t), fresh, opts...)
	actor.NewMethod(k, name, f)
	return k
}

func twoMethods[A, B any](
	t testing.TB, f func(*scripted, context.Context, A) (A, error), g func(*scripted, context.Context, A) (B, error),
) actor.Kind[*scripted] {
	k := withMethod(t, nil, "m", f)
	actor.NewMethod(k, "m", g)
	return k
}

// What is wrong with a kind is told also by its methods, should an actor under its name be running.
func TestMethodsTellWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	name := newName(t)
	good := actor.NewKind(name, fresh)
	actor.NewMethod(good, "m", echo[int])
	w.main.start("a", good)
	bad := actor.NewKind(name, fresh)
	m := actor.NewMethod(bad, "m", echo[int])
	_, err := m.Call(testkit.Deadline(t, patience), bad.Ref(w.main.sys, "a"), 1)
	wantIs(t, err, actor.ErrNameTaken)
	wantIs(t, m.TrySend(bad.Ref(w.main.sys, "a"), 1), actor.ErrNameTaken)
}

func TestCheckWorker(t *testing.T) {
	with := actor.NewKindWith(newName(t), func(*document) (*scripted, error) { return fresh(), nil })
	odd := actor.NewKindWith(newName(t), func(awkward) (*scripted, error) { return fresh(), nil })
	channel := actor.NewKindWith(newName(t), func(chan int) (*scripted, error) { return fresh(), nil })
	loop := &document{}
	loop.Next = loop
	for _, c := range []struct {
		name string
		what actor.Spawnable
		want error
		says string
	}{
		{"good", actor.NewKind(newName(t), fresh), nil, ""},
		{"with its argument", with.With(&document{Title: "x"}), nil, ""},
		{"in process", actor.NewKind(newName(t), fresh, actor.InProcess()), nil, "InProcess"},
		{"argument of a type that cannot be encoded", channel.With(nil), actor.ErrNotEncodable, "chan int"},
		{"argument that cannot be encoded", with.With(loop), actor.ErrNotEncodable, ""},
		{"argument whose encoder panics", odd.With(awkward{Mode: "write: panic"}), actor.ErrNotEncodable, "cannot write"},
		{"argument whose encoder fails", odd.With(awkward{Mode: "write: error"}), actor.ErrNotEncodable, "will not write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, c.what.Recipe().Check())
			err := c.what.Recipe().CheckWorker()
			if c.want == nil && c.says == "" {
				must(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
			if c.want != nil {
				wantIs(t, err, c.want)
			}
		})
	}
}

// A recipe goes to a worker as a name and bytes, and is the same there.
func TestRecipeTravels(t *testing.T) {
	w := newWorld(t)
	with := actor.NewKindWith(newName(t), func(d *document) (*scripted, error) { return &scripted{sum: int64(len(d.Title))}, nil })
	add := actor.NewMethod(with.Kind, "add", (*scripted).Add)
	there := w.process("there")
	for name, k := range map[string]actor.Spawnable{"with": with.With(&document{Title: "four"}), "without": plain.kind} {
		r := k.Recipe()
		arg, err := r.Arg()
		must(t, err)
		same, err := actor.RecipeOf(r.Kind(), arg)
		must(t, err)
		if same.Kind() != r.Kind() || same.KindHash() != r.KindHash() || same.Capacity() != r.Capacity() {
			t.Errorf("%+v, %+v", same, r)
		}
		there.start(name, same)
	}
	if n, err := add.Call(testkit.Deadline(t, patience), with.Ref(w.main.sys, "with"), 1); n != 5 || err != nil {
		t.Error(n, err)
	}
	_, err := actor.RecipeOf("no such kind", nil)
	wantIs(t, err, actor.ErrNotFound)
	_, err = actor.RecipeOf(with.Name(), []byte{0xff})
	if err == nil {
		t.Error("an argument that cannot be read")
	}
}

// None of the zero values panics, and none is taken for something.
func TestZeroValues(t *testing.T) {
	w := newWorld(t)
	w.main.start("a", plain.kind)
	ctx := testkit.Deadline(t, patience)
	var (
		kind   actor.Kind[*scripted]
		with   actor.KindWith[*scripted, int]
		method actor.Method[*scripted, int64, int64]
		ref    actor.Ref[*scripted]
		recipe actor.Recipe
		timer  actor.Timer
		self   actor.Self
	)
	ofZero := actor.NewMethod(kind, "m", echo[int64])
	good := plain.kind.Ref(w.main.sys, "a")
	for name, err := range map[string]error{
		"method":         second(method.Call(ctx, good, 1)),
		"method, Send":   method.Send(ctx, good, 1),
		"TrySend":        method.TrySend(good, 1),
		"of a zero kind": second(ofZero.Call(ctx, good, 1)),
		"ref of it":      second(plain.add.Call(ctx, kind.Ref(w.main.sys, "a"), 1)),
		"both":           second(ofZero.Call(ctx, kind.Ref(w.main.sys, "a"), 1)),
		"recipe":         recipe.Check(),
		"worker":         recipe.CheckWorker(),
		"with":           with.With(3).CheckWorker(),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, err := range map[string]error{
		"ref":         second(plain.add.Call(ctx, ref, 1)),
		"ref, Send":   plain.add.Send(ctx, ref, 1),
		"TrySend":     plain.add.TrySend(ref, 1),
		"no system":   second(plain.add.Call(ctx, plain.kind.Ref(nil, "a"), 1)),
		"both":        second(method.Call(ctx, ref, 1)),
		"with's kind": second(plain.add.Call(ctx, with.Ref(nil, "a"), 1)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if name != "both" {
			wantIs(t, err, actor.ErrNotFound)
		}
	}
	if kind.Name() != "" || with.Name() != "" || method.Name() != "" || ref.Name() != "" || ref.Generation() != 0 || ref.String() == "" {
		t.Error("a zero value has a name")
	}
	if recipe.Kind() != "" || recipe.Capacity() != 0 || recipe.KindHash() != 0 || timer.Stop() {
		t.Error("a zero value is something")
	}
	if _, err := recipe.Arg(); err != nil {
		t.Error(err)
	}
	method.SendAfter(0, ref, 1)
	method.SendAfter(0, good, 1)
	plain.add.SendAfter(0, ref, 1)
	if self.Name() != "" || self.Generation() != 0 || self.System() != nil {
		t.Error("the zero Self is somebody")
	}
	self.Stop()
	if _, ok := kind.Self(ctx); ok {
		t.Error("the zero Kind has a self")
	}
	fired := make(chan struct{})
	time.AfterFunc(time.Millisecond, func() { close(fired) })
	<-fired
}

func second[T any](_ T, err error) error { return err }

type adder interface {
	Add(ctx context.Context, n int64) (int64, error)
}

// A kind's type may be an interface, or no pointer.
func TestKindsOfOtherTypes(t *testing.T) {
	w := newWorld(t)
	ctx := testkit.Deadline(t, patience)
	face := actor.NewKind(newName(t), func() adder { return fresh() })
	faceAdd := actor.NewMethod(face, "add", adder.Add)
	w.main.start("face", face)
	value := actor.NewKind(newName(t), func() int64 { return 3 })
	valueAdd := actor.NewMethod(value, "add", func(v int64, _ context.Context, n int64) (int64, error) { return v + n, nil })
	w.main.start("value", value)
	for range 2 {
		if n, err := valueAdd.Call(ctx, value.Ref(w.main.sys, "value"), 4); n != 7 || err != nil {
			t.Error(n, err)
		}
	}
	for i := range int64(2) {
		if n, err := faceAdd.Call(ctx, face.Ref(w.main.sys, "face"), 4); n != 4*(i+1) || err != nil {
			t.Error(n, err)
		}
	}
}

func TestMethodName(t *testing.T) {
	w := newWorld(t)
	s := &scene{t: t, w: w, caller: w.main, home: w.main, methods: plain}
	if got := actor.MethodName(methodID(s, func(r actor.Ref[*scripted]) error { return plain.add.TrySend(r, 1) })); got != "test/plain.add" {
		t.Errorf("the method is %q", got)
	}
	if got := actor.MethodName(1); got != "" {
		t.Errorf("method 1 is %q", got)
	}
}

func TestSystem(t *testing.T) {
	w := newWorldWith(t, worldOptions{Segment: shm.Options{Name: "sys"}})
	other := w.process("other")
	closes := 0
	s := actor.NewSystem(actor.SystemOptions{Hub: w.main.hub, Worker: "me", Close: func() error { closes++; return errKnown }})
	if s.Name() != "sys" || s.Worker() != "me" || s.Hub() != w.main.hub || s.PID() == 0 || s.Err() != nil {
		t.Errorf("%q %q %d %v", s.Name(), s.Worker(), s.PID(), s.Err())
	}
	for range 2 {
		wantIs(t, s.Close(), errKnown)
	}
	if closes != 1 {
		t.Errorf("closed %d times", closes)
	}
	must(t, other.sys.Close())
	list := s.Processes()
	if len(list) != 2 || list[0].Name != "main" || list[1].Name != "other" || !list[1].Live {
		t.Errorf("%+v", list)
	}
}
