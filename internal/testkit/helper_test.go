package testkit

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// recorder stands in for the test that a helper is given: it keeps what the helper says and runs the clean-ups when told.
type recorder struct {
	testing.TB // the real test, for what is not recorded
	said       []string
	cleanups   []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Name() string { return "TestRecorded" }

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatal(args ...any) {
	r.said = append(r.said, fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// run calls f as a test would be called, on a goroutine that a fatal failure ends, then the clean-ups.
func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
	r.clean()
}

func (r *recorder) clean() {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	r.cleanups = nil
}

// wantSaid fails the test unless exactly one message was recorded and holds all the parts, or none where there are no parts.
func (r *recorder) wantSaid(parts ...string) {
	r.TB.Helper()
	if len(parts) == 0 {
		if len(r.said) > 0 {
			r.TB.Errorf("said %q, want nothing", r.said)
		}
		return
	}
	if len(r.said) != 1 {
		r.TB.Fatalf("said %q, want one message", r.said)
	}
	for _, part := range parts {
		if !strings.Contains(r.said[0], part) {
			r.TB.Errorf("said %q, want %q in it", r.said[0], part)
		}
	}
}

// flagged sets the flag from another goroutine after a while.
func flagged(after time.Duration) *atomic.Bool {
	flag := new(atomic.Bool)
	time.AfterFunc(after, func() { flag.Store(true) })
	return flag
}
