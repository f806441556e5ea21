package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// attached starts a program that attaches to a system.
func attached(t testing.TB, name string) *role {
	t.Helper()
	g := startRole(t, "guest")
	g.must(request{Do: "attach", Name: name})
	return g
}

// own starts a program with a system.
func own(t testing.TB, name string) (r *role, pids map[string]int) {
	t.Helper()
	r = startRole(t, "owner")
	return r, r.must(request{Do: "start", Name: name}).PIDs
}

// processes counts the entries of the process table that are in use.
func (s *system) processes() int { return len(s.Processes()) }

func TestAttach(t *testing.T) {
	s := town(t)
	g := attached(t, "test")
	for i, place := range places {
		name := clerk(place)
		if got := g.must(request{Do: "add", Name: name, N: 2}); got.N != 2 {
			t.Errorf("%q: %d", name, got.N)
		}
		wantIs(t, g.ask(request{Do: "add", Name: name, N: -1}), "negative")
		wantIs(t, g.ask(request{Do: "die", Name: name, Worker: "panic"}), "crashed")
		if got := g.must(request{Do: "about", Name: name}); !strings.Contains(got.Text, "Generation:2") {
			t.Errorf("%q: %s", name, got.Text)
		}
		child := fmt.Sprint("child ", i)
		g.must(request{Do: "spawn", Name: child, Worker: place, N: 10})
		if n := must[int64](t)(arguedUp.Call(s.ctx, s.argued(child), 1)); n != 11 {
			t.Errorf("%q has %d", child, n)
		}
		if got := g.must(request{Do: "up", Name: child, N: 1}); got.N != 12 {
			t.Errorf("%q has %d", child, got.N)
		}
		wantIs(t, g.ask(request{Do: "spawn", Name: child, Worker: place}), "name taken")
		g.must(request{Do: "stop", Name: child})
		wantIs(t, g.ask(request{Do: "stop", Name: child}), "not found")
	}
	wantIs(t, g.ask(request{Do: "add", Name: "nobody"}), "not found")
	wantIs(t, g.ask(request{Do: "spawn", Name: "x", Worker: "nobody"}), "not found")
	wantIs(t, g.ask(request{Do: "grow", Name: "clerk of w", N: 2 << 20}), "too large")
	wantIs(t, g.ask(request{Do: "die", Name: "clerk of w", Worker: "exit", N: 6}), "worker died")
	g.must(request{Do: "await", Name: "neighbour"})
	wantIs(t, g.ask(request{Do: "await", Name: "nobody", Limit: time.Millisecond}), "deadline")
	g.tell(request{Do: "await", Name: "later"})
	if err := supervisor.SpawnIn(s.ctx, s.System, "v", a("later")); err != nil {
		t.Fatal(err)
	}
	if got := g.answer(); got.Error != "" {
		t.Errorf("who waited for a name got %s", got.Error)
	}
	testkit.Eventually(t, patience, "worker w is back", func() bool { return s.processes() == 4 })
	g.must(request{Do: "close"})
	testkit.Eventually(t, patience, "its entry is free", func() bool { return s.processes() == 3 })
	wantIs(t, g.ask(request{Do: "add", Name: "clerk"}), "system ended")
	wantIs(t, g.ask(request{Do: "done"}), "system ended")
	g.leave()
	s.log.want(1, "attached program has gone", "end=it detached")
}

