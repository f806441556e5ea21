package supervisor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// A tough actor's messages are handled up to three times. Its Init kills its process if there is a file for that.
type tough struct {
	file string
	seen []int
}

var (
	toughs    = actor.NewKindWith("tough", func(file string) (*tough, error) { return &tough{file: file}, nil }, actor.Redeliver(3))
	toughWork = actor.NewMethod(toughs.Kind, "work", (*tough).Work)
	toughSeen = actor.NewMethod(toughs.Kind, "seen", func(c *tough, _ context.Context, _ struct{}) ([]int, error) { return c.seen, nil })

	scribes  = actor.NewKind("scribe", func() struct{} { return struct{}{} })
	inscribe = actor.NewMethod(scribes, "write", func(_ struct{}, _ context.Context, line string) (struct{}, error) {
		record(line)
		return struct{}{}, nil
	})
)

// Init dies, once, if it is to.
func (c *tough) Init(context.Context) error {
	if c.file != "" && os.Remove(c.file) == nil {
		killSelf()
	}
	return nil
}

// killSelf ends this worker as a crash would.
func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// job is what a tough actor does.
type job struct {
	Name  string
	Dies  int    // at so many attempts
	How   string // it dies
	Data  []byte
	Reply int // how many bytes
}

// mortal is a reply that may kill who writes it.
type mortal struct {
	Kill bool
	Data []byte
}

// AppendBinary dies in the middle, when the handler has returned.
func (m mortal) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, m.Data...)
	if m.Kill {
		killSelf()
	}
	return b, nil
}

// UnmarshalBinary reads what AppendBinary wrote.
func (m *mortal) UnmarshalBinary(b []byte) error { m.Data = slices.Clone(b); return nil }

// Work says that it runs, and then dies, or not.
func (c *tough) Work(ctx context.Context, j job) (mortal, error) {
	self, _ := actor.SelfOf(ctx)
	n := actor.Attempt(ctx)
	c.seen = append(c.seen, n)
	if want := bytes.Repeat([]byte{7}, len(j.Data)); !bytes.Equal(j.Data, want) {
		return mortal{}, errors.New("the request is not what was sent")
	}
	if _, err := inscribe.Call(ctx, scribes.Ref(self.System(), "scribe"), fmt.Sprint(j.Name, " ", n)); err != nil {
		return mortal{}, err
	}
	r := mortal{Data: bytes.Repeat([]byte{9}, j.Reply)}
	if n > j.Dies {
		return r, nil
	}
	switch j.How {
	case "during":
		killSelf()
	case "after":
		r.Kill = true
	case "before the next":
		_ = os.WriteFile(c.file, nil, 0o600)
		killSelf()
	case "panic":
		panic("out of luck")
	case "hang":
		select {}
	}
	return r, nil
}

// withTough is a system with a tough actor "near" and one "far" in a worker.
func withTough(t *testing.T, limits supervisor.Limits, opts ...supervisor.ChildOption) (s *system, far actor.Ref[*tough]) {
	t.Helper()
	testkit.NeedWorkers(t)
	recorded()
	s = start(t, supervisor.Spec{Limits: limits, Children: []supervisor.Child{
		supervisor.Actor("scribe", scribes), supervisor.Actor("near", toughs.With("")),
		supervisor.Worker("w", supervisor.Actor("far", toughs.With(filepath.Join(t.TempDir(), "kill")))).With(opts...),
	}})
	return s, toughs.Ref(s.System, "far")
}

// wantJournal fails the test unless exactly these handlers ran, in this order.
func wantJournal(t *testing.T, want ...string) {
	t.Helper()
	if got := recorded(); !slices.Equal(got, want) {
		t.Errorf("what ran: %q, want %q", got, want)
	}
}

