package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

func TestLookAtAProgram(t *testing.T) {
	testkit.NoLeaks(t)
	p := startProgram(t)
	p.wantListed()
	p.wantPage(true)
	p.wantPicture(true)

	p.signal(syscall.SIGSTOP) // it cannot help now
	testkit.Eventually(t, time.Minute, "the program is stopped", func() bool {
		return readProcess(shm.ProcessInfo{PID: p.pid, Start: startOf(t, p.pid)}).kernel == processStopped
	})
	p.wantListed()
	p.wantPage(false)
	p.wantPicture(false)
	p.signal(syscall.SIGCONT)

	p.end()
	if out, complaint, status := shmtop(t, "--once", p.name); status != exitNoProgram || out != "" || !strings.Contains(complaint, p.name) {
		t.Errorf("after its end: %q, %q, status %d", out, complaint, status)
	}
	if _, complaint, status := shmtop(t, strconv.Itoa(p.pid)); status != exitNoProgram || !strings.Contains(complaint, "no process") {
		t.Errorf("after its end, by pid: %q, status %d", complaint, status)
	}
}

// startOf is when a process started, in ticks.
func startOf(t *testing.T, pid int) uint64 {
	t.Helper()
	all, err := shm.Programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.PID == pid {
			return p.Start
		}
	}
	t.Fatalf("no program with pid %d in %v", pid, all)
	return 0
}

func (p *running) wantListed() {
	p.t.Helper()
	out, complaint, status := shmtop(p.t, "--list")
	if status != exitOK || !strings.HasPrefix(out, "NAME") || !strings.Contains(out, p.name) {
		p.t.Errorf("--list: %q, %q, status %d", out, complaint, status)
	}
	out, _, _ = shmtop(p.t, "--list", "--json")
	var l programList
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		p.t.Fatalf("--list --json: %v: %q", err, out)
	}
	for _, q := range l.Programs {
		if q.PID == p.pid && q.Name == p.name && q.UID != nil && *q.UID == os.Getuid() && q.ABI == shm.ABI && q.Age > 0 {
			return
		}
	}
	p.t.Errorf("--list --json: %s", out)
}

// wantPage looks at the program by its name; flows says whether it handles messages.
func (p *running) wantPage(flows bool) {
	p.t.Helper()
	out, complaint, status := shmtop(p.t, p.name, "--interval", "100ms", "--sort", "name") // to a pipe: --once is meant
	if status != exitOK || complaint != "" {
		p.t.Fatalf("%q, status %d", complaint, status)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	rows := map[string][]string{}
	for _, line := range lines {
		if line[0] != '#' && line[0] != '!' {
			words := strings.Fields(strings.ReplaceAll(line, `"two words"`, "two-words"))
			if len(words) != len(pageColumns) {
				p.t.Errorf("%d words in %q", len(words), line)
			}
			rows[words[0]] = words
		}
	}
	if len(rows) != 4 { // with the titles
		p.t.Fatalf("rows: %q", out)
	}
	if got := strings.Join(rows["audit/log"][:8], " "); got != "audit/log - full 0 0 4 4 100" {
		p.t.Errorf("audit/log: %q", got)
	}
	if in := rows["orders/book"][3]; in == none || (in == "0") == flows {
		p.t.Errorf("orders/book: %q per second", in)
	}
	if !strings.Contains(out, "! mailbox-full audit/log 4/4, 1 process waits for room") {
		p.t.Errorf("no alert: %s", out)
	}
	if stopped := strings.Contains(out, "! worker-stopped main"); stopped == flows {
		p.t.Errorf("stopped %v: %s", stopped, out)
	}
}

// wantPicture looks at the program by its pid.
func (p *running) wantPicture(flows bool) {
	p.t.Helper()
	out, complaint, status := shmtop(p.t, "--json", strconv.Itoa(p.pid), "--interval=100ms", "--filter=orders")
	if status != exitOK || complaint != "" {
		p.t.Fatalf("%q, status %d", complaint, status)
	}
	var pic picture
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&pic); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	if pic.V != 1 || pic.Program.Name != p.name || pic.Program.PID != p.pid || pic.Program.Ended || pic.Interval < int64(100*time.Millisecond) {
		p.t.Errorf("%s", out)
	}
	if len(pic.Mailboxes) != 1 || len(pic.Processes) != 1 {
		p.t.Fatalf("%s", out)
	}
	m := pic.Mailboxes[0]
	if m.Name != "orders/book" || m.Kind != "0000000000000001" || m.Hash != fmt.Sprintf("%016x", shm.Hash(m.Name)) || m.Cap != 64 ||
		m.Worker != "main" || !m.WorkerAlive || m.In < m.Out || m.InPerS == nil || (*m.InPerS > 0) != flows {
		p.t.Errorf("%+v", m)
	}
	q := pic.Processes[0]
	if q.Name != "main" || q.PID != p.pid || q.State != "live" || q.RSS <= 0 || (q.OS == "running") != flows {
		p.t.Errorf("%+v", q)
	}
}

