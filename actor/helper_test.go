package actor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// patience bounds every wait for something that has to happen.
const patience = 10 * time.Second

// world is a segment, usually on the heap, where the race detector sees everything, with as many "processes" on it as a test
// needs: each has a hub and a system of its own, so messages between them are encoded.
type world struct {
	t       testing.TB
	seg     *shm.Segment
	encode  bool
	main    *process
	all     []*process
	letters *mailbox.Receiver

	mu     sync.Mutex
	boxes  map[string]*mailbox.Mailbox
	lives  []*actor.Life
	closed bool

	keepers sync.WaitGroup
}

// process is one process of a world.
type process struct {
	w   *world
	hub *mailbox.Hub
	sys *actor.System
}

type worldOptions struct {
	Segment      shm.Options
	AlwaysEncode bool
	Mapped       bool // in memory that the race detector does not see, as users' segments are
}

func newWorld(t testing.TB) *world { return newWorldWith(t, worldOptions{}) }

func newWorldWith(t testing.TB, o worldOptions) *world {
	t.Helper()
	testkit.NoLeaks(t)
	return makeWorld(t, o)
}

// makeWorld makes a world. In the end of the test everything in it is stopped, and then every frame has to be free or
// in a cache, and every invariant has to hold.
func makeWorld(t testing.TB, o worldOptions) *world {
	t.Helper()
	o.Segment.Heap = !o.Mapped
	if o.Segment.Name == "" {
		o.Segment.Name = "test"
	}
	if o.Segment.Mailboxes == 0 {
		o.Segment.Mailboxes = 64
	}
	if o.Segment.MessageBytes == 0 {
		o.Segment.MessageBytes, o.Segment.MaxMessage = 2<<20, 1<<20
	}
	seg, err := shm.Create(o.Segment)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, seg: seg, encode: o.AlwaysEncode, boxes: map[string]*mailbox.Mailbox{}}
	w.main = w.join(0)
	box, err := w.main.hub.Create("$letters", 1024, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.letters = box.Receiver()
	w.main.hub.SetLetters(box)
	t.Cleanup(w.end)
	return w
}

func (w *world) join(entry uint32) *process {
	hub := mailbox.Join(w.seg, entry)
	p := &process{w: w, hub: hub, sys: actor.NewSystem(actor.SystemOptions{Hub: hub, AlwaysEncode: w.encode})}
	w.all = append(w.all, p)
	return p
}