// However its worker or the actor dies in the hands of a message, the message is handled again, before what is queued behind it.
func TestRedeliver(t *testing.T) {
	for how, lives := range map[string][]string{
		"during":          {"first 1", "first 2", "first 3"},
		"after":           {"first 1", "first 2", "first 3"}, // at least once: the first two had returned
		"before the next": {"first 1", "first 2", "first 3"}, // the lives that died before a handler began do not count
		"panic":           {"first 1", "first 2", "first 3"},
	} {
		t.Run(how, func(t *testing.T) {
			s, far := withTough(t, eager)
			before := s.pid("w")
			data := bytes.Repeat([]byte{7}, 100_000)
			first := make(chan error, 1)
			go func() {
				r, err := toughWork.Call(s.ctx, far, job{Name: "first", Dies: 2, How: how, Data: data, Reply: 300_000})
				if err == nil && !bytes.Equal(r.Data, bytes.Repeat([]byte{9}, 300_000)) {
					err = fmt.Errorf("a reply of %d bytes", len(r.Data))
				}
				first <- err
			}()
			if !eventually(func() bool { b := s.box("far"); return b.In > 0 }) {
				t.Fatal("it is not sent")
			}
			want := lives
			for i := range 5 {
				name := fmt.Sprint("behind ", i)
				want = append(want, name+" 1")
				if err := toughWork.Send(s.ctx, far, job{Name: name}); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-first; err != nil {
				t.Error(err)
			}
			must[mortal](t)(toughWork.Call(s.ctx, far, job{Name: "last"}))
			wantJournal(t, append(want, "last 1")...)
			if died := s.pid("w") != before; died != (how != "panic") {
				t.Errorf("its worker was started again: %v", died)
			}
			// And one-way.
			if how != "after" {
				if err := toughWork.Send(s.ctx, far, job{Name: "sent", Dies: 1, How: how}); err != nil {
					t.Fatal(err)
				}
				must[mortal](t)(toughWork.Call(s.ctx, far, job{Name: "last"}))
				wantJournal(t, "sent 1", "sent 2", "last 1")
			}
			if n := supervisor.DeadLetterCounts(s.System); len(n) > 0 {
				t.Errorf("dead letters: %v", n)
			}
		})
	}
}

// A message that kills every life is given up after its attempts, and what is behind it is handled.
func TestRedeliverPoison(t *testing.T) {
	for how, told := range map[string]error{"during": actor.ErrWorkerDied, "panic": actor.ErrCrashed} {
		t.Run(how, func(t *testing.T) {
			s, far := withTough(t, eager)
			if err := toughWork.Send(s.ctx, far, job{Name: "poison", Dies: 9, How: how}); err != nil {
				t.Fatal(err)
			}
			must[mortal](t)(toughWork.Call(s.ctx, far, job{Name: "behind"}))
			wantJournal(t, "poison 1", "poison 2", "poison 3", "behind 1")
			list := must[[]supervisor.DeadLetter](t)(supervisor.DeadLetters(s.ctx, s.System, 10))
			if len(list) != 1 || list[0].To != "far" || list[0].Reason != shm.Exhausted.String() || list[0].Attempts != 3 || list[0].Method != "tough.work" {
				t.Errorf("dead letters %+v", list)
			}
			_, err := toughWork.Call(s.ctx, far, job{Name: "poison", Dies: 9, How: how})
			wantError(t, err, told, map[string]string{"during": "signal: killed", "panic": "out of luck"}[how])
			must[mortal](t)(toughWork.Call(s.ctx, far, job{Name: "behind"}))
			wantJournal(t, "poison 1", "poison 2", "poison 3", "behind 1")
		})
	}
}

// A caller that gave up while its message was in hand does not have it handled again.
func TestRedeliverGivenUp(t *testing.T) {
	s, far := withTough(t, eager)
	ctx, giveUp := context.WithCancel(s.ctx)
	given := make(chan error, 1)
	go func() {
		_, err := toughWork.Call(ctx, far, job{Name: "given up", Dies: 9, How: "hang"})
		given <- err
	}()
	if !eventually(func() bool { return s.box("far").Attempts == 1 && s.box("far").Busy > 0 }) {
		t.Fatal("it is not handled")
	}
	giveUp()
	wantError(t, <-given, context.Canceled)
	s.signal("w", syscall.SIGKILL)
	must[mortal](t)(toughWork.Call(s.ctx, far, job{Name: "behind"}))
	if got := recorded(); !slices.Equal(got, []string{"behind 1"}) && !slices.Equal(got, []string{"given up 1", "behind 1"}) {
		t.Errorf("what ran: %q", got)
	}
}

// slow limits wait long before a second restart.
var slow = supervisor.Limits{Restarts: -1, Backoff: time.Hour, BackoffMax: time.Hour}

// When no life follows, what is in hand is settled: its worker is not started again, or the system ends before.
func TestRedeliverNoLifeFollows(t *testing.T) {
	for name, c := range map[string]struct {
		limits supervisor.Limits
		opts   []supervisor.ChildOption
		end    func(s *system) error
		told   error
	}{
		"temporary":       {eager, []supervisor.ChildOption{supervisor.RestartWhen(supervisor.Temporary)}, nil, actor.ErrStopped},
		"the system ends": {slow, nil, func(s *system) error { return s.Close() }, actor.ErrSystemEnded},
	} {
		t.Run(name, func(t *testing.T) {
			s, far := withTough(t, c.limits, c.opts...)
			told := make(chan error, 1)
			go func() { _, err := toughWork.Call(s.ctx, far, job{Name: "poison", Dies: 9, How: "during"}); told <- err }()
			if c.end != nil {
				s.log.want(1, "child waits before its restart", "child=w")
				if b := s.box("far"); b.Attempts == 0 {
					t.Errorf("it is not in hand: %+v", b)
				}
				if err := c.end(s); err != nil {
					t.Error(err)
				}
			}
			wantError(t, <-told, c.told)
			if n := len(recorded()); n == 0 || n > 2 {
				t.Errorf("%d attempts", n)
			}
		})
	}
}

// What is in hand when an actor is stopped before its next life is the first of what is settled.
func TestRedeliverStopped(t *testing.T) {
	s, _ := withTough(t, slow)
	near := toughs.Ref(s.System, "near")
	for _, name := range []string{"first", "second"} {
		if err := toughWork.Send(s.ctx, near, job{Name: name, Dies: 9, How: "panic"}); err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan error, 1)
	s.log.want(1, "child waits before its restart", "child=near")
	go func() { _, err := toughWork.Call(s.ctx, near, job{Name: "third"}); told <- err }()
	if !eventually(func() bool { return s.box("near").Depth == 2 }) {
		t.Fatal("it is not sent")
	}
	if err := supervisor.Stop(s.ctx, s.System, "near"); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-told, actor.ErrStopped)
	list := must[[]supervisor.DeadLetter](t)(supervisor.DeadLetters(s.ctx, s.System, 10))
	if len(list) != 2 || list[0].Reason != "stopped" || list[0].Attempts != 2 || list[1].Reason != "stopped" || list[1].Attempts != 0 {
		t.Errorf("dead letters %+v", list)
	}
	wantJournal(t, "first 1", "first 2")
}

