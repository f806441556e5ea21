package actor_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
)

func echoes[T any](t *testing.T, s *scene, m actor.Method[*scripted, T, T], values ...T) {
	t.Helper()
	for _, v := range values {
		got, err := m.Call(s.ctx(), s.ref, v)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%s: got %v, %v, want %v", m.Name(), got, err, v)
		}
	}
}

func TestCallEchoes(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		echoes(t, s, s.text, "", "hello", "\xff\x00", strings.Repeat("long", 10_000), "short again")
		echoes(t, s, s.bytes, nil, []byte("hello"), make([]byte, 100_000), []byte{0})
		echoes(t, s, s.point, point{}, point{1, -2, true, [3]byte{}})
		echoes(t, s, s.none, struct{}{})
		echoes(t, s, s.next, nil, &document{Title: "pointer"})
		echoes[any](t, s, s.free, nil, "text", int64(1), true, 1.5, []any{"x", nil})
		echoes(t, s, s.doc, document{}, document{
			Title: "one", Items: []item{{"a", 1, nil}, {"b", 2, []string{"x", ""}}}, Meta: map[string]string{"k": "v"},
			Next: &document{Title: "two", Items: []item{}}, When: time.Unix(1, 5).UTC(), Free: "anything",
		})
		if got, err := s.odd.Call(s.ctx(), s.ref, awkward{}); got != (awkward{Text: "reply"}) || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		for i, want := range []int64{1, 3, 6} {
			if got, err := s.add.Call(s.ctx(), s.ref, int64(i+1)); got != want || err != nil {
				t.Errorf("add: %d, %v, want %d", got, err, want)
			}
		}
		if _, err := s.add.Call(s.ctx(), s.ref, math.MinInt64); err != nil {
			t.Error(err)
		}
	})
}

// Whether values are shared is what tells the scenes apart.
func TestCallSharesValuesOnlyByReference(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		in := &document{Title: "mine"}
		out, err := s.next.Call(s.ctx(), s.ref, in)
		must(t, err)
		if shared := in == out; shared != s.local {
			t.Errorf("shared: %v, want %v", shared, s.local)
		}
		b := []byte("mine")
		c, err := s.bytes.Call(s.ctx(), s.ref, b)
		must(t, err)
		if shared := &b[0] == &c[0]; shared != s.local {
			t.Errorf("shared: %v, want %v", shared, s.local)
		}
	})
}

func TestOneWay(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		var want []int64
		for i := range int64(100) {
			must(t, s.note.Send(s.ctx(), s.ref, i))
			want = append(want, i)
		}
		testkit.Eventually(t, patience, "room", func() bool {
			err := s.note.TrySend(s.ref, 100)
			if err != nil {
				wantIs(t, err, actor.ErrMailboxFull)
			}
			return err == nil
		})
		want = append(want, 100)
		got, err := s.seen.Call(s.ctx(), s.ref, struct{}{})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v, %v", got, err)
		}
		must(t, s.text.Send(s.ctx(), s.ref, "the result is dropped"))
		must(t, s.free.Send(s.ctx(), s.ref, nil))
		must(t, s.next.Send(s.ctx(), s.ref, nil))
		s.works()
	})
}

func TestMailboxFull(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		f, running, release := block(t)
		must(t, s.run.Send(s.ctx(), s.ref, do(t, f)))
		wait(t, running, "the handler runs")
		n := 0
		for ; s.note.TrySend(s.ref, int64(n)) == nil; n++ {
			if n > actor.DefaultCapacity {
				t.Fatal("the mailbox is never full")
			}
		}
		if n != actor.DefaultCapacity {
			t.Errorf("room for %d, want %d", n, actor.DefaultCapacity)
		}
		wantIs(t, s.note.TrySend(s.ref, 0), actor.ErrMailboxFull)
		short, cancel := context.WithTimeout(s.ctx(), time.Millisecond)
		defer cancel()
		wantIs(t, s.note.Send(short, s.ref, 0), context.DeadlineExceeded)
		_, err := s.text.Call(short, s.ref, "x")
		wantIs(t, err, context.DeadlineExceeded)
		sent := call(func() (int, error) { return 0, s.note.Send(s.ctx(), s.ref, int64(n)) })
		called := call(func() (string, error) { return s.text.Call(s.ctx(), s.ref, "waited") })
		release()
		must(t, wait(t, sent, "Send waits for room").err)
		if got := wait(t, called, "Call waits for room"); got.res != "waited" || got.err != nil {
			t.Error(got)
		}
		got, err := s.seen.Call(s.ctx(), s.ref, struct{}{})
		if err != nil || len(got) != n+1 {
			t.Errorf("%d of %d messages, %v", len(got), n+1, err)
		}
	})
}

