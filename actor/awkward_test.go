package actor_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
)

// awkward encodes itself, and does it as badly as its mode says: a user's type can do all of this.
type awkward struct {
	Mode string
	Text string
}

// gates are what modes wait for.
var gates struct {
	mu      sync.Mutex
	entered chan struct{}
	leave   chan struct{}
}

// closeGate makes the modes that hang wait until it is opened; entered tells when one is there.
func closeGate() (entered <-chan struct{}, open func()) {
	in, out := make(chan struct{}, 1), make(chan struct{})
	gates.mu.Lock()
	defer gates.mu.Unlock()
	gates.entered, gates.leave = in, out
	return in, sync.OnceFunc(func() { close(out) })
}

func passGate() {
	gates.mu.Lock()
	in, out := gates.entered, gates.leave
	gates.mu.Unlock()
	in <- struct{}{}
	<-out
}

// AppendBinary writes the value.
func (a awkward) AppendBinary(b []byte) ([]byte, error) {
	switch a.Mode {
	case "write: panic":
		panic("cannot write")
	case "write: goexit":
		runtime.Goexit()
	case "write: error":
		return b, errors.New("will not write")
	case "write: hang":
		passGate()
	case "write: elsewhere": // in memory of its own, as large as what was given
		b = slices.Clone(b)
	}
	b = append(b, a.Mode...)
	b = append(b, '|')
	return append(b, a.Text...), nil
}

// UnmarshalBinary reads the value.
func (a *awkward) UnmarshalBinary(b []byte) error {
	mode, text, _ := bytes.Cut(b, []byte("|"))
	a.Mode, a.Text = string(mode), string(text)
	switch a.Mode {
	case "read: panic":
		panic("cannot read")
	case "read: goexit":
		runtime.Goexit()
	case "read: error":
		return errors.New("will not read")
	case "read: hang":
		passGate()
	}
	return nil
}

// oddly returns a value with the mode that the text of its argument says.
func oddly(_ *scripted, _ context.Context, v awkward) (awkward, error) {
	return awkward{Mode: v.Text, Text: "reply"}, nil
}
