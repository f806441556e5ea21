package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/testkit"
)

// shared makes a small segment in a memory file.
func sharedSegment(t testing.TB) *Segment {
	t.Helper()
	needShared(t)
	o := small()
	o.Heap, o.Name = false, "test"
	return create(t, o)
}

// reopen opens a segment's file once more: a second process has a file of its own too.
func reopen(t testing.TB, s *Segment, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", s.File().Fd()), flag, 0)
	must(t, err)
	return f
}

func TestCreateAndAttach(t *testing.T) {
	testkit.NoLeaks(t)
	s := sharedSegment(t)
	a, err := AttachFile(reopen(t, s, os.O_RDWR))
	must(t, err)
	defer func() { must(t, a.Close()) }()
	if a.geo != s.geo {
		t.Errorf("attached %+v, created %+v", a.geo, s.geo)
	}
	if !s.Owned() || a.Owned() || !s.Shared() || !a.Shared() {
		t.Error("who owns what")
	}
	info := a.Info()
	start, err := sys.StartTime(os.Getpid())
	must(t, err)
	if testkit.Emulated() { // the emulator makes one up for each thread
		start = info.OwnerStart
	}
	if info.Name != "test" || info.ABI != ABI || info.OwnerPID != os.Getpid() || info.OwnerStart != start || info.Ended ||
		time.Since(info.Created) > time.Hour || info.Instance == 0 {
		t.Errorf("%+v", info)
	}
	if p, ok := a.Process(0); !ok || p.Name != "main" || p.State != ProcLive || p.PID != os.Getpid() || p.Start != start {
		t.Errorf("%+v", p)
	}
	f := get(t, s.NewPool(s.ID(0)), 100)
	f.SetHeader(&Header{Length: 5})
	copy(f.Payload(), "hello")
	there, err := a.FrameAt(f.Index())
	must(t, err)
	if there.Header().Length != 5 || string(there.Payload()[:5]) != "hello" || there.Owner() != f.Owner() {
		t.Error("the other mapping shows something else")
	}
	s.Free(f)
	s.End()
	if !a.Ended() {
		t.Error("the end is not seen")
	}
	if a.Size() != s.Size() || a.MaxMessage() != s.MaxMessage() || a.Processes() != 8 || a.Mailboxes() != 8 || a.Frames() != 16*341 {
		t.Error("sizes differ")
	}
}

func TestTwoSegmentsAreTold(t *testing.T) {
	a, b := create(t, small()), create(t, small())
	if a.Info().Instance == b.Info().Instance {
		t.Error("two segments have one instance number")
	}
	if a.Shared() || a.File() != nil {
		t.Error("a segment on the heap has a file")
	}
}

// Whatever the header says wrong is refused with an error that says what.
func TestAttachChecksTheHeader(t *testing.T) {
	s := sharedSegment(t)
	header := make([]byte, headerSize)
	_, err := s.File().ReadAt(header, 0)
	must(t, err)
	put := func(word int, v uint64) func([]byte) {
		return func(h []byte) { binary.NativeEndian.PutUint64(h[word*8:], v) }
	}
	for _, c := range []struct {
		name   string
		change func(h []byte)
		want   error
		says   string
	}{
		{"nothing", func([]byte) {}, nil, ""},
		{"magic", put(hdrMagic, 1), ErrIncompatible, "is not a segment"},
		{"no magic yet", put(hdrMagic, 0), ErrIncompatible, "is not a segment"},
		{"ABI", put(hdrABI, ABI+1), ErrIncompatible, fmt.Sprintf("has ABI %d, this program ABI %d", ABI+1, ABI)},
		{"layout", put(hdrLayout, layoutHash+1), ErrIncompatible, "has layout"},
		{"size", put(hdrSize, 12345), ErrCorrupt, "its header says 12345"},
		{"no processes", put(hdrProcesses, 0), ErrCorrupt, "Processes is 0"},
		{"processes", put(hdrProcesses, MaxProcesses+1), ErrCorrupt, "Processes"},
		{"other processes", put(hdrProcesses, 64), ErrCorrupt, "its tables need"},
		{"mailboxes", put(hdrMailboxes, 1<<40), ErrCorrupt, "Mailboxes"},
		{"negative mailboxes", put(hdrMailboxes, math.MaxUint64), ErrCorrupt, "Mailboxes is -1"},
		{"rings", put(hdrRingWords, 1<<33), ErrCorrupt, "RingBytes"},
		{"spans", put(hdrSpans, 0), ErrCorrupt, "MessageBytes"},
		{"more spans", put(hdrSpans, 17), ErrCorrupt, "its tables need"},
		{"many spans", put(hdrSpans, 1<<62), ErrCorrupt, "MessageBytes"},
		{"largest message", put(hdrMaxMessage, 0), ErrCorrupt, "MaxMessage"},
		{"larger message than memory", put(hdrMaxMessage, 16*spanSize), ErrCorrupt, "MaxMessage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := append([]byte(nil), header...)
			c.change(h)
			_, err := s.File().WriteAt(h, 0)
			must(t, err)
			defer func() {
				_, err := s.File().WriteAt(header, 0)
				must(t, err)
			}()
			for name, attach := range map[string]func(*os.File) (*Segment, error){"rw": AttachFile, "ro": AttachReadOnly} {
				f := reopen(t, s, os.O_RDWR)
				a, err := attach(f)
				switch {
				case c.want == nil:
					must(t, err)
					must(t, a.Close())
					continue
				case !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says):
					t.Errorf("%s: %v, want %v that says %q", name, err, c.want, c.says)
				}
				must(t, f.Close())
			}
		})
	}
}

