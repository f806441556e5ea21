package supervisor_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
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

// scribble writes noise over a whole file, over and over if the seed is negative.
func scribble(f *os.File, seed int64) {
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	info, err := f.Stat()
	if err != nil {
		panic(err)
	}
	page := make([]byte, 4096)
	for first := true; first || seed < 0; first = false {
		for at := int64(0); at < info.Size(); at += int64(len(page)) {
			for i := range page {
				page[i] = byte(rng.Uint32())
			}
			if _, err := f.WriteAt(page, at); err != nil {
				panic(err)
			}
		}
	}
}

// runWild writes noise over all memory that this process may write to, until that ends it.
func runWild() {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	var from, to []int64
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var a, b int64
		var mode string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &a, &b, &mode); n == 3 && strings.HasPrefix(mode, "rw") {
			from, to = append(from, a), append(to, b)
		}
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(i*31 + 7)
	}
	for i := range from {
		for at := from[i]; at < to[i]; at += int64(len(noise)) {
			_, _ = mem.WriteAt(noise[:min(int64(len(noise)), to[i]-at)], at) // some of it is not there
		}
	}
	os.Exit(9)
}

// wild is a system with two workers, one of which goes wild, and more calls under way than that worker's.
func wild(t *testing.T, opts shm.Options) (s *system, waiting []<-chan error) {
	t.Helper()
	testkit.NeedWorkers(t)
	s = start(t, supervisor.Spec{Limits: eager, Segment: opts, Children: []supervisor.Child{
		supervisor.Actor("gate", gates).With(supervisor.ShutdownTimeout(100 * time.Millisecond)), supervisor.Actor("near", counters),
		supervisor.Worker("w", supervisor.Actor("far", counters)),
		supervisor.Worker("calm", supervisor.Actor("other", counters)),
	}})
	behind := make(chan error, 1)
	waits := func(name string) error { _, err := wait.Call(s.ctx, s.counter(name), "gate"); return err }
	waiting = append(waiting, s.hold(func() error { return waits("other") }), behind)
	go func() { behind <- waits("near") }()
	if !eventually(func() bool { return boxOf(s.System, "near").Busy > 0 }) {
		t.Fatal("the call does not come to its actor")
	}
	return s, waiting
}

