package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/shmactor/shmactor/supervisor"
)

func TestMain(m *testing.M) {
	supervisor.Main()
	status := m.Run()
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		fmt.Fprintln(os.Stderr, "a worker process is left:", err)
		status = 1
	}
	os.Exit(status)
}

func TestRun(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run(nil, &out, &errs); status != 0 {
		t.Errorf("status %d", status)
	}
	if errs.Len() > 0 {
		t.Errorf("on stderr: %s", &errs)
	}
	for _, want := range []string{
		"1. Start a system", "the waiting caller was told", "worker died", "worker left was back",
		"the queued messages were handled, in order: [1 2 3 4 5]", "2 workers have exited", "All of this was observed.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the account does not say %q", want)
		}
	}
	if t.Failed() {
		t.Logf("the account:\n%s", &out)
	}
}

func TestArguments(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run([]string{"-fast"}, &out, &errs); status != 2 || out.Len() > 0 || !strings.HasPrefix(errs.String(), "usage:") {
		t.Errorf("status %d, stdout %q, stderr %q", status, &out, &errs)
	}
}

// TestUnobserved has a story that cannot come true: it says so, and leaves nothing behind.
func TestUnobserved(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	s := story{account: account{out: &out}, heard: make(chan string, 1)}
	s.tell(ctx)
	if status := s.status(); status != 1 || !strings.Contains(out.String(), "FAILED:") {
		t.Errorf("status %d:\n%s", status, &out)
	}
}

func TestAccount(t *testing.T) {
	for _, c := range []struct {
		name   string
		happen func(a *account)
		want   string
		status int
	}{
		{
			"seen", func(a *account) { a.step("Look."); a.saw(true, "%d of %d", 1, 1) },
			"1. Look.\n   ok  1 of 1\nAll of this was observed.\n", 0,
		},
		{
			"not seen", func(a *account) { a.step("Look."); a.saw(false, "nothing"); a.saw(true, "more") },
			"1. Look.\n   NOT SEEN:  nothing\n   ok  more\n1 of these observations failed.\n", 1,
		},
		{
			"failed", func(a *account) { a.failed(context.Canceled) },
			"   FAILED:  context canceled\n1 of these observations failed.\n", 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			a := account{out: &out}
			c.happen(&a)
			if status := a.status(); status != c.status || out.String() != c.want {
				t.Errorf("status %d, want %d:\n%s", status, c.status, &out)
			}
		})
	}
}
