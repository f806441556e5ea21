package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// story is what happens, in order. It waits for nothing but what it tells, and for that only as long as its context lasts.
type story struct {
	account
	stderr io.Writer

	seg        *shm.Segment
	hub        *mailbox.Hub
	peer, mine *mailbox.Mailbox
	heard      chan string // what arrives in our own mailbox
	stop       func()      // ends its receiver

	child   *child
	waiting chan error // the end of the call that the first peer never answers
}

// queued is what is sent to the peer while it is busy, and turned is what has to come back.
var (
	queued = []string{"live", "parts", "lager", "diaper", "reward"}
	turned = []string{"evil", "strap", "regal", "repaid", "drawer"}
)

func (s *story) tell(ctx context.Context) {
	for _, step := range []func(context.Context) error{s.create, s.start, s.talk, s.load, s.kill, s.next, s.end} {
		if err := step(ctx); err != nil {
			s.failed(err)
			break
		}
	}
	if err := s.cleanUp(); err != nil {
		s.failed(err)
	}
}

func (s *story) create(ctx context.Context) (err error) {
	s.step("Create a segment of shared memory, with a mailbox for each process.")
	s.seg, err = shm.Create(shm.Options{Name: "bytes", Processes: 2, Mailboxes: 2, MessageBytes: 4 << 20})
	if err != nil {
		return err
	}
	s.hub = mailbox.Join(s.seg, 0) // who creates a segment has entry 0 of its process table
	const capacity, kind = 64, 0   // the kind is for layers above
	if s.peer, err = s.hub.Create(peersMailbox, capacity, kind); err != nil {
		return err
	}
	if s.mine, err = s.hub.Create(parentMailbox, capacity, kind); err != nil {
		return err
	}
	s.receive(ctx)
	s.saw(s.seg.Shared(), "%d KiB, other processes can map them", s.seg.Size()>>10)
	return nil
}

