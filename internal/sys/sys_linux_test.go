package sys

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	before := machineNanos()
	now := Now()
	after := machineNanos()
	const slack = int64(time.Millisecond) // the two clocks were paired by readings one after the other
	if now < before-slack || now > after+slack {
		t.Errorf("Now is %d, the machine's clock was between %d and %d", now, before, after)
	}
	at := time.Now()
	if back := Time(At(at)); !back.Equal(at) {
		t.Errorf("%v became %v", at, back)
	}
}

func TestFutex(t *testing.T) {
	var word atomic.Uint32
	FutexWait(&word, 1, -1) // the word is another: no wait
	FutexWait(&word, 0, int64(time.Microsecond))
	woken := make(chan struct{})
	go func() {
		for word.Load() == 0 {
			FutexWait(&word, 0, -1)
		}
		close(woken)
	}()
	word.Store(1)
	for {
		FutexWake(&word, 1)
		select {
		case <-woken:
			return
		default:
			Yield()
		}
	}
}

func TestMemoryFile(t *testing.T) {
	const size = 1 << 16
	f, err := MemoryFile("test", size)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	mem, err := Map(f, size, true)
	if err != nil {
		t.Fatal(err)
	}
	if Sealed(f) {
		t.Error("sealed before Seal")
	}
	if err := Seal(f); err != nil {
		t.Fatal(err)
	}
	if !Sealed(f) || f.Truncate(size/2) == nil || f.Truncate(2*size) == nil {
		t.Error("the size can still change")
	}
	mem[7] = 1
	if err := Retire(mem); err != nil {
		t.Fatal(err)
	}
	if mem[7] != 0 {
		t.Error("a retired mapping still shows the file")
	}
	mem[7] = 2
	var b [1]byte
	if _, err := f.ReadAt(b[:], 7); err != nil || b[0] != 1 {
		t.Errorf("the file holds %d, %v: a retired mapping still writes to it", b[0], err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := open(), open()
	defer func() { _ = second.Close() }()
	if err := Lock(first); err != nil {
		t.Fatal(err)
	}
	if err := Lock(second); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second lock: %v", err)
	}
	_ = first.Close()
	if err := Lock(second); err != nil {
		t.Errorf("after the holder has closed: %v", err)
	}
}

func TestProcessHandle(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	start, err := StartTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenProcess(cmd.Process.Pid, start+1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process of that pid that started at another time: %v", err)
	}
	h, err := OpenProcess(cmd.Process.Pid, start)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(); err != nil { // a process that nobody has waited for yet has exited all the same
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenProcess(cmd.Process.Pid, start); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after its end: %v", err)
	}
}

func TestSocketInLongDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a-directory-whose-path-is-longer-than-the-address-of-a-socket-may-be",
		"and-another-one-below-it-to-be-sure")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := Dial(dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	there, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = there.Close() }()
	pid, uid, err := Peer(there)
	if err != nil || pid != os.Getpid() || uid != os.Getuid() {
		t.Errorf("peer %d of user %d, %v", pid, uid, err)
	}
	f, err := MemoryFile("passed", 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := SendFile(there, []byte("take it"), f); err != nil {
		t.Fatal(err)
	}
	msg, got, err := ReceiveFile(c, 64)
	if err != nil || string(msg) != "take it" || got == nil {
		t.Fatalf("%q, %v, %v", msg, got, err)
	}
	defer func() { _ = got.Close() }()
	if info, err := got.Stat(); err != nil || info.Size() != 4096 {
		t.Errorf("the file that came: %v, %v", info, err)
	}
}
