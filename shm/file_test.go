package shm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
)

func fileOptions(path string) Options {
	o := small()
	o.Heap, o.File, o.MessageBytes, o.MaxMessage = false, path, 2*spanSize, spanSize
	return o
}

// wantFiles fails the test unless the folder holds files with these names; an ending in * stands for any.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		t.Fatalf("the folder holds %q, want %q", got, want)
	}
	for i, pattern := range want {
		if ok, _ := filepath.Match(pattern, got[i]); !ok {
			t.Errorf("the folder holds %q, want %q", got, want)
		}
	}
}

// A file backing belongs to one owner, and goes with it when the system has ended in order.
func TestFileBacking(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "segment")
	s, err := Create(fileOptions(path))
	must(t, err)
	if info, err := os.Stat(path); err != nil || info.Size() != s.Size() || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Create(fileOptions(path)); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second owner: %v", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	a, err := AttachFile(f)
	must(t, err)
	must(t, a.Close()) // does not drop the owner's lock
	if _, err := Create(fileOptions(path)); !errors.Is(err, ErrInUse) {
		t.Errorf("a second owner after another process has detached: %v", err)
	}
	wantFiles(t, dir, "segment", "segment.lock")
	s.End()
	must(t, s.Close())
	wantFiles(t, dir)
	again, err := Create(fileOptions(path))
	must(t, err)
	again.End()
	must(t, again.Close())
}

// What an owner left that did not end in order is taken over: its names stay, its processes are condemned.
func TestFileOfOneThatDidNotEnd(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "segment")
	s, err := Create(fileOptions(path))
	must(t, err)
	must(t, s.Insert("a", 0))
	must(t, s.Insert("b", 1))
	must(t, s.Insert("torn", 2))
	s.nameWord(2, nameVersion).Add(1) // it died while it wrote the third
	was := s.Info().Instance
	must(t, s.Close())
	wantFiles(t, dir, "segment", "segment.lock")
	again, err := Create(fileOptions(path))
	must(t, err)
	wantFiles(t, dir, "segment", "segment.lock")
	if !again.Recovered() || len(again.Orphans()) != 1 || again.Self() == again.Orphans()[0].Index() {
		t.Errorf("recovered %v, orphans %v, self %d", again.Recovered(), again.Orphans(), again.Self())
	}
	if m, ok := again.Lookup("b"); !ok || m != 1 {
		t.Errorf("b is mailbox %d, %v", m, ok)
	}
	if m, ok := again.Lookup("torn"); ok {
		t.Errorf("a torn name is mailbox %d", m)
	}
	if again.Info().Instance == was {
		t.Error("the instance is that of the old owner: its values would be taken for ours")
	}
	for _, p := range again.Orphans() {
		if !again.Release(p) {
			t.Errorf("process %v is not condemned", p)
		}
	}
	if _, err := again.Check(); err != nil {
		t.Error(err)
	}
	again.End()
	must(t, again.Close())
	wantFiles(t, dir)
}

// A file of another size is set aside and not touched.
func TestFileOfAnotherSize(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "segment")
	o := fileOptions(path)
	o.Mailboxes = 7
	s, err := Create(o)
	must(t, err)
	must(t, s.Close())
	old, err := os.ReadFile(path)
	must(t, err)
	again, err := Create(fileOptions(path))
	must(t, err)
	if again.Recovered() {
		t.Error("a segment of another size was taken over")
	}
	wantFiles(t, dir, "segment", "segment.*.old", "segment.lock")
	kept, err := filepath.Glob(path + ".*.old")
	must(t, err)
	if text, err := os.ReadFile(kept[0]); err != nil || string(text) != string(old) {
		t.Errorf("the old file was changed: %v", err)
	}
	again.End()
	must(t, again.Close())
	wantFiles(t, dir, "segment.*.old")
}

// What is no segment is somebody else's: it is left where it is.
func TestFileOfSomebodyElse(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	for name, make := range map[string]func(path string) error{
		"segment/": func(path string) error { return os.Mkdir(path, 0o700) },
		"segment":  func(path string) error { return os.WriteFile(path, []byte("a letter to my aunt"), 0o600) },
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "segment")
		must(t, make(path))
		if _, err := Create(fileOptions(path)); !errors.Is(err, ErrIncompatible) {
			t.Errorf("%s: %v", name, err)
		}
		wantFiles(t, dir, "segment")
	}
}

// fileOwner creates a segment in a file and waits.
func fileOwner() {
	if _, err := Create(fileOptions(os.Args[1])); err != nil {
		die(err)
	}
	fmt.Println("ready")
	waitStdin()
}

func TestFileOwnerIsKilled(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "segment")
	cmd := testkit.Command(t, "file-owner", path)
	role(t, cmd)
	if _, err := Create(fileOptions(path)); !errors.Is(err, ErrInUse) {
		t.Errorf("beside a living owner: %v", err)
	}
	kill(t, cmd)
	s, err := Create(fileOptions(path))
	must(t, err)
	wantFiles(t, dir, "segment", "segment.lock")
	if !s.Recovered() {
		t.Error("what a killed owner left was not taken over")
	}
	s.End()
	must(t, s.Close())
}

// However owners come and go, there is one at a time.
func TestFileOwnersInTurn(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "segment")
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	var owners, turns atomic.Int32
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range rounds {
				s, err := Create(fileOptions(path))
				if errors.Is(err, ErrInUse) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := owners.Add(1); n != 1 {
					t.Errorf("%d owners at one time", n)
				}
				turns.Add(1)
				if now, err := os.Stat(path); err != nil {
					t.Errorf("the owner's file is gone: %v", err)
				} else if mine, _ := s.File().Stat(); !os.SameFile(now, mine) {
					t.Error("the file is another's")
				}
				owners.Add(-1)
				s.End()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if turns.Load() == 0 {
		t.Error("there was never an owner")
	}
	wantFiles(t, dir)
}

// A file that cannot be made leaves nothing behind.
func TestFileRefused(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	if _, err := Create(fileOptions(filepath.Join(t.TempDir(), "no", "such", "folder"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
}
