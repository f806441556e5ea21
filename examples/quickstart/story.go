package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/supervisor"
)

// story is what happens, in order. It waits for nothing but what it tells, and for that only as long as its context lasts.
type story struct {
	account
	sys   *actor.System
	heard chan string    // names of actors that rang the bell
	first map[string]int // process ids at the start, by name

	waiting chan error // the end of the call that waits in the worker
	killed  time.Time
}

// queued is what is sent to the worker while it is busy.
var queued = []int{1, 2, 3, 4, 5}

func (s *story) tell(ctx context.Context) {
	for _, step := range []func(context.Context) error{
		s.start, s.call, s.load, s.kill, s.revive, s.others,
	} {
		if err := step(ctx); err != nil {
			s.failed(err)
			break
		}
	}
	if s.sys != nil {
		s.close()
	}
}

func (s *story) start(ctx context.Context) (err error) {
	s.step("Start a system: one tally in this process, two in worker processes.")
	begin := time.Now()
	s.sys, err = supervisor.Start(ctx, supervisor.Spec{
		Name:   "quickstart",
		Logger: slog.New(slog.DiscardHandler), // it would tell of the worker's death, as this story does
		Children: []supervisor.Child{
			supervisor.Actor("bell", bell.With(s.heard)),
			supervisor.Actor("tally/here", tally),
			supervisor.Worker("left", supervisor.Actor("tally/left", tally)),
			supervisor.Worker("right", supervisor.Actor("tally/right", tally)),
		},
	})
	if err != nil {
		return err
	}
	s.saw(true, "ready after %v", since(begin))
	s.first = s.processes()
	s.saw(len(s.first) == 3 && s.first["main"] == os.Getpid(),
		"process ids: main %d, worker left %d, worker right %d", s.first["main"], s.first["left"], s.first["right"])
	if s.first["left"] == 0 {
		return errors.New("there is no process of worker left to kill")
	}
	return nil
}

func (s *story) call(ctx context.Context) error {
	s.step("Call each of them: the caller does not see where an actor lives.")
	for _, at := range []struct{ tally, process string }{
		{"tally/here", "main"}, {"tally/left", "left"}, {"tally/right", "right"},
	} {
		begin := time.Now()
		r, err := add.Call(ctx, s.tally(at.tally), 10)
		if err != nil {
			return err
		}
		s.saw(r.PID == s.first[at.process] && r.Total == 10,
			"%s answers from process %d after %v: total %d", at.tally, r.PID, since(begin), r.Total)
	}
	return nil
}

func (s *story) load(ctx context.Context) error {
	s.step("Keep worker left busy: one call is being handled, and messages queue up behind it.")
	s.waiting = make(chan error, 1)
	go func() {
		_, err := hold.Call(ctx, s.tally("tally/left"), struct{}{})
		s.waiting <- err
	}()
	select {
	case who := <-s.heard:
		s.saw(who == "tally/left", "%s has begun to handle the call, and its caller waits", who)
	case err := <-s.waiting:
		return fmt.Errorf("the call that should wait has ended: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, n := range queued {
		if err := add.Send(ctx, s.tally("tally/left"), n); err != nil { // nil: its mailbox has it
			return err
		}
	}
	s.saw(len(s.waiting) == 0, "its mailbox has accepted %d messages behind that call: %v", len(queued), queued)
	return nil
}

func (s *story) kill(ctx context.Context) error {
	s.step("Kill worker left with SIGKILL.")
	s.killed = time.Now()
	if err := syscall.Kill(s.first["left"], syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case err := <-s.waiting:
		s.saw(errors.Is(err, actor.ErrWorkerDied), "the waiting caller was told %v after the kill: %v", since(s.killed), err)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (s *story) revive(ctx context.Context) error {
	s.step("Call the same tally again: this call queues up behind those messages, and the next life handles all of them.")
	left := s.tally("tally/left")
	r, err := look.Call(ctx, left, struct{}{})
	if err != nil {
		return err
	}
	now := s.processes()["left"]
	s.saw(r.PID == now && r.PID != s.first["left"] && r.Generation == 2 && left.Generation() == 2,
		"worker left was back %v after the kill: process %d, life %d of its tally", since(s.killed), r.PID, r.Generation)
	s.saw(slices.Equal(r.Added, queued), "the queued messages were handled, in order: %v", r.Added)
	s.saw(r.Total == 15, "what the first life remembered is gone: total %d, without the 10", r.Total)
	return nil
}

func (s *story) others(ctx context.Context) error {
	s.step("Ask the others: they lost nothing.")
	for _, name := range []string{"tally/here", "tally/right"} {
		r, err := look.Call(ctx, s.tally(name), struct{}{})
		if err != nil {
			return err
		}
		s.saw(r.Generation == 1 && r.Total == 10, "%s is in its first life, in process %d: total %d", name, r.PID, r.Total)
	}
	return nil
}

func (s *story) close() {
	s.step("Close the system.")
	workers := s.processes()
	delete(workers, "main")
	begin := time.Now()
	if err := s.sys.Close(); err != nil {
		s.failed(err)
	}
	gone := true
	for _, pid := range workers {
		gone = gone && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) // signal 0 only asks
	}
	s.saw(gone, "%d workers have exited after %v", len(workers), since(begin))
}

func (s *story) tally(name string) actor.Ref[*Tally] { return tally.Ref(s.sys, name) }

// processes returns the ids of the system's processes by name.
func (s *story) processes() map[string]int {
	ids := map[string]int{}
	for _, p := range s.sys.Processes() {
		if p.Live {
			ids[p.Name] = p.PID
		}
	}
	return ids
}

// since is a duration for people.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Microsecond) }
