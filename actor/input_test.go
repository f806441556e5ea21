package actor_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

func TestAddressedWrong(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		twin := newMethods(newName(t)) // of the same Go type
		_, err := s.add.Call(s.ctx(), s.kind.Ref(s.caller.sys, "nobody"), 1)
		wantIs(t, err, actor.ErrNotFound)
		wantIs(t, s.add.TrySend(s.kind.Ref(s.caller.sys, "nobody"), 1), actor.ErrNotFound)
		wantIs(t, s.add.Send(s.ctx(), s.kind.Ref(s.caller.sys, ""), 1), actor.ErrNotFound)
		_, err = twin.add.Call(s.ctx(), s.ref, 1) // a method of another kind
		wantIs(t, err, actor.ErrIncompatible)
		_, err = s.add.Call(s.ctx(), twin.kind.Ref(s.caller.sys, "a"), 1) // a ref of another kind
		wantIs(t, err, actor.ErrIncompatible)
		_, err = twin.add.Call(s.ctx(), twin.kind.Ref(s.caller.sys, "a"), 1)
		wantIs(t, err, actor.ErrIncompatible)
		s.works()
		if g := s.ref.Generation(); g != 1 {
			t.Errorf("generation %d", g)
		}

		life.Stop(false, patience, patience)
		s.w.close("a")
		_, err = s.add.Call(s.ctx(), s.ref, 1)
		wantIs(t, err, actor.ErrStopped)
		wantIs(t, s.add.TrySend(s.ref, 1), actor.ErrStopped)
		_, err = s.add.Call(s.ctx(), s.kind.Ref(s.caller.sys, "a"), 1) // a ref that never saw it
		wantIs(t, err, actor.ErrNotFound)
		if g := s.ref.Generation(); g != 0 {
			t.Errorf("generation %d of nobody", g)
		}

		s.home.start("a", twin.kind) // the name is another's now
		_, err = s.add.Call(s.ctx(), s.ref, 1)
		wantIs(t, err, actor.ErrIncompatible)
		if n, err := twin.add.Call(s.ctx(), twin.kind.Ref(s.caller.sys, "a"), 2); n != 2 || err != nil {
			t.Error(n, err)
		}
		s.w.mu.Lock()
		last := s.w.lives[len(s.w.lives)-1]
		s.w.mu.Unlock()
		last.Stop(false, patience, patience)
		s.w.close("a")
		s.home.keep("a", s.kind) // and its own again
		s.works()
	})
}

func TestQueuedWhenClosed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		f, running, release := block(t)
		first := call(func() (int64, error) { return s.do(f) })
		wait(t, running, "the handler runs")
		must(t, s.note.Send(s.ctx(), s.ref, 1))
		queued := call(func() (string, error) { return s.text.Call(s.ctx(), s.ref, "x") })
		testkit.Eventually(t, patience, "two messages wait", func() bool { return s.queued() == 2 })
		go release()
		life.Stop(false, patience, patience)
		wait(t, first, "the first call")
		s.w.close("a")
		if o := wait(t, queued, "the queued call"); o.err != nil { // nil: it was handled before the stop was seen
			wantIs(t, o.err, actor.ErrStopped)
			if l := s.w.waitLetters(1); l[0].reason != shm.Stopped {
				t.Errorf("%+v", l)
			}
		}
	})
}

func TestClosedSystem(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		s.works()
		f, running, release := block(t)
		waiting := call(func() (int64, error) { return s.run.Call(context.Background(), s.ref, do(t, f)) })
		wait(t, running, "the handler runs")
		queued := call(func() (string, error) { return s.text.Call(context.Background(), s.ref, "x") })
		s.caller.hub.Close(actor.ErrSystemEnded)
		wantIs(t, wait(t, waiting, "the call is told").err, actor.ErrSystemEnded)
		wantIs(t, wait(t, queued, "the queued call is told").err, actor.ErrSystemEnded)
		_, err := s.text.Call(s.ctx(), s.ref, "x")
		wantIs(t, err, actor.ErrSystemEnded)
		wantIs(t, s.note.TrySend(s.ref, 1), actor.ErrSystemEnded)
		wantIs(t, s.note.Send(s.ctx(), s.kind.Ref(s.caller.sys, "new"), 1), actor.ErrSystemEnded)
		wantIs(t, s.caller.sys.Err(), actor.ErrSystemEnded)
		<-s.caller.sys.Done()
		release()
	})
}