// Twenty times in and out, and nothing stays: neither here nor there.
func TestAttachCycles(t *testing.T) {
	s := town(t)
	const cycles = 20
	g := startRole(t, "guest")
	g.must(request{Do: "cycles", Name: "test", N: cycles})
	files := len(must[[]os.DirEntry](t)(os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.Process.Pid))))
	here := len(must[[]os.DirEntry](t)(os.ReadDir("/proc/self/fd")))
	g.must(request{Do: "cycles", Name: "test", N: cycles})
	if now := len(must[[]os.DirEntry](t)(os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.Process.Pid)))); now > files {
		t.Errorf("it holds %d descriptors, and %d before", now, files)
	}
	testkit.Eventually(t, patience, "their entries and descriptors are free", func() bool {
		now, err := os.ReadDir("/proc/self/fd")
		return err == nil && len(now) <= here && s.processes() == 3
	})
	g.leave()
	for range cycles { // this program is a program like any other
		sys := must[*actor.System](t)(supervisor.Attach(s.ctx, "test"))
		must[int64](t)(add.Call(s.ctx, counters.Ref(sys, "clerk"), 1))
		must[int64](t)(add.Call(s.ctx, counters.Ref(sys, "clerk of w"), 1))
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	}
	testkit.Eventually(t, patience, "their entries are free", func() bool { return s.processes() == 3 })
}

// A program that dies in the middle of its calls leaves nothing: its entry is swept, its frames are free, and others go on.
func TestAttachedProgramIsKilled(t *testing.T) {
	s := town(t)
	rounds := 6 / min(slower, 3)
	for range rounds {
		g := startRole(t, "guest")
		g.must(request{Do: "attach", Name: "test"})
		floodTown(g)
		before := s.box("clerk of w").In
		testkit.Eventually(t, patience, "it makes calls", func() bool { return s.box("clerk of w").In > before+100 })
		g.kill()
		testkit.Eventually(t, patience, "its entry is free", func() bool { return s.processes() == 3 })
		for _, place := range places {
			must[uint64](t)(echo.Call(s.ctx, s.counter(clerk(place)), 1))
		}
		s.check()
	}
	s.log.want(rounds, "attached program has gone", "end=the attached program died")
}

func floodTown(g *role) {
	g.t.Helper()
	g.must(request{Do: "flood", N: 4})
}

// Of two systems of one name neither is meant; NAME@PID says which.
func TestAttachByNameAndProcess(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	one, onePIDs := own(t, "twins")
	two, twoPIDs := own(t, "twins")
	ctx := testkit.Deadline(t, patience)
	_, err := supervisor.Attach(ctx, "twins")
	wantError(t, err, nil, `"twins"`, "twins@PID", fmt.Sprint(onePIDs["main"]), fmt.Sprint(twoPIDs["main"]))
	if errors.Is(err, actor.ErrNotFound) {
		t.Errorf("there is not none, but two: %v", err)
	}
	for r, pids := range map[*role]map[string]int{one: onePIDs, two: twoPIDs} {
		sys := must[*actor.System](t)(supervisor.Attach(ctx, fmt.Sprint("twins@", r.Process.Pid)))
		if sys.PID() != r.Process.Pid || sys.Name() != "twins" || sys.Worker() != "" {
			t.Errorf("attached to %q of %d", sys.Name(), sys.PID())
		}
		if f := must[facts](t)(about.Call(ctx, counters.Ref(sys, "clerk of w"), struct{}{})); f.PID != pids["w"] || f.OwnerPID != pids["main"] {
			t.Errorf("%+v, want %v", f, pids)
		}
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	}
	one.must(request{Do: "close"})
	one.leave()
	sys := must[*actor.System](t)(supervisor.Attach(ctx, "twins"))
	if sys.PID() != two.Process.Pid {
		t.Errorf("attached to %d", sys.PID())
	}
	if err := sys.Close(); err != nil {
		t.Error(err)
	}
	two.must(request{Do: "close"})
	two.leave()
}

// Two systems of one name in one process cannot be told apart from outside, and that is said.
func TestAttachToTwins(t *testing.T) {
	s := town(t)
	twin := must[*system](t)(startBeside(t, of(a("near"))))
	_, err := supervisor.Attach(s.ctx, fmt.Sprint("test@", os.Getpid()))
	wantError(t, err, nil, "2 systems", `"test"`)
	if err := twin.Close(); err != nil {
		t.Error(err)
	}
	sys := must[*actor.System](t)(supervisor.Attach(s.ctx, "test"))
	if err := sys.Close(); err != nil {
		t.Error(err)
	}
}