// Files that are no segments.
func TestAttachOtherFiles(t *testing.T) {
	needShared(t)
	testkit.NoLeaks(t)
	s := sharedSegment(t)
	content := make([]byte, s.Size())
	_, err := s.File().ReadAt(content, 0)
	must(t, err)
	for _, c := range []struct {
		name    string
		content []byte
		want    error
	}{
		{"empty", nil, ErrIncompatible},
		{"short", content[:100], ErrIncompatible},
		{"text", []byte(strings.Repeat("no segment\n", 1000)), ErrIncompatible},
		{"cut off", content[:len(content)-1], ErrCorrupt},
		{"only a header", content[:headerSize], ErrCorrupt},
		{"longer", append(append([]byte(nil), content...), 0), ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			must(t, os.WriteFile(path, c.content, 0o600))
			f, err := os.Open(path)
			must(t, err)
			defer f.Close()
			if _, err := AttachReadOnly(f); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %v that names the file", err, c.want)
			}
		})
	}
	dir, err := os.Open(t.TempDir())
	must(t, err)
	defer dir.Close()
	if _, err := AttachReadOnly(dir); err == nil {
		t.Error("a directory was attached")
	}
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	if _, err := AttachReadOnly(r); err == nil {
		t.Error("a pipe was attached")
	}
}