// wantCorrupt fails the test unless the system ends as corrupt, every caller is told, and no process of it is left.
func wantCorrupt(t *testing.T, s *system, pids []int, waiting []<-chan error) {
	t.Helper()
	select {
	case <-s.Done():
	case <-s.ctx.Done():
		t.Fatal("the system goes on")
	}
	wantError(t, s.Err(), actor.ErrCorrupt, "corrupt segment")
	wantError(t, s.Err(), actor.ErrSystemEnded)
	for _, done := range waiting {
		select {
		case err := <-done:
			wantError(t, err, actor.ErrCorrupt)
		case <-s.ctx.Done():
			t.Fatal("a caller is not told")
		}
	}
	_, err := add.Call(s.ctx, s.counter("near"), 1)
	wantError(t, err, actor.ErrCorrupt)
	for _, pid := range pids {
		if !eventually(func() bool { return gone(pid) }) {
			t.Errorf("process %d is left", pid)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s.log.want(1, "ERROR the segment is corrupt", "corrupt segment")
}

// A worker goes wild: it writes over all memory that it can write to, the segment first. The system ends as corrupt with all who
// wait told and all processes gone, and the program goes on: it starts the next.
func TestWildWorker(t *testing.T) {
	for _, how := range []string{"scribble", "run wild"} {
		for seed := range int64(3) {
			t.Run(fmt.Sprint(how, seed), func(t *testing.T) {
				s, waiting := wild(t, shm.Options{})
				far, pid := s.counter("far"), s.pid("w")
				pids := []int{pid, s.pid("calm")}
				ctx, cancel := context.WithCancel(s.ctx)
				defer cancel()
				dying := make(chan error, 1)
				go func() { _, err := die.Call(ctx, far, order{What: how, N: seed}); dying <- err }()
				if how == "scribble" { // nobody has died yet: it has to be seen by what stands there
					for s.Err() == nil && s.ctx.Err() == nil {
						short, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
						_, _ = add.Call(short, s.counter("other"), 1)
						cancel()
					}
				}
				wantCorrupt(t, s, pids, append(waiting, dying))
				again := must[*system](t)(startBeside(t, supervisor.Spec{Children: []supervisor.Child{w(a("far"))}}))
				if n := must[int64](t)(add.Call(again.ctx, again.counter("far"), 3)); n != 3 {
					t.Errorf("the next system counts to %d", n)
				}
			})
		}
	}
}

// One that was killed after it had scribbled, and before anybody noticed: the look after its death finds it.
func TestWildWorkerIsKilled(t *testing.T) {
	s, waiting := wild(t, shm.Options{})
	pids := []int{s.pid("w"), s.pid("calm")}
	seg := s.Hub().Segment()
	header := make([]byte, 8)
	dying := make(chan error, 1)
	go func() { _, err := die.Call(s.ctx, s.counter("far"), order{What: "scribble", N: 1}); dying <- err }()
	if !eventually(func() bool { // it has come to the last page
		_, err := seg.File().ReadAt(header, seg.Size()-8)
		return err != nil || string(header) != string(make([]byte, 8))
	}) {
		t.Fatal("it does not scribble")
	}
	signal(t, pids[0], syscall.SIGKILL)
	wantCorrupt(t, s, pids, append(waiting, dying))
}

// A file that was scribbled over is kept under another name, and the next start has a fresh one.
func TestWildWorkerOnFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "segment")
	s, waiting := wild(t, shm.Options{File: path})
	pids := []int{s.pid("w"), s.pid("calm")}
	_, err := die.Call(s.ctx, s.counter("far"), order{What: "run wild", N: 1})
	wantError(t, err, actor.ErrCorrupt)
	wantCorrupt(t, s, pids, waiting)
	old, err := filepath.Glob(path + "*")
	if err != nil || len(old) != 1 || !strings.HasSuffix(old[0], ".old") {
		t.Errorf("left behind: %q, %v", old, err)
	}
	again := must[*system](t)(startBeside(t, supervisor.Spec{Segment: shm.Options{File: path}, Children: []supervisor.Child{a("near")}}))
	if n := must[int64](t)(add.Call(again.ctx, again.counter("near"), 3)); n != 3 {
		t.Errorf("the next system counts to %d", n)
	}
}

// damage writes noise over a file, but for its header: who it is for is not in doubt.
func damage(t *testing.T, path string) {
	t.Helper()
	const header = 4096
	f := must[*os.File](t)(os.OpenFile(path, os.O_RDWR, 0))
	noise := make([]byte, must[os.FileInfo](t)(f.Stat()).Size()-header)
	rng := rand.New(rand.NewPCG(7, 9))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	must[int](t)(f.WriteAt(noise, header))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file that is damaged while no program runs is found out by the next one, which keeps it under another name; the one after that
// has a fresh one.
func TestDamagedFile(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	path := filepath.Join(t.TempDir(), "segment")
	killedWhenQueued(t, "durable", path)
	damage(t, path)
	ctx := testkit.Deadline(t, patience)
	_, err := supervisor.Start(ctx, durable(path))
	wantError(t, err, actor.ErrCorrupt, path)
	old := must[[]string](t)(filepath.Glob(path + "*"))
	if len(old) != 1 || !strings.HasSuffix(old[0], ".old") {
		t.Errorf("left behind: %q", old)
	}
	sys := must[*actor.System](t)(supervisor.Start(ctx, durable(path)))
	for _, name := range []string{"near", "far"} {
		if n := must[int64](t)(add.Call(ctx, counters.Ref(sys, name), 3)); n != 3 {
			t.Errorf("%s of the next system counts to %d", name, n)
		}
	}
	if err := sys.Close(); err != nil {
		t.Error(err)
	}
}
