package supervisor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// Calls whose time is up just when the answer comes: each ends as one of the two, and none gets another's answer.
func TestTimeoutsNearTheServiceTime(t *testing.T) {
	testkit.NeedWorkers(t)
	const parties = 8
	calls := 1_000_000 / slower / parties
	s := start(t, of(w(a("far"))))
	ref := s.counter("far")
	var wrong, right, late atomic.Int64
	var all sync.WaitGroup
	for p := range uint64(parties) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(p, 3))
			near := 20 * time.Microsecond // where about half of the calls are late
			for i := range uint64(calls) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(float64(near)*(0.5+rng.Float64())))
				want := p<<40 | i
				got, err := echo.Call(ctx, ref, want)
				cancel()
				switch {
				case err == nil && got == want:
					right.Add(1)
					near = max(near*63/64, time.Microsecond)
				case errors.Is(err, context.DeadlineExceeded):
					late.Add(1)
					near = min(near*65/64+1, 10*time.Millisecond)
				default:
					wrong.Add(1)
					t.Errorf("call %x got %x, %v", want, got, err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d answers, %d too late", right.Load(), late.Load())
	if n := int64(parties * calls); wrong.Load() > 0 || right.Load() < n/10 || late.Load() < n/10 {
		t.Errorf("of %d calls %d were answered, %d too late, %d wrong", n, right.Load(), late.Load(), wrong.Load())
	}
}

// 64 callers in four programs at once: nobody gets another's answer.
func TestManyCallers(t *testing.T) {
	s := town(t)
	calls := int64(1500 / slower)
	var guests []*role
	for range 4 {
		guests = append(guests, attached(t, "test"))
	}
	for _, g := range guests {
		g.tell(request{Do: "echo", N: calls})
	}
	for _, g := range guests {
		if got := g.answer(); got.Error != "" || got.N != 0 {
			t.Errorf("%d answers were swapped, %s", got.N, got.Error)
		}
	}
	for _, g := range guests {
		g.must(request{Do: "close"})
		g.leave()
	}
	testkit.Eventually(t, patience, "their entries are free", func() bool { return s.processes() == 3 })
	var handled uint64
	for _, place := range places {
		handled += s.box(clerk(place)).Handled
	}
	if want := uint64(4 * 16 * calls); handled != want {
		t.Errorf("%d calls were handled, want %d", handled, want)
	}
}

// What cannot be sent is an error to who wanted it, and nothing more.
func TestWhatCannotBeSent(t *testing.T) {
	s := town(t)
	for _, place := range []string{"w", "v"} {
		ref := s.counter(clerk(place))
		pid := s.pid(place)
		_, err := grow.Call(s.ctx, ref, 2<<20)
		wantError(t, err, actor.ErrTooLarge, "reply")
		_, err = reverse.Call(s.ctx, ref, make([]byte, 2<<20))
		wantError(t, err, actor.ErrTooLarge, clerk(place))
		_, err = carry.Call(s.ctx, ref, cargo{Any: make(chan int)})
		wantError(t, err, actor.ErrNotEncodable, clerk(place))
		_, err = carry.Call(s.ctx, ref, cargo{Any: "channel"})
		wantError(t, err, actor.ErrNotEncodable, "reply")
		if got := must[cargo](t)(carry.Call(s.ctx, ref, cargo{Any: "a"})); got.Any != "a" {
			t.Errorf("%+v", got)
		}
		b := []byte("0123456789")
		if got := must[[]byte](t)(reverse.Call(s.ctx, ref, b)); !bytes.Equal(got, []byte("9876543210")) {
			t.Errorf("%q", got)
		}
		if s.pid(place) != pid {
			t.Error("the worker was restarted")
		}
	}
}

// A frame whose bytes make no sense: its sender is told, the actor lives on.
func TestMalformedFrames(t *testing.T) {
	s := town(t)
	hub := s.Hub()
	// The numbers of methods, from messages to a mailbox of that kind that nobody else reads.
	sniff := must[*mailbox.Mailbox](t)(hub.Create("sniff", 8, counters.Recipe().KindHash()))
	rx := sniff.Receiver()
	header := func(send func(actor.Ref[*counter]) error) shm.Header {
		if err := send(s.counter("sniff")); err != nil {
			t.Fatal(err)
		}
		m, ok := rx.TryReceive()
		if !ok {
			t.Fatal("nothing was sent")
		}
		defer m.Release()
		return m.Header
	}
	heads := []shm.Header{
		header(func(r actor.Ref[*counter]) error { return note.Send(s.ctx, r, 1) }),
		header(func(r actor.Ref[*counter]) error { return carry.Send(s.ctx, r, cargo{}) }),
		header(func(r actor.Ref[*counter]) error { return manage.Send(s.ctx, r, order{}) }),
	}
	for _, place := range places {
		box := must[*mailbox.Mailbox](t)(hub.Open(clerk(place)))
		for _, head := range heads {
			for _, payload := range []string{"", "\xff", "\x9f\x9f\x9f\x9f\x9f\x9f\x9f", "\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "not what it takes, by far"} {
				for _, codec := range []uint8{head.Codec, 0, 200} {
					call := func() error {
						d := must[mailbox.Draft](t)(hub.Draft(len(payload)))
						d.Header.Method, d.Header.Codec = head.Method, codec
						d.Header.Length = uint32(copy(d.Frame.Payload(), payload))
						r, err := box.Call(s.ctx, &d)
						if err == nil {
							r.Release()
						}
						return err
					}
					if err := call(); err == nil && codec == 200 {
						t.Errorf("%q: %q in codec %d was understood", clerk(place), payload, codec)
					} else if err != nil && !errors.Is(err, actor.ErrIncompatible) {
						t.Errorf("%q: %q: %v", clerk(place), payload, err)
					}
				}
			}
		}
		// A length beyond the frame, an unknown method.
		d := must[mailbox.Draft](t)(hub.Draft(8))
		d.Header.Method, d.Header.Codec, d.Header.Length = heads[0].Method, heads[0].Codec, 1<<31
		_, err := box.Call(s.ctx, &d)
		wantError(t, err, actor.ErrIncompatible)
		_, err = box.CallBytes(s.ctx, []byte("to whom it may concern"))
		wantError(t, err, actor.ErrIncompatible, "no method")
		if g := s.counter(clerk(place)).Generation(); g != 1 {
			t.Errorf("%q is in its life %d", clerk(place), g)
		}
	}
	rx.Close()
	sniff.Close(shm.Stopped)
}

// One system after the other, and nothing grows.
func TestManySystems(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	all := 200 / min(slower, 4)
	use := func() (files, threads, goroutines int) {
		list, _ := os.ReadDir("/proc/self/fd")
		tasks, _ := os.ReadDir("/proc/self/task")
		return len(list), len(tasks), runtime.NumGoroutine()
	}
	var files, threads, goroutines int
	for i := range all {
		if i == all/4 {
			files, threads, goroutines = use()
		}
		children := []supervisor.Child{a("near")}
		if i%20 == 0 {
			children = append(children, w(a("far")))
		}
		s := must[*actor.System](t)(supervisor.Start(context.Background(), supervisor.Spec{Name: "test", Children: children}))
		must[int64](t)(add.Call(context.Background(), counters.Ref(s, "near"), 1))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Threads are the runtime's, which keeps a few more or less.
	const spare = 8
	if !eventually(func() bool {
		f, th, g := use()
		return f <= files && th <= threads+spare && g <= goroutines
	}) {
		f, th, g := use()
		t.Errorf("%d descriptors, %d threads, %d goroutines; a good while ago %d, %d, %d", f, th, g, files, threads, goroutines)
	}
}

// A message of 64 MB, there and back.
func TestLargeMessages(t *testing.T) {
	testkit.NeedWorkers(t)
	const size = 64 << 20 / slower
	s := start(t, supervisor.Spec{Segment: shm.Options{MaxMessage: size + 4096}, Children: []supervisor.Child{a("near"), w(a("far"))}})
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7 / 5)
	}
	for range 2 {
		got := must[[]byte](t)(reverse.Call(s.ctx, s.counter("far"), b))
		if len(got) != size || got[0] != b[size-1] || got[size-1] != b[0] || got[size/3] != b[size-1-size/3] {
			t.Fatal("it came back otherwise")
		}
	}
	_, err := reverse.Call(s.ctx, s.counter("far"), make([]byte, size+1<<20))
	wantError(t, err, actor.ErrTooLarge)
	s.signal("w", syscall.SIGKILL)
	if got := must[[]byte](t)(reverse.Call(s.ctx, s.counter("far"), b)); len(got) != size {
		t.Errorf("%d bytes after a restart", len(got))
	}
}