// Who attaches waits for a system that is not there yet, as long as its context says.
func TestAttachWaits(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := supervisor.Attach(ctx, "test")
	wantError(t, err, context.DeadlineExceeded, `"test"`)
	if !errors.Is(err, actor.ErrNotFound) {
		t.Errorf("it does not say that there was none: %v", err)
	}
	g := startRole(t, "guest")
	g.tell(request{Do: "attach", Name: "test"})
	s := must[*system](t)(startBeside(t, of(a("near"))))
	if got := g.answer(); got.Error != "" {
		t.Fatal(got.Error)
	}
	if got := g.must(request{Do: "add", Name: "near", N: 3}); got.N != 3 {
		t.Errorf("%d", got.N)
	}
	g.must(request{Do: "close"})
	g.leave()
	testkit.Eventually(t, patience, "it has detached", func() bool { return s.processes() == 1 })
}

// The end of a system reaches those who attached at once, however it comes.
func TestAttachedProgramLearnsOfTheEnd(t *testing.T) {
	testkit.NeedWorkers(t)
	for _, how := range []string{"close", "kill", "stop and kill"} {
		t.Run(how, func(t *testing.T) {
			testkit.NoLeaks(t)
			owner, pids := own(t, "test")
			g := attached(t, "test")
			g.must(request{Do: "add", Name: "clerk of w", N: 1})
			g.must(request{Do: "wait", Name: "clerk of w"}) // at the gate, which never opens
			sys := must[*actor.System](t)(supervisor.Attach(testkit.Deadline(t, patience), "test"))
			queued := make(chan error, 1)
			testkit.Eventually(t, patience, "the call is being handled", func() bool { return boxOf(sys, "gate").Busy > 0 })
			go func() { _, err := add.Call(context.Background(), counters.Ref(sys, "clerk of w"), 1); queued <- err }()
			testkit.Eventually(t, patience, "another is queued", func() bool { return boxOf(sys, "clerk of w").Depth == 1 })
			switch how {
			case "close":
				owner.tell(request{Do: "close"})
			case "kill":
				owner.kill()
			case "stop and kill":
				suspend(t, owner.Process.Pid)
				owner.kill()
			}
			wantError(t, <-queued, actor.ErrSystemEnded)
			<-sys.Done()
			wantError(t, sys.Err(), actor.ErrSystemEnded)
			_, err := add.Call(context.Background(), counters.Ref(sys, "clerk"), 1)
			wantError(t, err, actor.ErrSystemEnded)
			wantError(t, supervisor.Spawn(context.Background(), sys, a("x")), actor.ErrSystemEnded)
			if err := sys.Close(); err != nil {
				t.Error(err)
			}
			wantIs(t, g.ask(request{Do: "done"}), "system ended")
			if got := g.ask(request{Do: "outcome"}); got.Error == "" {
				t.Error("a call that was being handled has an answer")
			} else if how != "close" {
				wantIs(t, got, "system ended")
			}
			g.must(request{Do: "close"})
			g.leave()
			if how == "close" {
				if got := owner.answer(); got.Error != "" {
					t.Error(got.Error)
				}
				owner.leave()
			}
			testkit.Eventually(t, patience, "the workers are gone", func() bool { return gone(pids["w"]) && gone(pids["v"]) })
			sweepRuntimeDir(t)
		})
	}
}

// sweepRuntimeDir has a next program remove what dead ones left in the runtime directory.
func sweepRuntimeDir(t testing.TB) {
	t.Helper()
	sys := must[*actor.System](t)(supervisor.Start(context.Background(), supervisor.Spec{Name: "sweeper"}))
	if err := sys.Close(); err != nil {
		t.Error(err)
	}
	if left := runtimeEntries(t); len(left) > 0 {
		t.Errorf("in the runtime directory: %q", left)
	}
}