// receive has a goroutine receive from our own mailbox until stop.
func (s *story) receive(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	heard := make(chan string, len(queued))
	s.heard, s.stop = heard, func() { cancel(); <-ended }
	inbox := s.mine.Receiver()
	go func() {
		defer close(ended)
		defer inbox.Close()
		for {
			m, _, err := inbox.Receive(ctx)
			if err != nil {
				return
			}
			b, err := m.Bytes()
			text := string(b) // a copy: the memory is not ours after the end of the message
			if m.IsCall() {
				err = errors.Join(err, m.Reply([]byte("welcome")))
			} else {
				m.Release()
			}
			if err != nil {
				text = err.Error()
			}
			select {
			case heard <- text:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// hear waits for the next message in our own mailbox.
func (s *story) hear(ctx context.Context) (string, error) {
	select {
	case text := <-s.heard:
		return text, nil
	case <-s.child.exited:
		return "", fmt.Errorf("the peer has ended: %v", s.child.cmd.ProcessState)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (s *story) start(ctx context.Context) error {
	s.step("Start a peer: this program again, with the segment as an open file.")
	return s.startPeer(ctx)
}

func (s *story) startPeer(ctx context.Context) (err error) {
	begin := time.Now()
	if s.child, err = startChild(s.seg, s.stderr); err != nil {
		return err
	}
	who, err := s.hear(ctx)
	if err != nil {
		return err
	}
	s.saw(who == strconv.Itoa(s.child.pid()), "after %v process %s calls us, and is answered", since(begin), who)
	return nil
}

func (s *story) talk(ctx context.Context) error {
	s.step("Send bytes both ways. The peer turns round what it gets.")
	begin := time.Now()
	reply, err := s.peer.CallBytes(ctx, []byte("stressed"))
	if err != nil {
		return err
	}
	s.saw(string(reply) == "desserts", "a call with %q is answered with %q after %v", "stressed", reply, since(begin))

	large := make([]byte, 256<<10)
	for i := range large {
		large[i] = byte(rand.Uint32())
	}
	begin = time.Now()
	if reply, err = s.peer.CallBytes(ctx, large); err != nil {
		return err
	}
	took := since(begin)
	slices.Reverse(reply)
	s.saw(bytes.Equal(reply, large), "so is one with %d KiB of random bytes, after %v", len(large)>>10, took)

	if err := s.peer.SendBytes(ctx, []byte("star")); err != nil {
		return err
	}
	text, err := s.hear(ctx)
	if err != nil {
		return err
	}
	s.saw(text == "rats", "the one-way message %q comes back as a one-way message to us: %q", "star", text)
	return nil
}

func (s *story) load(ctx context.Context) error {
	s.step("Keep the peer busy: one call is being handled, and messages queue up behind it.")
	s.waiting = make(chan error, 1)
	go func() {
		_, err := s.peer.CallBytes(ctx, []byte(holdOrder))
		s.waiting <- err
	}()
	text, err := s.hear(ctx)
	if err != nil {
		return err
	}
	s.saw(text == "dloh", "the peer has begun to handle the call, and its caller waits")
	for _, q := range queued {
		if err := s.peer.SendBytes(ctx, []byte(q)); err != nil {
			return err
		}
	}
	s.saw(s.depth() == len(queued) && len(s.waiting) == 0, "its mailbox holds %d messages: %q", s.depth(), queued)
	return nil
}

func (s *story) kill(ctx context.Context) error {
	s.step("Kill the peer with SIGKILL, and sweep.")
	begin := time.Now()
	swept, err := s.child.kill(s.hub)
	if err != nil {
		return err
	}
	s.saw(swept.Failed == 1 && swept.Buried == 0, "the sweep has ended %d call that the peer had in hand", swept.Failed)
	select {
	case err := <-s.waiting:
		s.saw(errors.Is(err, mailbox.ErrWorkerDied), "its caller was told %v after the kill: %v", since(begin), err)
	case <-ctx.Done():
		return ctx.Err()
	}
	s.saw(s.depth() == len(queued), "the mailbox still holds %d messages", s.depth())
	return nil
}

func (s *story) next(ctx context.Context) error {
	s.step("Start another peer: it takes over the mailbox.")
	before := s.child.pid()
	if err := s.startPeer(ctx); err != nil {
		return err
	}
	var got []string
	for range queued {
		text, err := s.hear(ctx)
		if err != nil {
			return err
		}
		got = append(got, text)
	}
	s.saw(slices.Equal(got, turned) && s.child.pid() != before, "it has handled what was queued, in order: %q", got)
	return nil
}

func (s *story) end(ctx context.Context) error {
	s.step("Let the peer end by itself.")
	swept, err := s.child.dismiss(ctx, s.hub)
	if err != nil {
		return err
	}
	s.saw(s.child.cmd.ProcessState.Success() && swept.Failed+swept.Buried == 0, "it ended with %v, and with nothing in hand",
		s.child.cmd.ProcessState)
	s.stop()
	s.peer.Close(shm.Stopped)
	s.mine.Close(shm.Stopped)
	s.hub.Close(mailbox.ErrSystemEnded)
	census, err := mailbox.Check(s.seg)
	if err != nil {
		return err
	}
	inUse := 0
	for _, n := range census.States {
		inUse += n
	}
	s.saw(inUse == 0, "the segment passes its check: %d pieces of message memory are in use", inUse)
	return nil
}

// cleanUp lets go of everything, wherever the story ended.
func (s *story) cleanUp() error {
	if s.seg == nil {
		return nil
	}
	if s.child != nil {
		_ = s.child.cmd.Process.Kill() // it may have ended
		<-s.child.exited
	}
	if s.stop != nil {
		s.stop()
	}
	s.hub.Close(mailbox.ErrSystemEnded)
	s.seg.End()
	return s.seg.Close()
}

// depth is how many messages lie in the peer's mailbox: seen from outside, as shmtop sees it.
func (s *story) depth() int {
	for _, m := range mailbox.Inspect(s.seg).Mailboxes {
		if m.Name == peersMailbox {
			return m.Depth
		}
	}
	return -1
}

// since is a duration for people.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Microsecond) }
