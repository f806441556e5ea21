package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shmactor/shmactor/actor"
)

// Run starts a system, calls main with it, and closes it when main has returned. main's context ends with ctx and with the system,
// whose Err is its cause then. Run returns what main returned, joined with what the system ended of meanwhile and with the error of
// its Close.
//
// A system whose segment was scribbled over ends with ErrCorrupt. Run then goes on with a fresh segment, where Start leaves it at
// that: if main returned an error, it is called again with a new system, as often and after such waits as spec.Limits say. What was
// queued is gone, and nothing that belongs to the old system, like a Ref, is of use in the new one.
func Run(ctx context.Context, spec Spec, main func(ctx context.Context, s *actor.System) error) error {
	logger, limits := spec.Logger, spec.Limits.withDefaults()
	if logger == nil {
		logger = quiet()
	}
	var recent []time.Time
	for fails := 0; ; fails++ {
		begun := time.Now()
		done, err := runOnce(ctx, spec, main)
		if done || !errors.Is(err, actor.ErrCorrupt) || ctx.Err() != nil {
			return err
		}
		var tooMany bool
		if recent, tooMany = limits.count(recent, time.Now()); tooMany {
			return fmt.Errorf("supervisor: system %q: %d fresh segments in %v, more than %d are too many; the last: %w",
				spec.Name, len(recent), limits.Period, limits.Restarts, err)
		}
		if time.Since(begun) >= max(healthy, 2*limits.wait(fails, 0)) {
			fails = 0
		}
		wait := limits.wait(fails, 2*rand.Float64()-1)
		logger.Warn("a fresh segment", "system", spec.Name, "wait", wait, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// runOnce runs main with one system; done says that main has returned nil.
func runOnce(ctx context.Context, spec Spec, main func(ctx context.Context, s *actor.System) error) (done bool, err error) {
	s, err := Start(ctx, spec)
	if err != nil {
		return false, err
	}
	defer func() { _ = s.Close() }() // also when main panics, or ends its goroutine
	inside, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.Done():
			cancel(s.Err())
		case <-inside.Done():
		}
	}()
	err = main(inside, s)
	ended := s.Err()
	if ended == actor.ErrSystemEnded { //nolint:errorlint // main has closed it, and nothing else is the matter
		ended = nil
	}
	return err == nil, errors.Join(err, ended, s.Close())
}