// hardy is a system in a file with tough actors.
func hardy(path string) supervisor.Spec {
	spec := durable(path)
	spec.Children = []supervisor.Child{
		supervisor.Actor("scribe", scribes), supervisor.Actor("near", toughs.With("")), w(supervisor.Actor("far", toughs.With(""))),
	}
	return spec
}

// playHardy starts the system, and is killed while both actors handle a message.
func playHardy() {
	ctx := context.Background()
	sys, err := supervisor.Start(ctx, hardy(os.Args[1]))
	if err == nil {
		for _, name := range []string{"near", "far"} {
			ref := toughs.Ref(sys, name)
			err = errors.Join(err, toughWork.Send(ctx, ref, job{Name: name, Dies: 1, How: "hang"}))
			if !eventually(func() bool { return boxOf(sys, name).Attempts == 1 && boxOf(sys, name).Busy > 0 }) {
				err = errors.Join(err, errors.New("it is not being handled"))
			}
			err = errors.Join(err, toughWork.Send(ctx, ref, job{Name: "behind " + name}))
		}
	}
	fmt.Println("queued", err)
	select {}
}

// With a file, what was in hand when the program was killed is handled again by the next one, and its attempts are counted on.
func TestRedeliverDurable(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	path := filepath.Join(t.TempDir(), "segment")
	killedWhenQueued(t, "hardy", path)
	ctx := testkit.Deadline(t, patience)
	sys, err := supervisor.Start(ctx, hardy(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"near", "far"} {
		got, err := toughSeen.Call(ctx, toughs.Ref(sys, name), struct{}{})
		if err != nil || !slices.Equal(got, []int{2, 1}) {
			t.Errorf("%s handled attempts %v, %v", name, got, err)
		}
	}
	if n := supervisor.DeadLetterCounts(sys); len(n) > 0 {
		t.Errorf("dead letters: %v", n)
	}
	if err := sys.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 0 {
		t.Errorf("left behind: %v", strings.Join(left, " "))
	}
}
