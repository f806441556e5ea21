package shm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
)

// runtimeDir gives the test a runtime directory of its own.
func runtimeDir(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	dir, err := RuntimeDir()
	must(t, err)
	return dir
}

// programsOf lists the programs with that process id.
func programsOf(t *testing.T, pid int) []Program {
	t.Helper()
	all, err := Programs()
	must(t, err)
	return slices.DeleteFunc(all, func(p Program) bool { return p.PID != pid })
}

// segmentOf is sharedSegment without its name in the way of the scan of another test.
func published(t *testing.T, name string) (*Segment, Program) {
	t.Helper()
	needShared(t)
	o := small()
	o.Heap, o.Name = false, name
	s := create(t, o)
	p, err := s.Publish("some.sock")
	must(t, err)
	return s, p
}

func TestPublish(t *testing.T) {
	testkit.NoLeaks(t)
	dir := runtimeDir(t)
	s, p := published(t, "shop")
	want := Program{
		Name: "shop", PID: os.Getpid(), Start: s.Info().OwnerStart, FD: int(s.File().Fd()), ABI: ABI, Created: p.Created,
		Socket: "some.sock",
	}
	if p != want || !p.Alive() || time.Since(p.Created) > time.Hour {
		t.Errorf("published %+v, want %+v", p, want)
	}
	got := programsOf(t, os.Getpid())
	if len(got) != 1 || !got[0].Created.Equal(p.Created) {
		t.Fatalf("listed %+v", got)
	}
	got[0].Created = p.Created // without its clock
	if got[0] != p {
		t.Errorf("listed %+v, published %+v", got[0], p)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("the directory holds %v", entries)
	} else if info, _ := entries[0].Info(); info.Mode().Perm() != 0o600 {
		t.Errorf("the entry has mode %v", info.Mode())
	}
	seen, err := got[0].Open()
	must(t, err)
	if seen.Info() != s.Info() || seen.Owned() {
		t.Errorf("opened %+v", seen.Info())
	}
	if n := len(programsOf(t, os.Getpid())); n != 1 {
		t.Errorf("a program that looks at itself is listed %d times", n)
	}
	must(t, seen.Close())
	must(t, p.Withdraw())
	if err := p.Withdraw(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("withdrawn twice: %v", err)
	}
	// Without an entry it is found by what it holds open.
	got = programsOf(t, os.Getpid())
	if len(got) != 1 || got[0].Name != "shop" || got[0].FD != p.FD || got[0].Socket != "" {
		t.Errorf("without an entry: %+v", got)
	}
}

func TestPublishRefused(t *testing.T) {
	runtimeDir(t)
	if _, err := create(t, small()).Publish(""); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a segment on the heap: %v", err)
	}
	s := sharedSegment(t)
	a, err := AttachFile(reopen(t, s, os.O_RDWR))
	must(t, err)
	defer func() { must(t, a.Close()) }()
	if _, err := a.Publish(""); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("by another than the owner: %v", err)
	}
}

// publishedOwner is a program with a segment; it publishes it if told so.
func publishedOwner() {
	o := small()
	o.Heap, o.Name = false, "owner"
	s, err := Create(o)
	if err != nil {
		die(err)
	}
	if os.Args[1] == "publish" {
		if _, err := s.Publish("owner.sock"); err != nil {
			die(err)
		}
	}
	fmt.Println(s.File().Fd())
	waitStdin()
}

// A program of another process is found with its entry and without, until it is gone; then the next one removes its entry.
func TestProgramsOfOthers(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	for _, how := range []string{"publish", "silent"} {
		t.Run(how, func(t *testing.T) {
			dir := runtimeDir(t)
			cmd := testkit.Command(t, "owner", how)
			line, _ := role(t, cmd)
			fd, err := strconv.Atoi(line)
			must(t, err)
			got := programsOf(t, cmd.Process.Pid)
			if len(got) != 1 || got[0].Name != "owner" || got[0].FD != fd || !got[0].Alive() || (got[0].Socket != "") != (how == "publish") {
				t.Fatalf("listed %+v", got)
			}
			s, err := got[0].Open()
			must(t, err)
			if info := s.Info(); info.OwnerPID != cmd.Process.Pid || info.Name != "owner" {
				t.Errorf("opened %+v", info)
			}
			must(t, os.WriteFile(filepath.Join(dir, "owner.sock"), nil, 0o600))
			kill(t, cmd)
			if p, _ := s.Process(0); p.Name != "main" {
				t.Error("the segment of a dead program cannot be read")
			}
			must(t, s.Close())
			if len(programsOf(t, cmd.Process.Pid)) != 0 || got[0].Alive() {
				t.Error("a dead program is listed")
			}
			if _, err := got[0].Open(); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("opened: %v", err)
			}
			_, p := published(t, "next")
			want := []string{p.entry()}
			if how == "silent" {
				want = append(want, "owner.sock") // of whom, nobody knows
			}
			wantFiles(t, dir, want...)
			must(t, p.Withdraw())
		})
	}
}

