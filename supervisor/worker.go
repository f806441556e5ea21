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

	mu      sync.Mutex
	actors  []placed // what its next life starts
	process *process // of the present life, or of the last one
}

// placed is an actor in a worker, with its mailbox.
type placed struct {
	spec Child
	box  *mailbox.Mailbox
}

// start executes the program again, and returns when the worker's actors are ready.
func (w *worker) start(ctx context.Context) (run, error) {
	r := w.root
	id, err := r.seg.Grant(w.spec.name)
	if err != nil {
		return run{}, fmt.Errorf("worker %q: %w", w.spec.name, err)
	}
	p, err := r.spawner.spawn(orders{
		Name: w.spec.name, Process: id, Letters: r.letters.box.Index(), Agent: w.agent.Index(),
		AlwaysEncode: r.spec.AlwaysEncode,
	}, id, r.seg.File(), w.spec.env, r.spec.WorkerOutput)
	if err != nil {
		_, sweepErr := r.sweep(id, "it was never started")
		return run{}, errors.Join(fmt.Errorf("worker %q: %w", w.spec.name, err), sweepErr)
	}
	actors := w.enter(p)
	ended := make(chan exit, 1)
	go func() { ended <- w.watch(p) }()
	if err := w.begin(ctx, p, actors); err != nil {
		p.kill()
		<-p.dead
		p.stderr.settle()
		if tail := p.stderr.text(); tail != "" {
			err = fmt.Errorf("%w; its last lines on stderr:\n%s", err, tail)
		}
		return run{}, fmt.Errorf("worker %q (pid %d) did not become ready (%v): %w", w.spec.name, p.cmd.Process.Pid, p.state, err)
	}
	return run{ended, func(final bool) { w.stop(p, final) }}, nil
}

// enter makes p the present life, and returns what it starts: what is placed here from now on is for it to start at once.
func (w *worker) enter(p *process) []placed {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process = p
	w.actors = slices.DeleteFunc(w.actors, func(a placed) bool { return !a.box.Open() })
	return slices.Clone(w.actors)
}

// watch waits for the end of the process, sweeps what it left, and says what kind of end it was.
func (w *worker) watch(p *process) exit {
	p.wait()
	text := p.ended(w.spec.name)
	swept, err := w.root.sweep(p.id, text)
	w.root.logger.Info("worker was swept", "worker", w.spec.name, "end", text, "failed", swept.Failed, "dead", swept.Buried,
		"freed", swept.Freed, "error", err)
	close(p.dead)
	switch {
	case errors.Is(err, actor.ErrCorrupt):
		return exit{exitCrash, err}
	case p.stopping.Load() && p.state.Success():
		return exit{exitShutdown, nil}
	case p.stopping.Load() && p.killed.Load():
		return exit{exitShutdown, fmt.Errorf("it was killed, since it did not stop within %v: %s", w.spec.shutdown, text)}
	case p.stopping.Load():
		return exit{exitShutdown, errors.New(text)}
	case p.state.Success():
		return exit{exitNormal, nil}
	}
	return exit{exitCrash, fmt.Errorf("%s: %w", text, actor.ErrWorkerDied)}
}

// begin has the worker's agent start its actors. It returns early when the process dies.
func (w *worker) begin(ctx context.Context, p *process, actors []placed) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.dead:
			cancel(fmt.Errorf("%s: %w", p.ended(w.spec.name), actor.ErrWorkerDied))
		case <-ctx.Done():
		}
	}()
	order := beginOrder{Process: uint32(p.id), Limits: w.spec.limits}
	for _, a := range actors {
		wire, err := a.wire()
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

// wire is an actor's spec for a worker.
func (a placed) wire() (wireChild, error) {
	arg, err := a.spec.recipe.Arg()
	return wireChild{
		Name: a.spec.name, Kind: a.spec.recipe.Kind(), Arg: arg, Restart: int(a.spec.restart), Shutdown: a.spec.shutdown,
		Ready: a.spec.ready, Mailbox: a.box.Index(), Incarnation: a.box.Incarnation(),
	}, err
}

// stop asks the worker to stop its actors and exit, and kills it when it does not in time.
func (w *worker) stop(p *process, final bool) {
	p.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), w.spec.shutdown)
	defer cancel()
	go func() {
		select {
		case <-p.dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := agentStop.Call(ctx, w.ref(), stopOrder{uint32(p.id), final}); err == nil {
		// Its actors have stopped. Not much is left to do.
		timer := time.NewTimer(stopGrace)
		defer timer.Stop()
		select {
		case <-p.dead:
			return
		case <-ctx.Done():
		}
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
	w.actors = nil
	w.mu.Unlock()
	for _, a := range actors {
		w.root.closeBox(a.spec.name, a.box)
	}
	w.root.leave(w)
}

// place starts an actor in the worker at run time; it is started again with each life of the worker.
func (w *worker) place(ctx context.Context, a placed) error {
	wire, err := a.wire()
	if err != nil {
		return err
	}
	by, err := agentSpawn.Call(ctx, w.ref(), wire)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if uint32(w.process.id) != by.Process { // another life has begun since, without it
		return fmt.Errorf("worker %q died when the actor was ready: %w", w.spec.name, actor.ErrWorkerDied)
	}
	w.actors = append(w.actors, a)
	return nil
}

// find finds an actor that is placed here by its name.
func (w *worker) find(name string) (a placed, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.actors, func(a placed) bool { return a.spec.name == name })
	if i < 0 {
		return a, false
	}
	return w.actors[i], true
}

// forget drops an actor: no later life starts it. It is false when the actor is not here.
func (w *worker) forget(box *mailbox.Mailbox) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.actors)
	w.actors = slices.DeleteFunc(w.actors, func(a placed) bool { return a.box == box })
	return len(w.actors) < before
}

// retired is forget for an actor that ended for good in a life of the worker. A later life has started it again; then ok is
// false.
func (w *worker) retired(box *mailbox.Mailbox, life uint32) (ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.actors, func(a placed) bool { return a.box == box })
	if i >= 0 && uint32(w.process.id) != life {
		return false
	}
	if i >= 0 {
		w.actors = slices.Delete(w.actors, i, i+1)
	}
	return true
}

// end stops an actor for good. From here on no life of the worker starts it, so whatever ends the present life ends it too.
func (w *worker) end(ctx context.Context, a placed) error {
	if !w.forget(a.box) {
		return fmt.Errorf("it is being stopped already: %w", actor.ErrNotFound)
	}
	_, err := agentEnd.Call(ctx, w.ref(), endOrder{a.spec.name, a.box.Index(), a.box.Incarnation()})
	switch {
	case err == nil, errors.Is(err, actor.ErrNotFound), errors.Is(err, actor.ErrWorkerDied), errors.Is(err, actor.ErrStopped),
		errors.Is(err, actor.ErrCrashed):
		return nil
	}
	return err
}
