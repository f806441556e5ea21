package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// What a peer gets from the process that starts it, besides standard input: when that ends, so does the peer.
const (
	entryVariable = "BYTES_ENTRY" // environment variable with its entry of the process table
	segmentFD     = 3             // descriptor of the segment
)

// Both processes know the mailboxes by their names.
const (
	peersMailbox  = "peer"
	parentMailbox = "parent"
)

// holdOrder is the one message that the peer does not just turn round: it stands for work that takes long.
const holdOrder = "hold"

// beThePeer serves, and exits, if this process was started as a peer.
func beThePeer() {
	entry, ok := os.LookupEnv(entryVariable)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := serve(ctx, entry); err != nil {
		fmt.Fprintf(os.Stderr, "peer: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve joins the segment and answers messages until ctx ends.
func serve(ctx context.Context, entry string) error {
	granted, err := strconv.ParseUint(entry, 10, 32)
	if err != nil {
		return err
	}
	seg, err := shm.AttachFile(os.NewFile(segmentFD, "segment"))
	if err != nil {
		return err
	}
	id := shm.ProcessID(granted)
	if err := seg.Enter(id); err != nil {
		return err
	}
	hub := mailbox.Join(seg, id.Index())
	defer hub.Close(mailbox.ErrSystemEnded)
	mine, err := hub.Open(peersMailbox)
	if err != nil {
		return err
	}
	parent, err := hub.Open(parentMailbox)
	if err != nil {
		return err
	}
	inbox := mine.Receiver() // takes over where the peer before left off
	defer inbox.Close()
	if _, err := parent.CallBytes(ctx, []byte(strconv.Itoa(os.Getpid()))); err != nil {
		return err
	}
	for {
		m, _, err := inbox.Receive(ctx)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err == nil {
			err = answer(ctx, &m, parent)
		}
		if err != nil {
			return err
		}
	}
}

// answer turns a message round: the reply to a call is its bytes in reverse order; those of a one-way message go to the
// parent's mailbox.
func answer(ctx context.Context, m *mailbox.Message, parent *mailbox.Mailbox) error {
	request, err := m.Bytes() // in place, in the segment
	if err != nil {
		return err
	}
	turned := slices.Clone(request)
	slices.Reverse(turned)
	switch {
	case string(request) == holdOrder:
		if err := parent.SendBytes(ctx, turned); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	case m.IsCall():
		return m.Reply(turned)
	}
	m.Release() // the request's memory is somebody else's from here
	return parent.SendBytes(ctx, turned)
}
