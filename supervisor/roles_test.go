package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/supervisor"
)

// Other programs: an owner of a system, and a guest that attaches to one. A test tells them what to do, and they answer.

// request is what a role is told.
type request struct {
	Do, Name, Worker string
	N                int64
	Limit            time.Duration
}

// answer is what a role says.
type answer struct {
	Text  string
	N     int64
	PIDs  map[string]int
	Error string
	Is    []string // the sentinels that the error is
}

var sentinels = map[string]error{
	"not found": actor.ErrNotFound, "stopped": actor.ErrStopped, "crashed": actor.ErrCrashed, "worker died": actor.ErrWorkerDied,
	"system ended": actor.ErrSystemEnded, "name taken": actor.ErrNameTaken, "deadline": context.DeadlineExceeded,
	"incompatible": actor.ErrIncompatible, "negative": errNegative, "no space": actor.ErrNoSpace, "too large": actor.ErrTooLarge,
}

// role is a process that a test talks to.
type role struct {
	*exec.Cmd
	t   testing.TB
	in  *json.Encoder
	out *json.Decoder
}

func startRole(t testing.TB, name string, args ...string) *role {
	t.Helper()
	cmd := testkit.Command(t, name, args...)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &role{cmd, t, json.NewEncoder(in), json.NewDecoder(out)}
}

// tell gives an order without waiting for the answer.
func (r *role) tell(q request) {
	r.t.Helper()
	if err := r.in.Encode(q); err != nil {
		r.t.Fatalf("%s: %v", q.Do, err)
	}
}

// answer waits for the next answer.
func (r *role) answer() (a answer) {
	r.t.Helper()
	if err := r.out.Decode(&a); err != nil {
		r.t.Fatalf("no answer: %v", err)
	}
	return a
}

func (r *role) ask(q request) answer {
	r.t.Helper()
	r.tell(q)
	return r.answer()
}

// must is ask for what has to succeed.
func (r *role) must(q request) answer {
	r.t.Helper()
	a := r.ask(q)
	if a.Error != "" {
		r.t.Fatalf("%+v: %s", q, a.Error)
	}
	return a
}

// kill ends the process as nobody can prevent, and waits for it.
func (r *role) kill() {
	r.t.Helper()
	if err := r.Process.Kill(); err != nil {
		r.t.Error(err)
	}
	_ = r.Wait() // it was killed
}

// leave ends the process in order.
func (r *role) leave() {
	r.t.Helper()
	r.tell(request{Do: "exit"})
	if err := r.Wait(); err != nil {
		r.t.Errorf("%v: %v", r.Args, err)
	}
}

func wantIs(t testing.TB, a answer, sentinel string) {
	t.Helper()
	if slices.Contains(a.Is, sentinel) {
		return
	}
	t.Errorf("%q is %q, want %q", a.Error, a.Is, sentinel)
}

// play answers requests until it is told to exit, or nobody is there any more.
func play(do func(q request) (answer, error)) {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q request
		if err := in.Decode(&q); err != nil || q.Do == "exit" {
			return
		}
		a, err := do(q)
		if err != nil {
			a.Error = err.Error()
			for _, name := range sortedKeys(sentinels) {
				if errors.Is(err, sentinels[name]) {
					a.Is = append(a.Is, name)
				}
			}
		}
		if err := out.Encode(a); err != nil {
			return
		}
	}
}

// playOwner has systems: "start NAME", "pids", "close".
func playOwner() {
	var sys *actor.System
	short := supervisor.ShutdownTimeout(100 * time.Millisecond)
	play(func(q request) (said answer, err error) {
		ctx := context.Background()
		switch q.Do {
		case "start":
			sys, err = supervisor.Start(ctx, supervisor.Spec{
				Name: q.Name, Limits: eager, Logger: slog.New(slog.DiscardHandler), Children: []supervisor.Child{
					supervisor.Actor("gate", gates).With(short), a("clerk", short), w(a("clerk of w", short)).With(short),
					supervisor.Worker("v", a("clerk of v", short)).With(short),
				},
			})
			if err != nil {
				return said, err
			}
			fallthrough
		case "pids":
			said.PIDs = map[string]int{}
			for _, p := range sys.Processes() {
				said.PIDs[p.Name] = p.PID
			}
		case "close":
			err = sys.Close()
		}
		return said, err
	})
}

// playGuest attaches to a system and does things there.
func playGuest() {
	g := &visitor{}
	play(g.do)
}

type visitor struct {
	sys     *actor.System
	pending sync.WaitGroup
	outcome error
}

