package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/mailbox"
)

// worker is a worker process as a child of the program's supervisor.
type worker struct {
	root  *root
	spec  Child
	agent *mailbox.Mailbox

	mu       sync.Mutex
	actors   []Child // what its next life starts
	process  *process
	stopping bool
}

// start executes the program again, and returns when the worker's actors are ready.
func (w *worker) start(ctx context.Context) (<-chan exit, error) {
	r := w.root
	id, err := r.seg.Grant(w.spec.name)
	if err != nil {
		return nil, fmt.Errorf("worker %q: %w", w.spec.name, err)
	}
	p, err := r.spawner.spawn(orders{
		Name: w.spec.name, Process: id.Index(), Letters: r.letters.box.Index(), Agent: w.agent.Index(),
		AlwaysEncode: r.spec.AlwaysEncode,
	}, id, r.seg.File(), w.spec.env, r.spec.WorkerOutput)
	if err != nil {
		_, sweepErr := r.hub.Sweep(id, "it was never started")
		return nil, errors.Join(fmt.Errorf("worker %q: %w", w.spec.name, err), sweepErr)
	}
	w.mu.Lock()
	w.process, w.stopping = p, false
	w.mu.Unlock()
	ended := make(chan exit, 1)
	go func() { ended <- w.watch(p) }()
	if err := w.begin(ctx, p); err != nil {
		p.kill()
		<-p.dead
		if tail := p.stderr.text(); tail != "" {
			err = fmt.Errorf("%w; its last lines on stderr:\n%s", err, tail)
		}
		return nil, fmt.Errorf("worker %q (pid %d) did not become ready (%v): %w", w.spec.name, p.cmd.Process.Pid, p.state, err)
	}
	return ended, nil
}

// watch waits for the end of the process, sweeps what it left, and says what kind of end it was.
func (w *worker) watch(p *process) exit {
	p.wait()
	text := p.ended(w.spec.name)
	swept, err := w.root.hub.Sweep(p.id, text)
	w.root.logger.Info("worker was swept", "worker", w.spec.name, "end", text, "failed", swept.Failed, "dead", swept.Buried,
		"freed", swept.Freed, "error", err)
	close(p.dead)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopping:
		return exit{exitShutdown, nil}
	case p.state.Success():
		return exit{exitNormal, nil}
	}
	return exit{exitCrash, fmt.Errorf("%s: %w", text, actor.ErrWorkerDied)}
}

// begin has the worker's agent start its actors. It returns early when the process dies.
func (w *worker) begin(ctx context.Context, p *process) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.dead:
			cancel(errors.New(p.ended(w.spec.name)))
		case <-ctx.Done():
		}
	}()
	order := beginOrder{Limits: w.spec.limits}
	w.mu.Lock()
	actors := slices.Clone(w.actors)
	w.mu.Unlock()
	for _, c := range actors {
		wire, err := w.root.wire(c)
		if err != nil {
			return err
		}
		order.Children = append(order.Children, wire)
	}
	_, err := agentBegin.Call(ctx, w.ref(), order)
	return err
}

func (w *worker) ref() actor.Ref[*agent] {
	return agentKind.Ref(w.root.sys, workerMailbox(w.spec.name))
}

// stop asks the worker to stop its actors and exit, and kills it when it does not in time.
func (w *worker) stop() {
	w.mu.Lock()
	p := w.process
	w.stopping = true
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), w.spec.shutdown)
	defer cancel()
	go func() {
		select {
		case <-p.dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := agentStop.Call(ctx, w.ref(), struct{}{}); err == nil {
		timer := time.NewTimer(max(w.spec.shutdown, stopGrace))
		defer timer.Stop()
		select {
		case <-p.dead:
			return
		case <-timer.C:
		}
	}
	p.kill()
	<-p.dead
}

func (w *worker) retire() {
	w.mu.Lock()
	actors := w.actors
	w.mu.Unlock()
	for _, c := range actors {
		w.root.closeBox(c.name)
	}
	w.root.closeBox(workerMailbox(w.spec.name))
}

// spawn starts an actor in the worker at run time; it is started again with each life of the worker.
func (w *worker) spawn(ctx context.Context, c Child) error {
	wire, err := w.root.wire(c)
	if err != nil {
		return err
	}
	if _, err := agentSpawn.Call(ctx, w.ref(), wire); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.actors = append(w.actors, c)
	return nil
}

func (w *worker) has(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.actors, func(c Child) bool { return c.name == name })
}

// forget drops an actor that has ended for good.
func (w *worker) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.actors = slices.DeleteFunc(w.actors, func(c Child) bool { return c.name == name })
}