// Bytes that are no request are an error to the caller, or a dead letter; the actor lives on.
func TestForeignBytes(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		s.works()
		box, err := s.caller.hub.Open("a")
		must(t, err)
		for _, b := range [][]byte{nil, []byte("hello"), make([]byte, 10_000)} {
			_, err := box.CallBytes(s.ctx(), b) // of method 0
			wantIs(t, err, actor.ErrIncompatible)
			must(t, box.SendBytes(s.ctx(), b))
		}
		for _, l := range s.w.waitLetters(3) {
			if l.reason != shm.NoMethod || l.to != "a" {
				t.Errorf("%+v", l)
			}
		}
		doc := methodID(s, func(r actor.Ref[*scripted]) error { return s.doc.TrySend(r, document{}) })
		point := methodID(s, func(r actor.Ref[*scripted]) error { return s.point.TrySend(r, point{}) })
		odd := methodID(s, func(r actor.Ref[*scripted]) error { return s.odd.TrySend(r, awkward{}) })
		const raw, appender, cbor = 3, 4, 7
		for _, c := range []struct {
			name   string
			method uint64
			codec  uint8
			bytes  string
			length uint32
			oneWay shm.Reason
		}{
			{"no such method", 12345, cbor, "", 0, shm.NoMethod},
			{"another codec", doc, raw, "\xa0", 0, shm.Undecodable},
			{"unknown codec", doc, 200, "\xa0", 0, shm.Undecodable},
			{"not well-formed", doc, cbor, "\xff\xff", 0, shm.Undecodable},
			{"cut off", doc, cbor, "\xa1eTitle", 0, shm.Undecodable},
			{"nothing", doc, cbor, "", 0, shm.Undecodable},
			{"too short", point, raw, "123", 0, shm.Undecodable},
			{"too long", point, raw, "1234567890123", 0, shm.Undecodable},
			{"no bool", point, raw, "12345678\x05\x00\x00\x00", 0, shm.Undecodable},
			{"longer than its frame", point, raw, "12345678", 1 << 30, shm.Undecodable},
			{"its method panics", odd, appender, "read: panic|", 0, shm.Undecodable},
			{"its method fails", odd, appender, "read: error|", 0, shm.Undecodable},
		} {
			draft := func() mailbox.Draft {
				d, err := s.caller.hub.Draft(len(c.bytes))
				must(t, err)
				d.Header.Method, d.Header.Codec = c.method, c.codec
				d.Header.Length = max(c.length, uint32(copy(d.Frame.Payload(), c.bytes)))
				return d
			}
			d := draft()
			if _, err := box.Call(s.ctx(), &d); !errors.Is(err, actor.ErrIncompatible) {
				t.Errorf("%s: %v", c.name, err)
			}
			d = draft()
			must(t, box.Send(s.ctx(), &d))
			if l := s.w.waitLetters(1); l[0].reason != c.oneWay {
				t.Errorf("%s: %+v", c.name, l)
			}
		}
		s.works()
		if g := s.ref.Generation(); g != 1 {
			t.Errorf("generation %d: the actor crashed", g)
		}
	})
}

// A decoder that ends its goroutine crashes the actor like a handler that does.
func TestDecoderEndsItsGoroutine(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		if s.local {
			return // no codec
		}
		s.home.keep("a", s.kind)
		_, err := s.odd.Call(s.ctx(), s.ref, awkward{Mode: "read: goexit"})
		wantIs(t, err, actor.ErrCrashed)
		s.works()
	})
}