type codeError struct{ Code int }

func (e *codeError) Error() string { return fmt.Sprintf("code %d", e.Code) }

type valueError struct{ Path string }

func (e valueError) Error() string { return "at " + e.Path }

// strangeError is an error of whose methods one panics.
type strangeError struct{ method string }

func (e *strangeError) Error() string {
	if e.method == "Error" {
		panic("no text")
	}
	return "strange"
}

func (e *strangeError) Is(error) bool {
	if e.method == "Is" {
		panic("no identity")
	}
	return false
}

func (e *strangeError) As(any) bool {
	if e.method == "As" {
		panic("no type")
	}
	return false
}

func (e *strangeError) Unwrap() error {
	if e.method == "Unwrap" {
		panic("no inside")
	}
	return nil
}

// unwritableError cannot be encoded, though its type promises it.
type unwritableError awkward

func (e unwritableError) Error() string { return "unwritable" }

func (e unwritableError) AppendBinary(b []byte) ([]byte, error) { return awkward(e).AppendBinary(b) }

func (e *unwritableError) UnmarshalBinary(b []byte) error { return (*awkward)(e).UnmarshalBinary(b) }

var (
	errKnown   = actor.RegisterError("test/known", errors.New("known"))
	errOther   = actor.RegisterError("test/other", errors.New("other"))
	errUnknown = errors.New("unknown")

	_ = must0(actor.RegisterErrorType[*codeError]("test/code"))
	_ = must0(actor.RegisterErrorType[valueError]("test/value"))
	_ = must0(actor.RegisterErrorType[unwritableError]("test/unwritable"))
)

func must0(err error) struct{} {
	if err != nil {
		panic(err)
	}
	return struct{}{}
}

func TestHandlerErrors(t *testing.T) {
	var none *codeError
	cases := []struct {
		name string
		err  error
		is   []error // also in another process
		text string  // "": as the error says
	}{
		{name: "plain", err: errors.New("went wrong")},
		{name: "not registered", err: fmt.Errorf("x: %w", errUnknown)},
		{name: "registered", err: errKnown, is: []error{errKnown}},
		{name: "wrapped", err: fmt.Errorf("deep: %w", fmt.Errorf("down: %w", errKnown)), is: []error{errKnown}},
		{name: "joined", err: errors.Join(errUnknown, errOther, errKnown), is: []error{errKnown, errOther}},
		{name: "runtime's", err: fmt.Errorf("x: %w", actor.ErrTooLarge), is: []error{actor.ErrTooLarge}},
		{name: "not found", err: actor.ErrNotFound, is: []error{actor.ErrNotFound}},
		{name: "canceled", err: fmt.Errorf("x: %w", context.Canceled), is: []error{context.Canceled}},
		{name: "deadline", err: context.DeadlineExceeded, is: []error{context.DeadlineExceeded}},
		{name: "empty", err: errors.New("")},
		{name: "typed nil", err: none, text: "an error of type *actor_test.codeError whose Error method panics"},
		{name: "Error panics", err: &strangeError{"Error"}, text: "an error of type *actor_test.strangeError whose Error method panics: no text"},
		{name: "Is panics", err: &strangeError{"Is"}},
		{name: "As panics", err: &strangeError{"As"}},
		{name: "Unwrap panics", err: &strangeError{"Unwrap"}},
		{name: "known behind a panic", err: errors.Join(errKnown, &strangeError{"Is"}), is: []error{errKnown}},
		{name: "encoder panics", err: unwritableError{Mode: "write: panic"}},
		{name: "encoder fails", err: unwritableError{Mode: "write: error"}},
		{name: "decoder panics", err: unwritableError{Mode: "read: panic"}},
		{name: "long", err: errors.New(strings.Repeat("long", 1<<20)), text: strings.Repeat("long", 1000)},
	}
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				res, err := s.do(func(context.Context, *scripted) (int64, error) { return 5, c.err })
				if res != 0 {
					t.Errorf("the result beside an error is %d, want 0", res)
				}
				if s.local {
					if err != c.err {
						t.Errorf("the error is %v, want %v itself", err, c.err)
					}
				} else {
					wantRemote(t, err, c.err, c.text, c.is)
				}
				s.works()
			})
		}
	})
}

