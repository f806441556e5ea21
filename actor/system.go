package actor

import (
	"sync"

	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// System is a running system of actors as one process sees it: the process that started it, one of its workers, or a program
// that attached to it. Safe for concurrent use.
type System struct {
	hub     *mailbox.Hub
	info    shm.Info
	worker  string
	encode  bool
	close   func() error
	pending sync.Map // mailbox.Token -> *deferredCall: answers of this process that are still due
	closing sync.Once
	closed  error
}

// SystemOptions makes a System: for package supervisor and for test kits.
type SystemOptions struct {
	Hub *mailbox.Hub
	// Worker is the name of this worker process, empty in the program itself.
	Worker string
	// AlwaysEncode sends every message through its codec, also inside this process.
	AlwaysEncode bool
	// Close ends this process's part of the system.
	Close func() error
}

// NewSystem makes the System of this process. Programs get theirs from package supervisor.
func NewSystem(o SystemOptions) *System {
	return &System{
		hub: o.Hub, info: o.Hub.Segment().Info(), worker: o.Worker, encode: o.AlwaysEncode, close: o.Close,
	}
}

// Name is the system's name.
func (s *System) Name() string { return s.info.Name }

// Worker is the name of this worker process; empty in the program that started the system, and in one that attached.
func (s *System) Worker() string { return s.worker }

// PID is the process that started the system.
func (s *System) PID() int { return s.info.OwnerPID }

// Done is closed when the system has ended for this process.
func (s *System) Done() <-chan struct{} { return s.hub.Done() }

// Err is why the system ended, nil while it runs.
func (s *System) Err() error { return s.hub.Err() }

// Close ends the system in order, if this process started it: children stop in reverse order, each within its time, workers
// exit, everybody who still waits gets ErrSystemEnded. In an attached program it detaches. A
// handler of the system that calls it waits for itself until its shutdown timeout. Later calls return what the first
// returned.
func (s *System) Close() error {
	s.closing.Do(func() {
		if s.close != nil {
			s.closed = s.close()
		}
	})
	return s.closed
}

// Hub is the process's side of the segment: for package supervisor, tools and tests.
func (s *System) Hub() *mailbox.Hub { return s.hub }

// Process is one process of a system.
type Process struct {
	Name string // "main", the name of a worker, or of an attached program
	PID  int
	Live bool
}

// Processes lists the processes of the system.
func (s *System) Processes() []Process {
	var list []Process
	seg := s.hub.Segment()
	for i := range uint32(seg.Processes()) {
		if p, _ := seg.Process(i); p.State != shm.ProcFree {
			list = append(list, Process{Name: p.Name, PID: p.PID, Live: p.State == shm.ProcLive})
		}
	}
	return list
}

// shares reports whether both see the same segment: the mailboxes of another are numbered alike, and are others.
func (s *System) shares(other *System) bool { return s.hub.Segment() == other.hub.Segment() }

// home reports whether one-way values may stay in this process's memory on their way to an actor of this process: only if the
// messages could not outlive it anyway.
func (s *System) home() bool {
	seg := s.hub.Segment()
	return seg.Owned() && !seg.Durable()
}