// Values that cannot be encoded, or read, or whose methods panic or end their goroutine: each is somebody's error, nothing
// hangs, nothing leaks, the actor lives on.
func TestAwkwardValues(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		if s.local {
			return // no codec
		}
		s.home.keep("a", s.kind)
		for _, mode := range []string{"write: panic", "write: error"} {
			_, err := s.odd.Call(s.ctx(), s.ref, awkward{Mode: mode})
			wantIs(t, err, actor.ErrNotEncodable)
			wantIs(t, s.odd.TrySend(s.ref, awkward{Mode: mode}), actor.ErrNotEncodable)
			_, err = s.odd.Call(s.ctx(), s.ref, awkward{Text: mode}) // the reply
			wantIs(t, err, actor.ErrNotEncodable)
		}
		for _, mode := range []string{"read: panic", "read: error"} {
			_, err := s.odd.Call(s.ctx(), s.ref, awkward{Mode: mode})
			wantIs(t, err, actor.ErrIncompatible)
			_, err = s.odd.Call(s.ctx(), s.ref, awkward{Text: mode})
			wantIs(t, err, actor.ErrIncompatible)
		}
		got, err := s.odd.Call(s.ctx(), s.ref, awkward{Mode: "write: elsewhere", Text: "write: elsewhere"})
		if want := (awkward{"write: elsewhere", "reply"}); got != want || err != nil {
			t.Errorf("written elsewhere: %+v, %v", got, err)
		}
		for _, v := range []awkward{{Mode: "write: goexit"}, {Text: "read: goexit"}} {
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				_, _ = s.odd.Call(s.ctx(), s.ref, v)
				t.Errorf("%+v did not end the caller's goroutine", v)
			}()
			wait(t, gone, "the caller's goroutine ends")
		}
		if g := s.ref.Generation(); g != 1 {
			t.Errorf("generation %d: the actor crashed", g)
		}
		_, err = s.odd.Call(s.ctx(), s.ref, awkward{Text: "write: goexit"})
		wantIs(t, err, actor.ErrCrashed)
		timer := s.odd.SendAfter(0, s.ref, awkward{Mode: "write: panic"})
		testkit.Eventually(t, patience, "the late message is counted", func() bool {
			return s.w.seg.DeadLetterCounts()[shm.Undeliverable] == 1
		})
		timer.Stop()
		s.works()
	})
}

// What an interface holds is seen only when it is sent.
func TestInterfaceThatHoldsTheWrong(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		ch := make(chan int)
		got, err := s.free.Call(s.ctx(), s.ref, ch)
		if s.local {
			if got != ch || err != nil {
				t.Error(got, err)
			}
			return
		}
		wantIs(t, err, actor.ErrNotEncodable)
		wantIs(t, s.free.Send(s.ctx(), s.ref, func() {}), actor.ErrNotEncodable)
		s.works()
	})
}

func TestTooLarge(t *testing.T) {
	for _, c := range []struct {
		name    string
		segment shm.Options
	}{
		{"default", shm.Options{}},
		{"small", shm.Options{MessageBytes: 1 << 20, MaxMessage: 1000}},
		{"one span", shm.Options{MessageBytes: 2 << 16, MaxMessage: 64}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorldWith(t, worldOptions{Segment: c.segment, AlwaysEncode: true})
			w.main.keep("a", plain.kind)
			ref, ctx := plain.kind.Ref(w.main.sys, "a"), testkit.Deadline(t, patience)
			most := w.seg.MaxMessage()
			for _, n := range []int{0, 1, most - 1, most} {
				if got, err := plain.bytes.Call(ctx, ref, make([]byte, n)); len(got) != n || err != nil {
					t.Errorf("%d bytes: %d, %v", n, len(got), err)
				}
			}
			for _, n := range []int{most + 1, 3 * most} {
				_, err := plain.bytes.Call(ctx, ref, make([]byte, n))
				wantIs(t, err, actor.ErrTooLarge)
				wantIs(t, plain.bytes.Send(ctx, ref, make([]byte, n)), actor.ErrTooLarge)
				_, err = plain.doc.Call(ctx, ref, document{Title: strings.Repeat("x", n)})
				wantIs(t, err, actor.ErrTooLarge)
				k, _ := newLiving(t, func() *living { return new(living) })
				large := actor.NewMethod(k, "large", func(_ *living, _ context.Context, n int64) ([]byte, error) { return make([]byte, n), nil })
				name := newName(t)
				w.main.start(name, k)
				_, err = large.Call(ctx, k.Ref(w.main.sys, name), int64(n))
				wantIs(t, err, actor.ErrTooLarge)
				if got, err := large.Call(ctx, k.Ref(w.main.sys, name), int64(most)); len(got) != most || err != nil {
					t.Errorf("a reply of %d bytes: %d, %v", most, len(got), err)
				}
			}
		})
	}
}