// process adds a process.
func (w *world) process(name string) *process {
	w.t.Helper()
	id, err := w.seg.Grant(name)
	if err == nil {
		err = w.seg.Enter(id)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	p := w.join(id.Index())
	letters, err := p.hub.At(w.letters.Index())
	if err != nil {
		w.t.Fatal(err)
	}
	p.hub.SetLetters(letters)
	return p
}

// box makes the mailbox of an actor, once.
func (w *world) box(name string, what actor.Spawnable) *mailbox.Mailbox {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if b := w.boxes[name]; b != nil {
		return b
	}
	r := what.Recipe()
	b, err := w.main.hub.Create(name, r.Capacity(), r.KindHash())
	if err != nil {
		w.t.Fatal(err)
	}
	w.boxes[name] = b
	return b
}

// close ends the mailbox of an actor for good.
func (w *world) close(name string) {
	w.mu.Lock()
	b := w.boxes[name]
	delete(w.boxes, name)
	w.mu.Unlock()
	b.Close(shm.Stopped)
}

// begin starts a life of an actor in this process.
func (p *process) begin(ctx context.Context, name string, what actor.Spawnable) (*actor.Life, error) {
	p.w.t.Helper()
	here, err := p.hub.At(p.w.box(name, what).Index())
	if err != nil {
		p.w.t.Fatal(err)
	}
	return p.again(ctx, name, here, what)
}

func (p *process) again(ctx context.Context, name string, box *mailbox.Mailbox, what actor.Spawnable) (*actor.Life, error) {
	life, err := p.sys.Start(ctx, name, box, what.Recipe())
	if err == nil {
		p.w.mu.Lock()
		p.w.lives = append(p.w.lives, life)
		p.w.mu.Unlock()
	}
	return life, err
}

// start is begin that has to succeed.
func (p *process) start(name string, what actor.Spawnable) *actor.Life {
	p.w.t.Helper()
	life, err := p.begin(testkit.Deadline(p.w.t, patience), name, what)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return life
}

// keep starts an actor, and starts it again after each crash.
func (p *process) keep(name string, what actor.Spawnable) {
	p.w.t.Helper()
	life := p.start(name, what)
	p.w.keepers.Go(func() {
		for {
			<-life.Done()
			p.w.mu.Lock()
			closed := p.w.closed
			p.w.mu.Unlock()
			if closed || life.End().Reason != actor.EndCrash {
				return
			}
			next, err := p.again(context.Background(), name, life.Box(), what)
			if err != nil {
				p.w.t.Errorf("%s was not started again: %v", name, err)
				return
			}
			p.w.mu.Lock()
			closed = p.w.closed
			p.w.mu.Unlock()
			if closed { // it was not there yet when all were stopped
				next.Stop(false, testkit.Scale(patience), 0)
			}
			life = next
		}
	})
}

// end stops everything and looks at what is left.
func (w *world) end() {
	w.t.Helper()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	for i := 0; ; i++ { // a life may be started while others are stopped
		w.mu.Lock()
		if i >= len(w.lives) {
			w.mu.Unlock()
			break
		}
		l := w.lives[i]
		w.mu.Unlock()
		l.Stop(false, testkit.Scale(patience), 0)
	}
	w.keepers.Wait()
	for name := range w.boxes {
		w.close(name)
	}
	w.dead()
	w.clean()
	w.letters.Close()
	for i := len(w.all) - 1; i >= 0; i-- {
		w.all[i].hub.Close(actor.ErrSystemEnded)
	}
	if err := w.seg.Close(); err != nil {
		w.t.Error(err)
	}
}

// clean waits until nothing is under way and every frame is free or in a cache.
func (w *world) clean() {
	w.t.Helper()
	var wrong error
	quiet := func() bool {
		census, err := mailbox.Check(w.seg)
		wrong = err
		for st, n := range census.States {
			if shm.State(st) != shm.Held && n > 0 {
				wrong = errors.Join(wrong, fmt.Errorf("%d frames are %v", n, shm.State(st)))
			}
		}
		for _, p := range w.all {
			if held, kept := census.Held[p.hub.Self()], p.hub.Kept(); held != kept {
				wrong = errors.Join(wrong, fmt.Errorf("process %v holds %d frames and keeps %d", p.hub.Self(), held, kept))
			}
		}
		return wrong == nil
	}
	for end := time.Now().Add(testkit.Scale(patience)); !quiet(); {
		if time.Now().After(end) {
			w.t.Errorf("what is left: %v", wrong)
			return
		}
		nap()
	}
}

// nap lets others run for a moment: between two looks at something that has to happen, never instead of looking.
func nap() { <-time.After(100 * time.Microsecond) }

// letter is a dead letter.
type letter struct {
	to     string
	method string
	reason shm.Reason
	from   uint32
	length uint32
}

// dead takes all dead letters.
func (w *world) dead() (list []letter) {
	names := map[uint32]string{}
	w.mu.Lock()
	for name, b := range w.boxes {
		names[b.Index()+1] = name
	}
	w.mu.Unlock()
	for {
		m, ok := w.letters.TryReceive()
		if !ok {
			return list
		}
		h := m.Header
		list = append(list, letter{names[h.Origin], actor.MethodName(h.Method), h.Reason, h.Sender, h.Length})
		m.Release()
	}
}

// waitLetters takes dead letters until there are n.
func (w *world) waitLetters(n int) (list []letter) {
	w.t.Helper()
	testkit.Eventually(w.t, patience, fmt.Sprintf("%d dead letters", n), func() bool {
		list = append(list, w.dead()...)
		return len(list) >= n
	})
	if len(list) > n {
		w.t.Errorf("%d dead letters, want %d: %+v", len(list), n, list)
	}
	return list
}

// scripted is an actor that does what it is told: its run method takes the number of a script.
type scripted struct {
	sum  int64
	seen []int64
}

type script func(ctx context.Context, a *scripted) (int64, error)

var scripts struct {
	byNumber sync.Map
	last     atomic.Int64
}

// do registers a script for the time of a test and returns its number.
func do(t testing.TB, f script) int64 {
	n := scripts.last.Add(1)
	scripts.byNumber.Store(n, f)
	t.Cleanup(func() { scripts.byNumber.Delete(n) })
	return n
}

// Run runs a script.
func (a *scripted) Run(ctx context.Context, n int64) (int64, error) {
	f, ok := scripts.byNumber.Load(n)
	if !ok {
		return 0, fmt.Errorf("no script %d", n)
	}
	return f.(script)(ctx, a)
}

func (a *scripted) Add(_ context.Context, n int64) (int64, error) {
	a.sum += n
	return a.sum, nil
}

// Note keeps n, and what it was told before.
func (a *scripted) Note(_ context.Context, n int64) (struct{}, error) {
	a.seen = append(a.seen, n)
	return struct{}{}, nil
}

func (a *scripted) Seen(context.Context, struct{}) ([]int64, error) {
	return append([]int64(nil), a.seen...), nil
}

func echo[T any](_ *scripted, _ context.Context, v T) (T, error) { return v, nil }

type document struct {
	Title string
	Items []item
	Meta  map[string]string
	Next  *document
	When  time.Time
	Free  any
}

type item struct {
	Name  string
	Count int32
	Tags  []string
}

// point has a fixed size and no pointers.
type point struct {
	X, Y int32
	On   bool
	_    [3]byte
}

// methods are the methods of a kind of scripted actors.
type methods struct {
	kind  actor.Kind[*scripted]
	run   actor.Method[*scripted, int64, int64]
	add   actor.Method[*scripted, int64, int64]
	note  actor.Method[*scripted, int64, struct{}]
	seen  actor.Method[*scripted, struct{}, []int64]
	text  actor.Method[*scripted, string, string]
	bytes actor.Method[*scripted, []byte, []byte]
	point actor.Method[*scripted, point, point]
	doc   actor.Method[*scripted, document, document]
	next  actor.Method[*scripted, *document, *document]
	free  actor.Method[*scripted, any, any]
	none  actor.Method[*scripted, struct{}, struct{}]
	odd   actor.Method[*scripted, awkward, awkward]
	hop   actor.Method[*scripted, []string, int64]
	later actor.Method[*scripted, actor.Deferred[int64], struct{}]
}

func newMethods(name string, opts ...actor.KindOption) *methods {
	k := actor.NewKind(name, func() *scripted { return new(scripted) }, opts...)
	m := &methods{
		kind:  k,
		run:   actor.NewMethod(k, "run", (*scripted).Run),
		add:   actor.NewMethod(k, "add", (*scripted).Add),
		note:  actor.NewMethod(k, "note", (*scripted).Note),
		seen:  actor.NewMethod(k, "seen", (*scripted).Seen),
		text:  actor.NewMethod(k, "text", echo[string]),
		bytes: actor.NewMethod(k, "bytes", echo[[]byte]),
		point: actor.NewMethod(k, "point", echo[point]),
		doc:   actor.NewMethod(k, "doc", echo[document]),
		next:  actor.NewMethod(k, "next", echo[*document]),
		free:  actor.NewMethod(k, "free", echo[any]),
		none:  actor.NewMethod(k, "none", echo[struct{}]),
		odd:   actor.NewMethod(k, "odd", oddly),
	}
	m.hop = actor.NewMethod(k, "hop", m.hops)
	m.later = actor.NewMethod(k, "later", func(_ *scripted, ctx context.Context, d actor.Deferred[int64]) (struct{}, error) {
		self, _ := actor.SelfOf(ctx)
		return struct{}{}, d.Reply(self.System(), 42, nil)
	})
	return m
}

// hops calls the first actor of a path with the rest of it, and returns how many were called.
func (m *methods) hops(_ *scripted, ctx context.Context, path []string) (int64, error) {
	if len(path) == 0 {
		return 0, nil
	}
	self, ok := actor.SelfOf(ctx)
	if !ok {
		return 0, errors.New("no self in a handler")
	}
	n, err := m.hop.Call(ctx, m.kind.Ref(self.System(), path[0]), path[1:])
	return n + 1, err
}

var (
	plain   = newMethods("test/plain")
	encoded = newMethods("test/encoded", actor.AlwaysEncoded())
	once    = newMethods("test/once", actor.Redeliver(1)) // as without, but for where replies lie
	thrice  = newMethods("test/thrice", actor.Redeliver(3))
)

// scene is one of the ways in which a caller and the actor "a" can be to each other.
type scene struct {
	*methods
	t      testing.TB
	w      *world
	local  bool     // messages go by reference
	caller *process // where calls come from
	home   *process // where the actor is
	ref    actor.Ref[*scripted]
}

// everywhere runs a test in each scene, each in a world of its own.
func everywhere(t *testing.T, test func(t *testing.T, s *scene)) {
	testkit.NoLeaks(t)
	for _, c := range []struct {
		name       string
		m          *methods
		o          worldOptions
		away, back bool
	}{
		{name: "reference", m: plain},
		{name: "reference, mapped", m: plain, o: worldOptions{Mapped: true}},
		{name: "encoded kind", m: encoded},
		{name: "encoded kind, mapped", m: encoded, o: worldOptions{Mapped: true}},
		{name: "encoding system", m: plain, o: worldOptions{AlwaysEncode: true}},
		{name: "from another process", m: plain, away: true},
		{name: "to another process", m: plain, back: true},
		{name: "kind of one attempt", m: once},
		{name: "kind of one attempt, in another process", m: once, back: true},
	} {
		if c.o.Mapped && !sys.Supported {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			w := makeWorld(t, c.o)
			s := &scene{methods: c.m, t: t, w: w, caller: w.main, home: w.main, local: strings.HasPrefix(c.name, "reference")}
			if c.away || c.back {
				other := w.process("other")
				if c.away {
					s.caller = other
				} else {
					s.home = other
				}
			}
			s.ref = c.m.kind.Ref(s.caller.sys, "a")
			test(t, s)
		})
	}
}