// Where a file has no room a segment in memory has.
func TestFileWithoutRoom(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	dir := t.TempDir()
	unmount, err := mountTmpfs(dir, "64m")
	if err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	}()
	large := shm.Options{File: filepath.Join(dir, "segment"), MessageBytes: 100 << 20}
	_, err = startBeside(t, supervisor.Spec{Segment: large, Children: []supervisor.Child{w(a("far"))}})
	wantError(t, err, actor.ErrNoSpace, dir, "MessageBytes")
	if left := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(left) > 0 {
		t.Errorf("left in the directory: %v", left)
	}
	small := large
	small.MessageBytes = 8 << 20
	inMemory := large
	inMemory.File = ""
	for _, o := range []shm.Options{small, inMemory} {
		s := must[*actor.System](t)(supervisor.Start(context.Background(), supervisor.Spec{Name: "test", Segment: o, Children: []supervisor.Child{w(a("far"))}}))
		must[int64](t)(add.Call(context.Background(), counters.Ref(s, "far"), 1))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(left) > 0 {
		t.Errorf("left in the directory: %v", left)
	}
}

// On the heap there are only actors of this process, and nobody attaches; the rest is the same.
func TestHeap(t *testing.T) {
	s := start(t, supervisor.Spec{Limits: eager, Segment: shm.Options{Heap: true}, Children: []supervisor.Child{
		a("near"), supervisor.Group("g", a("inner")), supervisor.Actor("gate", gates),
	}})
	if left := runtimeEntries(t); len(left) > 0 {
		t.Errorf("it is published: %q", left)
	}
	for _, name := range []string{"near", "inner"} {
		must[int64](t)(add.Call(s.ctx, s.counter(name), 1))
		_, err := die.Call(s.ctx, s.counter(name), order{What: "panic"})
		wantError(t, err, actor.ErrCrashed)
		must[int64](t)(add.Call(s.ctx, s.counter(name), 1))
	}
	if err := supervisor.Spawn(s.ctx, s.System, a("more")); err != nil {
		t.Error(err)
	}
	wantError(t, supervisor.SpawnIn(s.ctx, s.System, "w", a("x")), actor.ErrNotFound)
	if err := supervisor.Stop(s.ctx, s.System, "more"); err != nil {
		t.Error(err)
	}
	if err := supervisor.WaitFor(s.ctx, s.System, "inner"); err != nil {
		t.Error(err)
	}
	wantError(t, supervisor.WaitFor(shortly(t), s.System, "nobody"), context.DeadlineExceeded)
	_, err := supervisor.Attach(shortly(t), "test")
	wantError(t, err, actor.ErrNotFound)
}