// A system whose message memory is full answers small calls still, also those whose like were large before.
func TestNoSpace(t *testing.T) {
	w := newWorldWith(t, worldOptions{Segment: shm.Options{MessageBytes: 4 << 16, MaxMessage: 2 << 16}, AlwaysEncode: true})
	w.main.keep("a", plain.kind)
	ref, ctx := plain.kind.Ref(w.main.sys, "a"), testkit.Deadline(t, patience)
	large := document{Title: strings.Repeat("x", 100_000)}
	if _, err := plain.doc.Call(ctx, ref, large); err != nil { // from now on documents are thought to be large
		t.Fatal(err)
	}
	f, running, release := block(t)
	first := call(func() (int64, error) { return plain.run.Call(ctx, ref, do(t, f)) })
	wait(t, running, "the handler runs")
	for {
		err := plain.bytes.TrySend(ref, make([]byte, 20_000))
		if err != nil {
			wantIs(t, err, actor.ErrNoSpace)
			break
		}
	}
	small := call(func() (document, error) { return plain.doc.Call(ctx, ref, document{Title: "small"}) })
	select {
	case o := <-small:
		t.Errorf("a small document: %v", o.err)
	default:
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	_, err := plain.doc.Call(short, ref, large)
	wantIs(t, err, actor.ErrNoSpace)
	wantIs(t, err, context.DeadlineExceeded)
	wantIs(t, plain.doc.TrySend(ref, large), actor.ErrNoSpace)
	release()
	must(t, wait(t, first, "the first call").err)
	if o := wait(t, small, "the small call"); o.res.Title != "small" || o.err != nil {
		t.Errorf("a small document: %q, %v", o.res.Title, o.err)
	}
	if _, err := plain.doc.Call(ctx, ref, large); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

type port struct {
	out chan int
	run func() int
}

// A kind that never leaves its process may take what cannot be encoded; others are told so.
func TestInProcess(t *testing.T) {
	testkit.NoLeaks(t)
	for _, always := range []bool{false, true} {
		w := makeWorld(t, worldOptions{AlwaysEncode: always})
		k := actor.NewKind(newName(t), fresh, actor.InProcess())
		dial := actor.NewMethod(k, "dial", func(_ *scripted, _ context.Context, p port) (chan int, error) {
			p.out <- p.run()
			return p.out, nil
		})
		half := actor.NewMethod(k, "half", func(_ *scripted, _ context.Context, n int) (chan int, error) { return make(chan int, n), nil })
		other := w.process("other")
		p := port{make(chan int, 2), func() int { return 5 }}
		ctx := testkit.Deadline(t, patience)
		w.box("a", k)
		early := call(func() (chan int, error) { return dial.Call(ctx, k.Ref(w.main.sys, "a"), p) }) // before there is an actor
		testkit.Eventually(t, patience, "the early call waits, or was refused", func() bool {
			census, _ := mailbox.Check(w.seg)
			return census.States[shm.Queued] == 1 || len(early) > 0
		})
		w.main.start("a", k)
		if o := wait(t, early, "the early call"); o.err != nil || o.res != p.out || <-p.out != 5 {
			t.Errorf("a call before the start: %v", o.err)
		}
		ref := k.Ref(w.main.sys, "a")
		if got, err := dial.Call(ctx, ref, p); got != p.out || err != nil || <-got != 5 {
			t.Error(err)
		}
		must(t, dial.Send(ctx, ref, p))
		if n := <-p.out; n != 5 {
			t.Error(n)
		}
		if got, err := half.Call(ctx, ref, 3); cap(got) != 3 || err != nil {
			t.Error(err)
		}
		far := k.Ref(other.sys, "a")
		_, err := dial.Call(ctx, far, p)
		wantIs(t, err, actor.ErrNotEncodable)
		wantIs(t, dial.TrySend(far, p), actor.ErrNotEncodable)
		_, err = half.Call(ctx, far, 3)
		wantIs(t, err, actor.ErrNotEncodable)
		if got, err := half.Call(ctx, ref, 3); cap(got) != 3 || err != nil {
			t.Error(err)
		}
	}
}

// Two kinds under one name, one of which was refused: what goes by reference between them is not mistaken.
func TestReferenceOfAnotherType(t *testing.T) {
	type a interface{ A() }
	type b interface{ B() }
	w := newWorld(t)
	name := newName(t)
	one := actor.NewKind(name, fresh, actor.InProcess())
	actor.NewMethod(one, "m", func(_ *scripted, _ context.Context, v a) (int, error) { return 1, nil })
	two := actor.NewKind(name, fresh, actor.InProcess())
	m := actor.NewMethod(two, "m", func(_ *scripted, _ context.Context, v b) (int, error) { return 2, nil })
	w.main.start("a", one)
	if n, err := m.Call(testkit.Deadline(t, patience), two.Ref(w.main.sys, "a"), nil); err == nil {
		t.Errorf("the wrong method answered %d", n)
	}
}

// A value that went by reference from another process, or another life, is lost: its caller is told, and a one-way message
// is a dead letter.
func TestValueLost(t *testing.T) {
	w := newWorld(t)
	w.main.keep("a", plain.kind)
	other := w.process("other")
	s := &scene{t: t, w: w, methods: plain, caller: w.main, home: w.main}
	id := methodID(s, func(r actor.Ref[*scripted]) error { return plain.add.TrySend(r, 1) })
	box, err := other.hub.Open("a")
	must(t, err)
	draft := func() mailbox.Draft {
		d, err := other.hub.Draft(0)
		must(t, err)
		d.Header.Method = id
		d.SetValue(int64(5), nil)
		return d
	}
	d := draft()
	_, err = box.Call(testkit.Deadline(t, patience), &d)
	wantIs(t, err, mailbox.ErrValueLost)
	d = draft()
	must(t, box.TrySend(&d))
	if l := w.waitLetters(1); l[0].reason != shm.ValueLost {
		t.Errorf("%+v", l)
	}
	if n, err := plain.add.Call(testkit.Deadline(t, patience), plain.kind.Ref(w.main.sys, "a"), 3); n != 3 || err != nil {
		t.Error(n, err)
	}
}

// Nothing keeps a value alive that went by reference, once it was handled.
func TestValuesAreLetGo(t *testing.T) {
	w := newWorld(t)
	w.main.keep("a", plain.kind)
	ref := plain.kind.Ref(w.main.sys, "a")
	collected := make(chan int, 3)
	func() {
		for i := range 3 {
			v := &document{Title: "x"}
			runtime.AddCleanup(v, func(n int) { collected <- n }, i)
			switch i {
			case 0:
				_, err := plain.next.Call(testkit.Deadline(t, patience), ref, v)
				must(t, err)
			case 1:
				must(t, plain.next.TrySend(ref, v))
			case 2:
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_, _ = plain.next.Call(ctx, ref, v)
			}
		}
	}()
	for range 3 { // others take the places
		_, err := plain.next.Call(testkit.Deadline(t, patience), ref, nil)
		must(t, err)
	}
	testkit.Eventually(t, patience, "the values are collected", func() bool {
		runtime.GC()
		return len(collected) == 3
	})
}