func wantRemote(t *testing.T, err, sent error, text string, is []error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if text == "" {
		text = sent.Error()
	}
	if !strings.HasPrefix(err.Error(), text) {
		t.Errorf("the error says %.200q, want %.200q", err, text)
	}
	for _, want := range is {
		wantIs(t, err, want)
	}
	for _, other := range []error{errKnown, errOther, errUnknown, actor.ErrCrashed, actor.ErrTooLarge, context.Canceled} {
		if errors.Is(err, other) && !errors.Is(errors.Join(is...), other) {
			t.Errorf("the error is %v", other)
		}
	}
}

func TestHandlerErrorTypes(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		fail := func(err error) error {
			t.Helper()
			_, got := s.do(func(context.Context, *scripted) (int64, error) { return 0, err })
			return got
		}
		err := fail(fmt.Errorf("outer: %w", &codeError{404}))
		if e, ok := errors.AsType[*codeError](err); !ok || e.Code != 404 {
			t.Errorf("%v has no code 404", err)
		}
		err = fail(fmt.Errorf("outer: %w", errors.Join(errKnown, valueError{"a/b"})))
		if e, ok := errors.AsType[valueError](err); !ok || e.Path != "a/b" {
			t.Errorf("%v has no path", err)
		}
		wantIs(t, err, errKnown)
		wantIs(t, err, valueError{"a/b"})
	})
}

func TestRegisterErrorTypeThatCannotBeEncoded(t *testing.T) {
	wantIs(t, actor.RegisterErrorType[*chanError](newName(t)), actor.ErrNotEncodable)
}

type chanError struct{ C chan int }

func (e *chanError) Error() string { return "has a channel" }

// An error's methods may use the package: nothing is locked while they run.
func TestErrorMethodsMayRegister(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		_, err := s.do(func(context.Context, *scripted) (int64, error) { return 0, registering{newName(t)} })
		if err == nil || err.Error() != "registering" {
			t.Error(err)
		}
	})
}

type registering struct{ name string }

func (r registering) Error() string { return "registering" }

func (r registering) Is(error) bool {
	_ = actor.RegisterError(r.name, errors.New("new"))
	return false
}

func TestSendAfter(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		began := time.Now()
		ran := make(chan time.Duration, 1)
		n := do(t, func(context.Context, *scripted) (int64, error) {
			ran <- time.Since(began)
			return 0, nil
		})
		const after = 5 * time.Millisecond
		timer := s.run.SendAfter(after, s.ref, n)
		if d := wait(t, ran, "the message"); d < after {
			t.Errorf("it came after %v, want %v", d, after)
		}
		if timer.Stop() {
			t.Error("a timer that has fired was stopped")
		}
		never := s.run.SendAfter(time.Hour, s.ref, n)
		if !never.Stop() || never.Stop() {
			t.Error("a timer is stopped once")
		}
		s.run.SendAfter(-time.Second, s.ref, n)
		wait(t, ran, "the message that was due")
		s.works()
		if len(ran) > 0 {
			t.Error("a message was sent twice")
		}
	})
}

func TestSendAfterTheEndSendsNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		life.Stop(false, patience, patience)
		s.caller.hub.Close(actor.ErrSystemEnded)
		before := s.w.seg.DeadLetterCounts()
		fired := make(chan struct{})
		s.note.SendAfter(0, s.ref, 1)
		time.AfterFunc(time.Millisecond, func() { close(fired) })
		wait(t, fired, "a later timer")
		if after := s.w.seg.DeadLetterCounts(); after != before {
			t.Errorf("dead letters: %v, before %v", after, before)
		}
		if !s.note.SendAfter(time.Hour, s.ref, 1).Stop() {
			t.Error("not stopped")
		}
	})
}

// A late message waits for room like any other.
func TestSendAfterWaitsForRoom(t *testing.T) {
	w := newWorld(t)
	w.main.keep("a", plain.kind)
	ref := plain.kind.Ref(w.main.sys, "a")
	f, running, release := block(t)
	must(t, plain.run.TrySend(ref, do(t, f)))
	wait(t, running, "the handler runs")
	for plain.note.TrySend(ref, 0) == nil {
	}
	ran := make(chan struct{})
	plain.run.SendAfter(0, ref, do(t, func(context.Context, *scripted) (int64, error) {
		close(ran)
		return 0, nil
	}))
	release()
	wait(t, ran, "the late message")
}

func TestAllocations(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		ctx := context.Background()
		for name, f := range map[string]func() error{
			"call": func() error { _, err := s.add.Call(ctx, s.ref, 1); return err },
			"send": func() error { return s.add.Send(ctx, s.ref, 1) },
		} {
			n := testing.AllocsPerRun(1000/slower, func() { must(t, f()) })
			t.Logf("%s of a fixed size: %.1f allocations, on both sides together", name, n)
		}
		s.works()
	})
}