// A program that does not answer, since it is stopped, holds nobody beyond his context. Later it finds that nobody came.
func TestAttachToASuspendedProgram(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	owner, pids := own(t, "test")
	suspend(t, owner.Process.Pid)
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		_, err := supervisor.Attach(ctx, "test")
		cancel()
		wantError(t, err, context.DeadlineExceeded, `"test"`)
	}
	signal(t, owner.Process.Pid, syscall.SIGCONT)
	testkit.Eventually(t, patience, "their entries are free", func() bool {
		return len(owner.must(request{Do: "pids"}).PIDs) == len(pids)
	})
	owner.must(request{Do: "close"})
	owner.leave()
}

// The process table may be full.
func TestAttachWithoutRoom(t *testing.T) {
	testkit.NeedWorkers(t)
	s := start(t, supervisor.Spec{Segment: shm.Options{Processes: 3}, Children: []supervisor.Child{w(a("far"))}})
	sys := must[*actor.System](t)(supervisor.Attach(s.ctx, "test"))
	_, err := supervisor.Attach(s.ctx, "test")
	wantError(t, err, nil, "it refused", "Processes")
	if err := sys.Close(); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, patience, "there is room again", func() bool {
		sys, err = supervisor.Attach(s.ctx, "test")
		return err == nil
	})
	// A restart of a worker needs none: its own entry is free by then.
	s.signal("w", syscall.SIGKILL)
	must[int64](t)(add.Call(s.ctx, counters.Ref(sys, "far"), 1))
	if err := sys.Close(); err != nil {
		t.Error(err)
	}
}

