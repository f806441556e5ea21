package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"

	"github.com/shmactor/shmactor/supervisor"
)

// clientEnv holds the orders of a client, as JSON.
const clientEnv = "SHMACTOR_STORM_CLIENT"

const (
	clients       = 2 // programs that attach to the system
	clientCallers = 4 // in each of them
	clientMax     = 150 * time.Millisecond
)

// clientOrders are what a program that attaches to the storm's is told.
type clientOrders struct {
	Ledger string
	PID    int    // of the program to attach to
	Sender uint64 // its first one
	Seed   uint64
}

// playClient is the whole of a process that has the orders of a client: it sends until it is killed, or the system ends.
func playClient() {
	text, ok := os.LookupEnv(clientEnv)
	if !ok {
		return
	}
	_ = os.Unsetenv(clientEnv)
	var o clientOrders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		complain("client: %v", err)
		os.Exit(exitFailed)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0) // the program is gone
	}()
	if err := o.serve(); err != nil && os.Getppid() == o.PID {
		complain("client: %v", err)
	}
	os.Exit(0)
}

func (o *clientOrders) serve() error {
	l, err := ledgerOf(o.Ledger)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stuckTime)
	defer cancel()
	sys, err := supervisor.Attach(ctx, fmt.Sprintf("%s@%d", systemName, o.PID))
	if err != nil {
		return err
	}
	for i := range uint64(clientCallers) {
		one := caller{sender{l, sys, o.Sender + i, nil}, rand.New(rand.NewPCG(o.Seed, i))}
		go one.work(sys.Done())
	}
	<-sys.Done()
	return nil
}

// employ starts a client and kills it, again and again.
func (l *life) employ(client uint64, rng *rand.Rand) {
	exe, err := os.Executable()
	if err != nil {
		complain("client: %v", err)
		return
	}
	for {
		select {
		case <-l.over:
			return
		default:
		}
		text, err := json.Marshal(clientOrders{
			Ledger: l.Ledger, PID: os.Getpid(), Sender: l.ledger.shape.client(client), Seed: rng.Uint64(),
		})
		if err != nil {
			complain("client: %v", err)
			return
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), clientEnv+"="+string(text))
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			complain("client: %v", err)
			return
		}
		l.killer.pause(rng, clientMax)
		if cmd.Process.Kill() == nil {
			l.ledger.count(countClients)
		}
		_ = cmd.Wait() // of SIGKILL
		_ = stdin.Close()
	}
}