func shortly(t testing.TB) context.Context { return testkit.Deadline(t, 5*time.Millisecond) }

// Everything encoded, though it stays here: nothing is shared by accident.
func TestAlwaysEncode(t *testing.T) {
	testkit.NeedWorkers(t)
	s := start(t, supervisor.Spec{AlwaysEncode: true, Children: []supervisor.Child{a("near"), w(a("far"), a("far too"))}})
	for _, name := range []string{"near", "far"} {
		b := []byte("abc")
		got := must[[]byte](t)(reverse.Call(s.ctx, s.counter(name), b))
		if string(got) != "cba" || string(b) != "abc" {
			t.Errorf("%s: %q of %q", name, got, b)
		}
		_, err := carry.Call(s.ctx, s.counter(name), cargo{Any: make(chan int)})
		wantError(t, err, actor.ErrNotEncodable)
	}
}

// Who waits for names that never come, and gives up again and again, leaves nothing behind.
func TestWaitForLeavesNothing(t *testing.T) {
	s := start(t, of(a("near")))
	const many = 2000
	grown := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapObjects
	}
	round := func() {
		var all sync.WaitGroup
		const parties = 50
		for i := range parties {
			all.Go(func() {
				for k := range many / parties {
					ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
					_ = supervisor.WaitFor(ctx, s.System, fmt.Sprint("nobody ", i, k))
					cancel()
				}
			})
		}
		all.Wait()
	}
	round()
	before := grown()
	for range 5 / min(slower, 5) {
		round()
	}
	if after := grown(); after > before+many {
		t.Errorf("%d objects more than before", after-before)
	}
	if err := supervisor.WaitFor(s.ctx, s.System, "near"); err != nil {
		t.Error(err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- supervisor.WaitFor(s.ctx, s.System, "nobody 1 1") }()
	round() // those who gave up are found, who waits is not taken for one of them
	if err := supervisor.Spawn(s.ctx, s.System, a("nobody 1 1")); err != nil {
		t.Error(err)
	}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}