// Systems open and close while others attach: who gets in gets the end, who does not, waits for the next one.
func TestAttachDuringClose(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	rounds := 15 / min(slower, 3)
	ctx := testkit.Deadline(t, 3*patience)
	over, done := make(chan struct{}), make(chan error, 3)
	for range cap(done) {
		go func() {
			for {
				select {
				case <-over:
					done <- nil
					return
				default:
				}
				short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				sys, err := supervisor.Attach(short, "test")
				cancel()
				if err != nil {
					if !errors.Is(err, actor.ErrNotFound) && !errors.Is(err, context.DeadlineExceeded) {
						done <- err
						return
					}
					continue
				}
				_, err = add.Call(ctx, counters.Ref(sys, "near"), 1)
				if err != nil && !errors.Is(err, actor.ErrSystemEnded) && !errors.Is(err, actor.ErrStopped) && !errors.Is(err, actor.ErrNotFound) {
					done <- err
					return
				}
				if err := sys.Close(); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range rounds {
		s, err := supervisor.Start(ctx, supervisor.Spec{Name: "test", Children: []supervisor.Child{a("near")}})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			must[int64](t)(add.Call(ctx, counters.Ref(s, "near"), 1))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	close(over)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Another user is refused by the word of the kernel, even if he finds the socket.
func TestAttachAsAnotherUser(t *testing.T) {
	testkit.NeedWorkers(t)
	const nobody = 65534
	if os.Getuid() != 0 {
		t.Skip("only the superuser can become another user")
	}
	s := start(t, of(a("near")))
	own := runtimeEntries(t)
	// Beside the directory of this run, which nobody else may enter.
	theirs := must[string](t)(os.MkdirTemp(filepath.Dir(os.TempDir()), "shmactor-other-"))
	t.Cleanup(func() { _ = os.RemoveAll(theirs) })
	room := filepath.Join(theirs, "shmactor")
	if err := errors.Join(os.Mkdir(room, 0o700), os.Chmod(theirs, 0o755), os.Chown(room, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	for _, path := range own { // the entry and the socket, as if he had found a way to them
		link := filepath.Join(room, filepath.Base(path))
		if err := os.Link(path, link); err != nil {
			t.Skipf("the socket cannot be given to another user: %v", err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	g := testkit.Command(t, "guest")
	g.Env = append(g.Env, "XDG_RUNTIME_DIR="+theirs)
	in := must[interface {
		Write([]byte) (int, error)
		Close() error
	}](t)(g.StdinPipe())
	out := must[interface{ Read([]byte) (int, error) }](t)(g.StdoutPipe())
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	r := &role{g, t, json.NewEncoder(in), json.NewDecoder(out)}
	got := r.ask(request{Do: "attach as", Name: "test", N: nobody, Limit: patience})
	if got.Text != "" {
		t.Skipf("this process cannot become another user: %s", got.Error)
	}
	if !strings.Contains(got.Error, "it refused: user 65534 may not attach to a system of user 0") {
		t.Errorf("he got %q", got.Error)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if n := s.processes(); n != 1 {
		t.Errorf("%d processes", n)
	}
}

// What is no system of this layout is not entered, and what was received is let go.
func TestAttachToAnotherLayout(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	ctx := testkit.Deadline(t, patience)
	seg := must[*shm.Segment](t)(shm.Create(shm.Options{Name: "test"}))
	defer func() { _ = seg.Close() }()
	old := must[*os.File](t)(os.CreateTemp(t.TempDir(), "segment"))
	defer func() { _ = old.Close() }()
	header := make([]byte, 1<<20)
	if _, err := seg.File().ReadAt(header, 0); err != nil {
		t.Fatal(err)
	}
	header[8]++ // the ABI
	if _, err := old.Write(header); err != nil {
		t.Fatal(err)
	}
	garbage := must[*os.File](t)(os.CreateTemp(t.TempDir(), "garbage"))
	defer func() { _ = garbage.Close() }()
	for _, c := range []struct {
		welcome string
		file    *os.File
		is      error
		parts   []string
	}{
		{`{"Process":1}`, old, actor.ErrIncompatible, []string{"ABI"}},
		{`{"Process":1}`, garbage, actor.ErrIncompatible, nil},
		{`{"Process":1}`, nil, actor.ErrIncompatible, []string{"without a segment"}},
		{`{"Process":7}`, seg.File(), actor.ErrCorrupt, []string{"7"}},
		{`{"Process":70000}`, seg.File(), actor.ErrCorrupt, nil},
		{`hello`, seg.File(), actor.ErrIncompatible, []string{"welcome"}},
		{`{"Error":"go away"}`, seg.File(), nil, []string{"it refused: go away"}},
	} {
		socket := fakeProgram(t, seg, []byte(c.welcome), c.file)
		_, err := supervisor.Attach(ctx, "test")
		wantError(t, err, c.is, append(c.parts, `"test"`)...)
		socket()
	}
}

// fakeProgram publishes a segment and gives one who attaches what the test wants.
func fakeProgram(t *testing.T, seg *shm.Segment, welcome []byte, f *os.File) (end func()) {
	t.Helper()
	dir := must[string](t)(shm.RuntimeDir())
	d := must[*os.File](t)(os.Open(dir))
	defer func() { _ = d.Close() }()
	l := must[*net.UnixListener](t)(net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/fake.sock", d.Fd()), Net: "unix"}))
	l.SetUnlinkOnClose(false)
	p := must[shm.Program](t)(seg.Publish("fake.sock"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.AcceptUnix()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		var rights []byte
		if f != nil {
			rights = syscall.UnixRights(int(f.Fd()))
		}
		if _, _, err := c.WriteMsgUnix(welcome, rights, nil); err != nil {
			t.Error(err)
		}
		_, _ = c.Read(make([]byte, 1)) // until it has gone
	}()
	return func() {
		<-done
		if err := errors.Join(l.Close(), p.Withdraw(), os.Remove(filepath.Join(dir, "fake.sock"))); err != nil {
			t.Error(err)
		}
	}
}