// ctx bounds what the caller does.
func (s *scene) ctx() context.Context { return testkit.Deadline(s.t, patience) }

// do calls a script and returns its outcome.
func (s *scene) do(f script) (int64, error) {
	s.t.Helper()
	return s.run.Call(s.ctx(), s.ref, do(s.t, f))
}

// works fails the test unless the actor answers.
func (s *scene) works() {
	s.t.Helper()
	if got, err := s.text.Call(s.ctx(), s.ref, "hello"); got != "hello" || err != nil {
		s.t.Errorf("the actor answers %q, %v", got, err)
	}
}

// call runs a call on a goroutine of its own.
func call[R any](f func() (R, error)) <-chan outcome[R] {
	ch := make(chan outcome[R], 1)
	go func() {
		r, err := f()
		ch <- outcome[R]{r, err}
	}()
	return ch
}

type outcome[R any] struct {
	res R
	err error
}

// wait takes what has to come.
func wait[T any](t testing.TB, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(testkit.Scale(patience)):
		t.Fatalf("waited in vain: %s", what)
	}
	return v
}

// must fails the test at once if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantIs fails the test unless err is want.
func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

// block makes a script that says when it runs, and waits until it is let go.
func block(t testing.TB) (f script, running <-chan struct{}, release func()) {
	in, out := make(chan struct{}, 1), make(chan struct{})
	release = sync.OnceFunc(func() { close(out) })
	t.Cleanup(release)
	return func(context.Context, *scripted) (int64, error) {
		in <- struct{}{}
		<-out
		return 7, nil
	}, in, release
}

var kinds atomic.Int64

// newName returns the name of a kind that no other test has.
func newName(t testing.TB) string {
	return fmt.Sprintf("%s/%d", t.Name(), kinds.Add(1))
}

// inspect reads what the segment says of the actor's mailbox.
func (s *scene) inspect() mailbox.Info {
	s.t.Helper()
	var snap mailbox.Snapshot
	mailbox.NewInspector(s.w.seg).Look(&snap)
	for _, m := range snap.Mailboxes {
		if m.Name == "a" {
			return m
		}
	}
	s.t.Fatal("no mailbox a")
	return mailbox.Info{}
}

// queued is how many messages wait for the actor.
func (s *scene) queued() int { return int(s.inspect().Depth) }
