package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// storm is a run of the command, which only starts, kills and judges.
type storm struct {
	options
	dir    string // its own
	ledger *ledger
	path   string // of the ledger
	rng    *rand.Rand
	sum    summary
}

// perSecond is more messages than one sender sends in a second.
const perSecond = 15000

// run is a whole run. The error says why there is nothing to judge.
func run(o options, stderr io.Writer) (sum *summary, err error) {
	s := &storm{options: o, rng: rand.New(rand.NewPCG(o.Seed, 0))}
	if s.dir, err = os.MkdirTemp("", "shmactor-storm-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	s.path = filepath.Join(s.dir, "ledger")
	err = createLedger(s.path, shape{
		callers: uint64(o.Callers), workers: uint64(o.Workers), perSender: perSecond * uint64(o.For/time.Second+10),
	})
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(s.dir, "run"), 0o700); err != nil {
		return nil, err
	}
	if s.ledger, err = openLedger(s.path); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.ledger.close()) }()
	begin := time.Now()
	if o.File != "" {
		s.siege(begin.Add(o.For))
	}
	last := max(time.Second, time.Until(begin.Add(o.For)))
	s.life(last, true, nil)
	s.sum.lasted, s.sum.options = time.Since(begin), o
	s.aftermath()
	s.sum.audit(s.ledger)
	for _, v := range s.sum.violations {
		_, _ = fmt.Fprintln(stderr, "violation:", v)
	}
	return &s.sum, nil
}

// siege kills one life of the program after the other. The first message is accepted only when the first life is ready, so that
// one is not killed before.
func (s *storm) siege(end time.Time) {
	for time.Until(end) > siegeMax && len(s.sum.violations) == 0 {
		ready := s.ledger.counted(countStorms) + 1
		early := ready > 1 && s.rng.IntN(4) == 0
		delay := time.Duration(s.rng.Int64N(int64(siegeMax)))
		if early {
			delay = time.Duration(s.rng.Int64N(int64(siegeEarly)))
		}
		s.life(time.Hour, false, func(gone <-chan struct{}) {
			for !early && s.ledger.counted(countStorms) < ready {
				select {
				case <-gone:
					return
				case <-time.After(time.Millisecond):
				}
			}
			select {
			case <-gone:
			case <-time.After(delay):
			}
		})
		s.sum.parentKills++
	}
}

const (
	siegeMax   = 900 * time.Millisecond
	siegeEarly = 40 * time.Millisecond
	endTime    = 3 * time.Minute // more than everything that a life waits for when it ends
)

// life runs one life of the program. One that is not final is killed when until returns, and it has to live as long.
func (s *storm) life(d time.Duration, final bool, until func(gone <-chan struct{})) {
	o := orders{options: s.options, Ledger: s.path, Life: s.ledger.counted(countLives)}
	o.For = d
	text, err := json.Marshal(o)
	if err != nil {
		s.sum.violate("orders: %v", err)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		s.sum.violate("%v", err)
		return
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), lifeEnv+"="+string(text), "XDG_RUNTIME_DIR="+filepath.Join(s.dir, "run"), s.mark())
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = patience
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.sum.violate("the program does not start: %v", err)
		return
	}
	defer func() { _ = stdin.Close() }()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		err = cmd.Wait()
	}()
	if final {
		s.attend(cmd, gone, d+endTime)
	} else {
		until(gone)
		if s.strike(cmd, gone) {
			err = nil
		}
	}
	s.listen(err, &stdout, &stderr, final)
}

// strike kills a life, but not between taking dead letters out and entering them; it is false when the life had ended by
// itself.
func (s *storm) strike(cmd *exec.Cmd, gone <-chan struct{}) (killed bool) {
	err := s.ledger.exclusive(func() error { return cmd.Process.Kill() })
	<-gone
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return err == nil && ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// attend waits for a life that ends by itself. One that does not has to say where it hangs.
func (s *storm) attend(cmd *exec.Cmd, gone <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-gone:
		return
	case <-timer.C:
	}
	s.sum.violate("the program did not end within %v", most)
	_ = cmd.Process.Signal(syscall.SIGQUIT) // it writes its stacks
	<-gone
}

// listen judges how a life ended and what it said.
func (s *storm) listen(err error, stdout, stderr *bytes.Buffer, final bool) {
	if err != nil {
		s.sum.violate("the program ended with %v", err)
	}
	if text := strings.TrimSpace(stderr.String()); text != "" {
		s.sum.violate("%s", text)
	}
	if !final {
		return
	}
	if err := json.Unmarshal(stdout.Bytes(), &s.sum.report); err != nil {
		s.sum.violate("the program's report cannot be read: %v", err)
	}
}

// mark is in the environment of every process of this run.
func (s *storm) mark() string { return "SHMACTOR_STORM=" + s.dir }

// aftermath looks for what the run left outside of its processes.
func (s *storm) aftermath() {
	var left []string
	if !eventually(func() bool { left = relatives(s.mark()); return len(left) == 0 }) {
		s.sum.violate("processes are left: %v", left)
	}
	if files := filesIn(filepath.Join(s.dir, "run")); len(files) > 0 {
		s.sum.violate("files are left: %v", files)
	}
	if s.File != "" {
		if files, _ := filepath.Glob(s.File + "*"); len(files) > 0 {
			s.sum.violate("files are left: %v", files)
		}
	}
}
