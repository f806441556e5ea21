package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/bench/floor"
	"github.com/shmactor/shmactor/supervisor"
)

// The scenarios, contexts and placements, in the order of the table.
const (
	small      = "small"
	large      = "large"
	largeBytes = "large-bytes"

	direct            = "direct"
	mutex             = "mutex"              // a method call under a mutex
	channel           = "channel"            // a goroutine that serves an unbuffered channel
	channelDeadline   = "channel-deadline"   // the same, given up when a context ends
	goroutine         = "goroutine"          // an actor of this process
	goroutineDeadline = "goroutine-deadline" // called with a context that has a deadline
	worker            = "worker"             // an actor of a worker process
	workerDeadline    = "worker-deadline"
	floorMutex        = "floor-mutex" // a mutex alone
	floorChan         = "floor-chan"  // there and back through channels, alone
	floorSocket       = "floor-uds"   // bytes there and back through a unix socket
	floorShm          = "floor-shm"   // and through bare shared memory

	placedByDefault = "default"
	placedSame      = "same"
	placedCross     = "cross"
)

var (
	scenarios = []string{small, large, largeBytes}
	contexts  = []string{
		direct, mutex, channel, channelDeadline, goroutine, goroutineDeadline, worker, workerDeadline,
		floorMutex, floorChan, floorSocket, floorShm,
	}
	placements = []string{placedByDefault, placedSame, placedCross}
)

// floorOf is the floor that a context is compared with: what does the least of the kind.
var floorOf = map[string]string{
	mutex: floorMutex, channel: floorChan, channelDeadline: floorChan, goroutine: floorChan, goroutineDeadline: floorChan,
	worker: floorShm, workerDeadline: floorShm, floorSocket: floorShm,
}

const (
	systemName = "bench"
	workerName = "w1"

	bytesSize   = 31 << 10 // of the large-bytes scenario
	shortBatch  = 1000     // calls that are timed together where one is too short for the clock
	farDeadline = time.Hour
)

// rig is what the cases run on: a system with an actor in this process and one in a worker process, and the peers of the floors.
type rig struct {
	sys   *actor.System
	refs  map[string]actor.Ref[*clerk] // by context
	pids  map[string]int               // of the other process, by context
	peers map[string]floor.Peer
	far   context.Context // has a deadline that is not reached
	ends  []func() error  // in reverse
}

// newRig starts what the chosen contexts need.
func newRig(ctx context.Context, chosen []string) (r *rig, err error) {
	r = &rig{refs: map[string]actor.Ref[*clerk]{}, pids: map[string]int{}, peers: map[string]floor.Peer{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	far, cancel := context.WithTimeout(context.Background(), farDeadline)
	r.far = far
	r.ends = append(r.ends, func() error { cancel(); return nil })
	if err := r.startSystem(ctx, chosen); err != nil {
		return r, err
	}
	if slices.Contains(chosen, floorSocket) {
		if err := addPeer(r, floorSocket, floor.NewSocket); err != nil {
			return r, err
		}
	}
	if slices.Contains(chosen, floorShm) {
		return r, addPeer(r, floorShm, floor.NewShm)
	}
	return r, nil
}

// startSystem starts the actors of the chosen contexts.
func (r *rig) startSystem(ctx context.Context, chosen []string) (err error) {
	var children []supervisor.Child
	if slices.Contains(chosen, goroutine) || slices.Contains(chosen, goroutineDeadline) {
		children = append(children, supervisor.Actor("clerk/"+goroutine, clerks))
	}
	if slices.Contains(chosen, worker) || slices.Contains(chosen, workerDeadline) {
		children = append(children, supervisor.Worker(workerName, supervisor.Actor("clerk/"+worker, clerks)))
	}
	if r.sys, err = supervisor.Start(ctx, supervisor.Spec{Name: systemName, Children: children}); err != nil {
		return err
	}
	r.ends = append(r.ends, r.sys.Close)
	for _, here := range []string{goroutine, goroutineDeadline} {
		r.refs[here] = clerks.Ref(r.sys, "clerk/"+goroutine)
	}
	for _, p := range r.sys.Processes() {
		if p.Name != workerName {
			continue
		}
		for _, there := range []string{worker, workerDeadline} {
			r.refs[there], r.pids[there] = clerks.Ref(r.sys, "clerk/"+worker), p.PID
		}
	}
	return nil
}

// addPeer starts the peer of a floor.
func addPeer[P floor.Peer](r *rig, where string, start func(most int) (P, error)) error {
	p, err := start(bytesSize)
	if err != nil {
		return err
	}
	r.peers[where], r.pids[where] = p, p.PID()
	r.ends = append(r.ends, p.Close)
	return nil
}

func (r *rig) close() error {
	var failed []error
	for _, end := range slices.Backward(r.ends) {
		failed = append(failed, end())
	}
	return errors.Join(failed...)
}

// elsewhere reports whether the calls of a context go to another process.
func elsewhere(where string) bool {
	switch where {
	case worker, workerDeadline, floorSocket, floorShm:
		return true
	}
	return false
}

// caller returns the function that makes a call in a context.
func caller[Req, Res any](r *rig, where string, m actor.Method[*clerk, Req, Res],
	fn func(*clerk, context.Context, Req) (Res, error),
) func(Req) (Res, error) {
	ctx, c := context.Background(), new(clerk)
	switch where {
	case direct:
		return func(req Req) (Res, error) { return fn(c, ctx, req) }
	case mutex:
		var mu sync.Mutex
		return func(req Req) (Res, error) {
			mu.Lock()
			defer mu.Unlock()
			return fn(c, ctx, req)
		}
	case channel:
		return serveChannel(r, ctx, fn)
	case channelDeadline:
		return serveChannel(r, r.far, fn)
	case goroutineDeadline, workerDeadline:
		ctx = r.far
	}
	ref := r.refs[where]
	return func(req Req) (Res, error) { return m.Call(ctx, ref, req) }
}

// serveChannel starts a goroutine that serves a channel, and returns how it is called: until ctx ends, if that can end.
func serveChannel[Req, Res any](r *rig, ctx context.Context, fn func(*clerk, context.Context, Req) (Res, error)) func(Req) (Res, error) {
	type answer struct {
		res Res
		err error
	}
	in, out := make(chan Req), make(chan answer)
	go func() {
		defer close(out)
		c := new(clerk)
		for req := range in {
			res, err := fn(c, context.Background(), req)
			out <- answer{res, err}
		}
	}()
	r.ends = append(r.ends, func() error { close(in); <-out; return nil })
	done := ctx.Done()
	if done == nil {
		return func(req Req) (Res, error) {
			in <- req
			a := <-out
			return a.res, a.err
		}
	}
	return func(req Req) (res Res, err error) {
		select {
		case in <- req:
		case <-done:
			return res, ctx.Err()
		}
		select {
		case a := <-out:
			return a.res, a.err
		case <-done:
			return res, ctx.Err()
		}
	}
}