// A worker holds the same file and is no program of its own.
func TestWorkersAreNotListed(t *testing.T) {
	testkit.NoLeaks(t)
	runtimeDir(t)
	s := sharedSegment(t)
	id, err := s.Grant("allocator")
	must(t, err)
	cmd := testkit.Command(t, "allocator", fmt.Sprint(uint32(id)))
	cmd.ExtraFiles = []*os.File{s.File()}
	role(t, cmd)
	if got := programsOf(t, cmd.Process.Pid); len(got) != 0 {
		t.Errorf("listed %+v", got)
	}
	kill(t, cmd)
	bury(t, s, id)
}

// Entries that are damaged, of programs that are gone, or of a process id that was used again, are not listed; what names a
// file elsewhere removes nothing there.
func TestStaleEntries(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	dir := runtimeDir(t)
	outside := filepath.Join(filepath.Dir(dir), "victim")
	must(t, os.WriteFile(outside, nil, 0o600))
	write := func(name string, content any) {
		t.Helper()
		text, ok := content.(string)
		if !ok {
			b, err := json.Marshal(content)
			must(t, err)
			text = string(b)
		}
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	const gone = 1 << 30 // no process has this id
	self := os.Getpid()
	write(fmt.Sprint(gone, "-3.json"), Program{PID: gone, FD: 3, Start: 1, Socket: "gone.sock"})
	write("gone.sock", "")
	write(fmt.Sprint(gone, "-4.json"), Program{PID: gone, FD: 4, Start: 1, Socket: "../victim"})
	write(fmt.Sprint(gone, "-5.json"), Program{PID: gone, FD: 5, Start: 1, Socket: ".."})
	write(fmt.Sprint(gone, "-6.json"), Program{PID: gone, FD: 6, Start: 1, Socket: "stuck.sock"})
	must(t, os.MkdirAll(filepath.Join(dir, "stuck.sock", "full"), 0o700)) // cannot be removed, and its entry is all that names it
	write(fmt.Sprint(self, "-3.json"), Program{PID: self, FD: 3, Start: 1})
	write("7-3.json", Program{PID: 8, FD: 3})
	write("9-3.json", "no json")
	write("readme.txt", "not ours")
	if got := programsOf(t, self); len(got) != 0 {
		t.Errorf("listed %+v", got)
	}
	if got := programsOf(t, gone); len(got) != 0 {
		t.Errorf("listed %+v", got)
	}
	_, p := published(t, "next")
	want := []string{p.entry(), fmt.Sprint(gone, "-6.json"), "stuck.sock", "7-3.json", "9-3.json", "readme.txt"}
	slices.Sort(want)
	wantFiles(t, dir, want...)
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a file outside was removed: %v", err)
	}
	must(t, os.RemoveAll(filepath.Join(dir, "stuck.sock")))
	must(t, os.Remove(outside))
	must(t, p.Withdraw())
}

// A runtime directory that others can write to, or that is none, is refused.
func TestRuntimeDirRefused(t *testing.T) {
	needShared(t)
	for name, make := range map[string]func(path string) error{
		"open to others":    func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o777)) },
		"readable to group": func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o750)) },
		"a file":            func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a link":            func(path string) error { return os.Symlink(t.TempDir(), path) },
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			t.Setenv("XDG_RUNTIME_DIR", base)
			must(t, make(filepath.Join(base, "shmactor")))
			if _, err := RuntimeDir(); err == nil {
				t.Error("accepted")
			}
			if _, err := Published(); err == nil {
				t.Error("programs were listed from it")
			}
			if _, err := sharedSegment(t).Publish(""); err == nil {
				t.Error("a program was published there")
			}
		})
	}
}

func TestRuntimeDirOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make another user's directory")
	}
	base := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", base)
	dir := filepath.Join(base, "shmactor")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Chown(dir, 12345, 12345))
	if _, err := RuntimeDir(); err == nil {
		t.Error("accepted")
	}
}

// Where there is no runtime directory, the temporary directory has one for each user.
func TestRuntimeDirFallback(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(t.TempDir(), "missing"))
	t.Setenv("TMPDIR", t.TempDir())
	dir, err := RuntimeDir()
	must(t, err)
	if want := filepath.Join(os.TempDir(), fmt.Sprint("shmactor-", os.Getuid())); dir != want {
		t.Errorf("%s, want %s", dir, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// stranger is a process of another user that looks at a program: it says how it is refused.
func stranger() {
	pid, _ := strconv.Atoi(os.Args[1])
	fd, _ := strconv.Atoi(os.Args[2])
	_, err := Program{PID: pid, FD: fd, Name: "theirs"}.Open()
	fmt.Println(errors.Is(err, os.ErrPermission), err)
}

// Another user's segment is a permission error.
func TestProgramOfAnotherUser(t *testing.T) {
	testkit.NoLeaks(t)
	s := sharedSegment(t)
	cmd := testkit.Command(t, "stranger", fmt.Sprint(os.Getpid()), fmt.Sprint(s.File().Fd()))
	if !asAnotherUser(cmd) {
		t.Skip("only root can start a process of another user")
	}
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "true ") {
		t.Errorf("the other user is told: %s%v", out, err)
	}
}