// A program that ends while it is looked at leaves its last picture.
func TestProgramEndsWhileLookedAt(t *testing.T) {
	testkit.NoLeaks(t)
	p := startProgram(t)
	cmd := testkit.Command(t, "shmtop", strconv.Itoa(p.pid), "--once", "--interval", "1h")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, "shmtop has mapped the segment", func() bool {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", cmd.Process.Pid))
		return err == nil && bytes.Contains(maps, []byte("/memfd:shmactor:"+p.name))
	})
	p.end()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil { // it need not wait an hour
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	if got := out.String(); !strings.Contains(got, "\n# ended: ") || !strings.Contains(got, "\norders/book ") {
		t.Errorf("%s", got)
	}
}

func TestStatuses(t *testing.T) {
	testkit.NoLeaks(t)
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"no-such-program"}, exitNoProgram, `no program "no-such-program" runs`},
		{[]string{strconv.Itoa(os.Getpid())}, exitNoProgram, "has no segment"},
		{[]string{"2147483646"}, exitNoProgram, "no process has the pid 2147483646"},
		{[]string{"--nonsense"}, exitUsage, "nonsense"},
		{[]string{"--interval", "1ms"}, exitUsage, "100ms"},
	} {
		out, complaint, status := shmtop(t, c.args...)
		if status != c.status || out != "" || !strings.HasPrefix(complaint, "shmtop: ") || !strings.Contains(complaint, c.want) {
			t.Errorf("%q: status %d, %q, %q", c.args, status, out, complaint)
		}
	}
	if out, complaint, status := shmtop(t, "--help"); status != exitOK || out != usage || complaint != "" {
		t.Errorf("--help: status %d, %q, %q", status, out, complaint)
	}
}

// A segment of another version is refused by its number, whoever finds it.
func TestAnotherABI(t *testing.T) {
	testkit.NoLeaks(t)
	seg, err := shm.Create(shm.Options{Name: "from-the-future", Mailboxes: 2, MessageBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = seg.Close() }()
	if _, err := seg.File().WriteAt([]byte{99}, 8); err != nil { // the second word of the header
		t.Fatal(err)
	}
	_, complaint, status := shmtop(t, "--once", strconv.Itoa(os.Getpid()))
	if status != exitIncompatible || !strings.Contains(complaint, "ABI 99") || !strings.Contains(complaint, fmt.Sprint("ABI ", shm.ABI)) {
		t.Errorf("status %d, %q", status, complaint)
	}
}

// A program of another user is not looked at, and the complaint says whose it is.
func TestAnotherUser(t *testing.T) {
	testkit.NoLeaks(t)
	pid := 1
	if os.Getuid() == 0 {
		const nobody = 65534
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if err := cmd.Start(); err != nil {
			t.Skipf("no process of another user: %v", err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		pid = cmd.Process.Pid
	}
	err := explain(shm.Program{PID: pid}, os.ErrPermission) // root may look at everything, so the refusal is played
	if !strings.Contains(err.Error(), "belongs to") || !strings.Contains(err.Error(), fmt.Sprintf("(uid %d)", os.Getuid())) {
		t.Errorf("%v", err)
	}
	if os.Getuid() != 0 {
		if _, complaint, status := shmtop(t, "1"); status != exitNoProgram || !strings.Contains(complaint, "belongs to") {
			t.Errorf("status %d, %q", status, complaint)
		}
	}
}

// Whatever stands in a segment, it is drawn: no panic, no endless loop, no line of another width, nothing that the terminal
// would take for a command.
func TestScribbledSegment(t *testing.T) {
	testkit.NoLeaks(t)
	seg, err := shm.Create(shm.Options{Name: "scribbled", Mailboxes: 64, Processes: 4, MessageBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = seg.Close() }()
	hub := mailbox.Join(seg, 0)
	for i := range 32 {
		m, err := hub.Create(fmt.Sprint("box/", i), 16, 0)
		for k := 0; k < i && k < 16 && err == nil; k++ {
			err = m.TrySendBytes([]byte("x"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hub.Close(mailbox.ErrSystemEnded) // nobody sleeps in what is scribbled over
	p := shm.Program{PID: os.Getpid(), Start: seg.Info().OwnerStart, FD: int(seg.File().Fd())}
	ro, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ro.Close() }()
	clean := make([]byte, seg.Size())
	if _, err := seg.File().ReadAt(clean, 0); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		s := newSampler(p, ro)
		m := after(screen(120, 40), sampleMsg{s.next()})
		rng := rand.New(rand.NewPCG(seed, 2))
		for range 3 {
			dirty := bytes.Clone(clean)
			for range 1 + rng.IntN(len(dirty)/4) {
				dirty[rng.IntN(len(dirty))] = byte(rng.Uint32())
			}
			if seed%4 != 0 { // it would say that the program has ended
				copy(dirty[:4096], clean)
			}
			if _, err := seg.File().WriteAt(dirty, 0); err != nil {
				t.Fatal(err)
			}
			m = after(m, sampleMsg{s.next()}, "s", "d")
			for i, line := range strings.Split(m.View().Content, "\n") {
				if lipgloss.Width(line) != 120 || strings.ContainsFunc(bare(line), unicode.IsControl) {
					t.Fatalf("seed %d: line %d: %q", seed, i, line)
				}
			}
			if err := errors.Join(writePage(io.Discard, m), writeJSON(io.Discard, m)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}
