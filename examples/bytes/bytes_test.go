package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	beThePeer()
	status := m.Run()
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		fmt.Fprintln(os.Stderr, "a peer is left:", err)
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
		`answered with "desserts"`, `to us: "rats"`, "its mailbox holds 5 messages", "its caller was told", "signal: killed",
		"the mailbox still holds 5 messages", `in order: ["evil" "strap" "regal" "repaid" "drawer"]`,
		"the segment passes its check", "All of this was observed.",
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

// TestUnobserved has a peer that ends before its time: the story says so, and leaves nothing behind.
func TestUnobserved(t *testing.T) {
	var out bytes.Buffer
	s := story{account: account{out: &out}, stderr: t.Output()}
	err := s.create(t.Context())
	if err == nil {
		err = s.start(t.Context())
	}
	if err == nil {
		err = s.child.cmd.Process.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.load(t.Context()); err == nil {
		t.Error("a dead peer is busy")
	} else {
		s.failed(err)
	}
	if err := s.cleanUp(); err != nil {
		t.Error(err)
	}
	if s.status() != 1 || !strings.Contains(out.String(), "FAILED:  the peer has ended: signal: killed") {
		t.Errorf("the account:\n%s", &out)
	}
	if err := <-s.waiting; err == nil {
		t.Error("a dead peer has answered")
	}
}
