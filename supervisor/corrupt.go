package supervisor

import (
	"errors"
	"fmt"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// What happens when a process went wild and wrote into the segment what nobody writes. Nothing in it is to be relied on then, so
// nothing is mended: the system ends, with an error that says so, and the program goes on. Who looks: the program, whenever a
// process has died, before it sweeps, and whenever it has itself read something that makes no sense.

// sweep mends what a process that has exited left, if that is still a segment.
func (r *root) sweep(id shm.ProcessID, text string) (mailbox.Swept, error) {
	if err := r.audit(text); err != nil {
		return mailbox.Swept{}, err
	}
	if r.corrupt.Load() {
		return mailbox.Swept{}, actor.ErrCorrupt
	}
	return r.hub.Sweep(id, text)
}

// audit looks whether the segment is sound, and begins to end the system if it is not. text says what happened before.
func (r *root) audit(text string) error {
	if err := r.hub.Err(); err != nil {
		return nil // it ends already
	}
	found := r.hub.Audit()
	if found == nil {
		return nil
	}
	found = fmt.Errorf("the shared memory of system %q was scribbled over (%s): %w", r.spec.Name, text, found)
	r.distrust.Do(func() {
		r.corrupt.Store(true)
		r.logger.Error("the segment is corrupt", "system", r.spec.Name, "error", found)
		go r.giveUp(found)
	})
	return found
}

// giveUp ends a system whose segment is corrupt: first everybody here who waits is told, then the processes that may still
// write into it are ended, and then all goes the usual way.
func (r *root) giveUp(why error) {
	r.hub.Close(fmt.Errorf("%w: %w", actor.ErrSystemEnded, why))
	for _, w := range r.allWorkers() {
		w.kill()
	}
	<-r.opened
	_ = r.close(why)
}

// kill ends the present process of a worker, if there is one.
func (w *worker) kill() {
	w.mu.Lock()
	p := w.process
	w.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

// answerDoubts audits whenever something in this process makes no sense.
func (r *root) answerDoubts() {
	for {
		select {
		case <-r.hub.Doubts():
			if err := r.audit("it held what no correct program writes"); errors.Is(err, shm.ErrCorrupt) {
				return
			}
		case <-r.hub.Done():
			return
		}
	}
}