// Nothing that is reached through a read-only segment can write to it: operations say so, and the memory itself refuses.
func TestReadOnly(t *testing.T) {
	s := sharedSegment(t)
	must(t, s.Insert("name", 3))
	ro, err := AttachReadOnly(reopen(t, s, os.O_RDONLY))
	must(t, err)
	defer func() { must(t, ro.Close()) }()
	id := enter(t, s, "reader")
	_, poolErr := ro.NewPool(id).Get(10)
	_, grantErr := ro.Grant("another")
	_, ringErr := ro.NewRing(8)
	for name, err := range map[string]error{
		"Get": poolErr, "Grant": grantErr, "NewRing": ringErr, "Enter": ro.Enter(id), "Insert": ro.Insert("other", 4),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m, ok := ro.Lookup("name"); !ok || m != 3 || ro.Name(3) != "name" || !ro.Alive(id) || ro.Ended() {
		t.Error("reading shows something else")
	}
	if _, err := ro.Check(); err != nil {
		t.Error(err)
	}
	writes := map[string]func(){"plain": func() { ro.mem[headerSize] = 1 }}
	if !raceDetector { // its atomics are not Go, and nobody recovers from their faults
		writes["store"] = func() { ro.header[hdrEnded].Store(1) }
		writes["or"] = func() { ro.SetReady(0, 0) }
		writes["look"] = func() { ro.SetLook(0) }
		writes["cas"] = func() { ro.spans[0].CompareAndSwap(1, 2) }
	}
	for name, write := range writes {
		if !faults(write) {
			t.Errorf("%s: a read-only mapping was written to", name)
		}
	}
	s.Remove(3)
}

// faults reports whether the memory refuses f's access.
func faults(f func()) (refused bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { refused = recover() != nil }()
	f()
	return false
}

// Nobody can take memory away from under a mapping: the size of a memory file is sealed.
func TestSeals(t *testing.T) {
	s := sharedSegment(t)
	if !sys.Sealed(s.File()) {
		t.Error("the file is not sealed")
	}
	f := reopen(t, s, os.O_RDWR)
	defer f.Close()
	for _, size := range []int64{0, s.Size() - 1, s.Size() + 1} {
		if err := f.Truncate(size); !errors.Is(err, os.ErrPermission) {
			t.Errorf("truncated to %d bytes: %v", size, err)
		}
	}
	if info, err := f.Stat(); err != nil || info.Size() != s.Size() {
		t.Errorf("%v, %v", info, err)
	}
}

// Nobody attaches to memory that could be taken away, nor to a file of another user.
func TestAttachRefuses(t *testing.T) {
	s := sharedSegment(t)
	whole := make([]byte, s.Size())
	_, err := s.File().ReadAt(whole, 0)
	must(t, err)
	loose, err := sys.MemoryFile("shmactor:loose", s.Size())
	must(t, err)
	defer closeFile(loose)
	_, err = loose.WriteAt(whole, 0)
	must(t, err)
	pipe, end, err := os.Pipe()
	must(t, err)
	defer closeFile(pipe)
	defer closeFile(end)
	for _, f := range []*os.File{loose, pipe} {
		for _, attach := range []func(*os.File) (*Segment, error){AttachFile, AttachReadOnly} {
			if _, err := attach(f); !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), "is not fixed") {
				t.Errorf("%s: %v", f.Name(), err)
			}
		}
	}
	must(t, sys.Seal(loose))
	again, err := AttachReadOnly(loose)
	must(t, err)
	must(t, sys.Retire(again.mem))
	if os.Getuid() != 0 {
		return // only root gives a file away
	}
	must(t, loose.Chown(12345, 12345))
	if _, err := AttachFile(loose); !errors.Is(err, os.ErrPermission) {
		t.Errorf("another user's: %v", err)
	}
}

// After Close a view that somebody still holds reads zeros, and what others have stays.
func TestCloseKeepsAddresses(t *testing.T) {
	testkit.NoLeaks(t)
	needShared(t)
	o := small()
	o.Heap = false
	s, err := Create(o)
	must(t, err)
	a, err := AttachFile(reopen(t, s, os.O_RDWR))
	must(t, err)
	f := get(t, s.NewPool(s.ID(0)), 100)
	view := f.Payload()
	copy(view, "hello")
	must(t, s.Close())
	must(t, s.Close())
	if view[0] != 0 {
		t.Errorf("the view reads %q after Close", view[:5])
	}
	view[0] = 1 // private to this process
	there, err := a.FrameAt(f.Index())
	must(t, err)
	if string(there.Payload()[:5]) != "hello" {
		t.Errorf("another mapping reads %q", there.Payload()[:5])
	}
	must(t, a.Close())
}

func TestRings(t *testing.T) {
	o := small()
	o.RingBytes = 80
	s := create(t, o)
	for i, n := range []uint64{4, 4} {
		at, err := s.NewRing(n)
		must(t, err)
		if at != uint64(4*i) || len(s.RingWords(at, n)) != int(n) || cap(s.RingWords(at, n)) != int(n) {
			t.Errorf("ring %d is at %d", i, at)
		}
	}
	if _, err := s.NewRing(4); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "RingBytes") {
		t.Errorf("more ring memory than there is: %v", err)
	}
	if _, err := s.NewRing(2); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ at, n uint64 }{{0, 11}, {11, 0}, {10, 1}, {1 << 63, 1}, {1, 1<<64 - 1}, {1<<64 - 1, 1}} {
		if s.RingWords(c.at, c.n) != nil {
			t.Errorf("%d words at %d are not outside", c.n, c.at)
		}
	}
	if s.Mailbox(7) == nil || s.Mailbox(8) != nil || s.Mailbox(1<<32-1) != nil {
		t.Error("records of mailboxes that are not there")
	}
}

func TestCounters(t *testing.T) {
	s := create(t, small())
	for i := range 20 {
		s.Count(Reason(i))
	}
	for r, n := range s.DeadLetterCounts() {
		if want := 1 + (19-r)/16; int(n) != want {
			t.Errorf("reason %d was counted %d times, want %d", r, n, want)
		}
	}
}