func (g *visitor) do(q request) (a answer, err error) {
	ctx, cancel := context.Background(), func() {}
	if q.Limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, q.Limit)
	}
	defer cancel()
	switch q.Do {
	case "attach":
		sys, err := supervisor.Attach(ctx, q.Name)
		if err == nil {
			g.sys = sys
		}
		return a, err
	case "attach as":
		if err := becomeUser(int(q.N)); err != nil {
			return answer{Text: "no other user"}, err
		}
		_, err := supervisor.Attach(ctx, q.Name)
		return a, err
	case "cycles":
		return a, g.cycles(ctx, q)
	case "close":
		return a, g.sys.Close()
	case "done":
		<-g.sys.Done()
		return a, g.sys.Err()
	case "add":
		a.N, err = add.Call(ctx, counters.Ref(g.sys, q.Name), q.N)
		return a, err
	case "die":
		_, err = die.Call(ctx, counters.Ref(g.sys, q.Name), order{What: q.Worker, N: q.N})
		return a, err
	case "note":
		return a, note.Send(ctx, counters.Ref(g.sys, q.Name), q.N)
	case "about":
		f, err := about.Call(ctx, counters.Ref(g.sys, q.Name), struct{}{})
		return answer{Text: fmt.Sprintf("%+v", f), N: int64(f.PID)}, err
	case "grow":
		b, err := grow.Call(ctx, counters.Ref(g.sys, q.Name), int(q.N))
		return answer{N: int64(len(b))}, err
	case "spawn":
		return a, supervisor.SpawnIn(ctx, g.sys, q.Worker, supervisor.Actor(q.Name, argued.With(arg{Start: q.N})))
	case "up":
		a.N, err = arguedUp.Call(ctx, argued.Ref(g.sys, q.Name), q.N)
		return a, err
	case "stop":
		return a, supervisor.Stop(ctx, g.sys, q.Name)
	case "await":
		return a, supervisor.WaitFor(ctx, g.sys, q.Name)
	case "letters":
		list, err := supervisor.DeadLetters(ctx, g.sys, int(q.N))
		return answer{N: int64(len(list)), Text: fmt.Sprintf("%+v", list)}, err
	case "wait": // at a gate; the outcome is for later
		g.pending.Go(func() { _, g.outcome = wait.Call(context.Background(), counters.Ref(g.sys, q.Name), "gate") })
		return a, nil
	case "outcome":
		g.pending.Wait()
		return a, g.outcome
	case "echo":
		return g.echo(q)
	case "flood":
		g.flood(q)
		return a, nil
	}
	return a, fmt.Errorf("what is %q?", q.Do)
}

// cycles attaches, calls and detaches many times.
func (g *visitor) cycles(ctx context.Context, q request) error {
	for i := range q.N {
		sys, err := supervisor.Attach(ctx, q.Name)
		if err != nil {
			return err
		}
		_, err = add.Call(ctx, counters.Ref(sys, clerk("w")), i)
		if err := errors.Join(err, sys.Close()); err != nil {
			return err
		}
	}
	return nil
}

// echo makes calls by many parties at once, each with a number of its own, and counts the answers that are another's.
func (g *visitor) echo(q request) (answer, error) {
	const parties = 16
	wrong, errs := make(chan int64, parties), make(chan error, parties)
	for p := range uint64(parties) {
		go func() {
			var bad int64
			var failed error
			for i := range uint64(q.N) {
				name := clerk(places[(i+p)%3])
				want := uint64(os.Getpid())<<40 | p<<32 | i
				got, err := echo.Call(context.Background(), counters.Ref(g.sys, name), want)
				if err != nil {
					failed = err
					break
				}
				if got != want {
					bad++
				}
			}
			wrong <- bad
			errs <- failed
		}()
	}
	var a answer
	var err error
	for range parties {
		a.N += <-wrong
		err = errors.Join(err, <-errs)
	}
	return a, err
}

// flood does a bit of everything, for ever, until it is killed.
func (g *visitor) flood(q request) {
	for p := range q.N {
		go func() {
			for i := int64(0); ; i++ {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+i%50)*20*time.Microsecond)
				name := clerk(places[(i+p)%3])
				switch i % 4 {
				case 0:
					_, _ = add.Call(ctx, counters.Ref(g.sys, name), 1)
				case 1:
					_ = note.Send(ctx, counters.Ref(g.sys, name), 1)
				case 2:
					_, _ = grow.Call(ctx, counters.Ref(g.sys, name), int(i%4)*40000)
				case 3:
					_, _ = reverse.Call(context.Background(), counters.Ref(g.sys, name), make([]byte, i%100000))
				}
				cancel()
			}
		}()
	}
}

// playNoMain is a program that does not call supervisor.Main.
func playNoMain() {
	play(func(q request) (answer, error) {
		children := []supervisor.Child{supervisor.Actor("near", counters)}
		if q.Worker != "" {
			children = append(children, supervisor.Worker(q.Worker, supervisor.Actor("far", counters)))
		}
		sys, err := supervisor.Start(context.Background(), supervisor.Spec{Name: q.Name, Children: children})
		if err == nil {
			err = sys.Close()
		}
		return answer{}, err
	})
}

// becomeUser makes this process one of another user.
func becomeUser(id int) error {
	if err := errors.Join(syscall.Setgid(id), syscall.Setuid(id)); err != nil {
		return err
	}
	return dumpable()
}
