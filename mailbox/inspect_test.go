package mailbox

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// inspected is a segment with two processes, both played by this one.
type inspected struct {
	t          *testing.T
	seg        *shm.Segment
	main, work *Hub
	in         *Inspector
}

func newInspected(t *testing.T, o shm.Options) *inspected {
	t.Helper()
	seg, err := shm.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	id, err := seg.Grant("w1")
	if err == nil {
		err = seg.Enter(id)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &inspected{t, seg, Join(seg, 0), Join(seg, id.Index()), NewInspector(seg)}
	t.Cleanup(func() {
		s.main.Close(ErrSystemEnded)
		s.work.Close(ErrSystemEnded)
		if err := seg.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *inspected) create(name string, capacity int) *Mailbox {
	s.t.Helper()
	m, err := s.main.Create(name, capacity, 7)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *inspected) send(m *Mailbox, n int) {
	s.t.Helper()
	for range n {
		if err := m.TrySendBytes([]byte("x")); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *inspected) receive(r *Receiver, n int) {
	s.t.Helper()
	for range n {
		msg, ok := r.TryReceive()
		if !ok {
			s.t.Fatal("no message")
		}
		r.Counted(Handled)
		msg.Release()
	}
}

// see looks and returns the mailbox with a name.
func (s *inspected) see(name string) (Info, Snapshot) {
	s.t.Helper()
	var snap Snapshot
	s.in.Look(&snap)
	i := slices.IndexFunc(snap.Mailboxes, func(m Info) bool { return m.Name == name })
	if i < 0 {
		s.t.Fatalf("no mailbox %q in %+v", name, snap.Mailboxes)
	}
	return snap.Mailboxes[i], snap
}

func TestInspect(t *testing.T) {
	s := newInspected(t, shm.Options{Name: "seen", Heap: true, Mailboxes: 8})
	a := s.create("a", 4)
	r := a.sharedReceiver(s)
	s.send(a, 4)
	s.receive(r, 1)
	r.Counted(HandlerFailed)
	r.Counted(HandlerCrashed)
	r.Counted(DeadlinePassed)
	a.NextLife() // the first
	a.NextLife()
	got, snap := s.see("a")
	want := Info{
		Index: a.Index(), Incarnation: a.Incarnation(), Name: "a", Hash: shm.Hash("a"), Kind: 7, Restarts: 1, Open: true,
		Process: s.work.Self(), Worker: "w1", Alive: true, Capacity: 4, Depth: 3, Peak: 4, In: 4, Out: 1,
		Handled: 2, Errors: 1, Crashes: 1, Expired: 1, WaitsFor: -1,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if snap.Segment.Name != "seen" || snap.Limit != 8 || snap.Size != s.seg.Size() {
		t.Errorf("segment: %+v", snap)
	}
	if len(snap.Processes) != 2 || snap.Processes[0].Name != "main" || snap.Processes[1].Name != "w1" {
		t.Errorf("processes: %+v", snap.Processes)
	}
	if snap.Frames.States[shm.Queued] != 3 || snap.Frames.Used() != 3*192 || snap.Frames.Total == 0 || snap.Frames.Estimated {
		t.Errorf("frames: %+v", snap.Frames)
	}
	if snap.RingBytes != 4*8 || snap.RingBytesMax == 0 {
		t.Errorf("rings: %d of %d bytes", snap.RingBytes, snap.RingBytesMax)
	}
}

// sharedReceiver takes the receiving side in the other process.
func (m *Mailbox) sharedReceiver(s *inspected) *Receiver {
	s.t.Helper()
	there, err := s.work.Open(m.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	r := there.Receiver()
	s.t.Cleanup(r.Close)
	return r
}

func TestInspectWaiting(t *testing.T) {
	s := newInspected(t, shm.Options{Heap: true, Mailboxes: 8})
	a, b := s.create("a", 2), s.create("b", 2)
	r := a.Receiver()
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = r.Receive(ctx)
	}()
	testkit.Eventually(t, 10*time.Second, "the receiver is parked", func() bool {
		got, _ := s.see("a")
		return got.Parked
	})
	cancel()
	<-ended
	if a.WaitFor(b, 0) {
		t.Error("that is no circle")
	}
	r.Busy(true)
	s.send(b, 2)
	ctx, cancel = context.WithCancel(context.Background())
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.SendBytes(ctx, []byte("x"))
	}()
	testkit.Eventually(t, 10*time.Second, "the sender waits for room", func() bool {
		got, _ := s.see("b")
		return got.RoomWaiters == 1
	})
	cancel()
	<-ended
	if got, _ := s.see("a"); got.Parked || got.WaitsFor != int64(b.Index()) || got.Busy <= 0 {
		t.Errorf("a: %+v", got)
	}
	if got, _ := s.see("b"); got.Depth != 2 || got.Refused == 0 || got.In != 2 || got.Out != 0 {
		t.Errorf("b: %+v", got)
	}
}

func TestInspectOldest(t *testing.T) {
	s := newInspected(t, shm.Options{Heap: true, Mailboxes: 8})
	a := s.create("a", 4)
	for _, sent := range []int64{sys.Now() - int64(time.Minute), 0} {
		d, err := s.main.Draft(1)
		if err != nil {
			t.Fatal(err)
		}
		d.Header.Enqueued = sent
		if err := a.TrySend(&d); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := s.see("a"); got.Oldest < time.Minute || got.Oldest > time.Hour {
		t.Errorf("oldest: %v", got.Oldest)
	}
	r := a.Receiver()
	defer r.Close()
	s.receive(r, 1)
	if got, _ := s.see("a"); got.Oldest != 0 || got.Depth != 1 {
		t.Errorf("without a time: %v, depth %d", got.Oldest, got.Depth)
	}
}

func TestInspectDeadWorker(t *testing.T) {
	s := newInspected(t, shm.Options{Heap: true, Mailboxes: 8})
	r := s.create("a", 4).sharedReceiver(s)
	if got, _ := s.see("a"); !got.Alive {
		t.Errorf("before: %+v", got)
	}
	s.work.Close(ErrSystemEnded)
	if _, err := s.main.Sweep(s.work.Self(), "killed"); err != nil {
		t.Fatal(err)
	}
	if got, snap := s.see("a"); got.Alive || got.Worker != "w1" || len(snap.Processes) != 1 {
		t.Errorf("after: %+v, %+v", got, snap.Processes)
	}
	for range s.seg.Processes() - 1 { // entries are used in turn
		if _, err := s.seg.Grant("w2"); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := s.see("a"); got.Alive || got.Worker != "" {
		t.Errorf("after its entry was used again: %+v", got)
	}
	r.Close()
}

func TestInspectClosedAndUsedAgain(t *testing.T) {
	s := newInspected(t, shm.Options{Heap: true, Mailboxes: 8})
	a := s.create("a", 4)
	s.send(a, 3)
	s.see("a")
	a.Close(shm.Stopped)
	var snap Snapshot
	if s.in.Look(&snap); len(snap.Mailboxes) != 0 {
		t.Errorf("closed: %+v", snap.Mailboxes)
	}
	b := s.create("b", 4)
	s.send(b, 1)
	if got, snap := s.see("b"); b.Index() != a.Index() || got.In != 1 || got.Out != 0 || got.Depth != 1 ||
		got.Hash != shm.Hash("b") || snap.DeadLetters[shm.Stopped] != 3 {
		t.Errorf("used again: %+v, dead letters %v", got, snap.DeadLetters)
	}
}

// Whoever dies between moving a slot and moving its hint leaves a hint that lags.
func TestInspectLaggingHints(t *testing.T) {
	for _, sent := range []int{1, 3, 4, 7} {
		for _, taken := range []int{0, 1, 3} {
			if taken > sent || sent-taken > 4 {
				continue
			}
			t.Run(fmt.Sprintf("%d sent, %d taken", sent, taken), func(t *testing.T) {
				s := newInspected(t, shm.Options{Heap: true, Mailboxes: 8})
				a := s.create("a", 4)
				r := a.Receiver()
				defer r.Close()
				for i := range sent {
					s.send(a, 1)
					if i < taken {
						s.receive(r, 1)
					}
				}
				a.rec[recTail].Add(^uint64(0))
				if taken > 0 {
					a.rec[recHead].Add(^uint64(0))
				}
				got, _ := s.see("a")
				if got.Depth != sent-taken || got.In != uint64(sent) || got.Out != uint64(taken) {
					t.Errorf("depth %d, in %d, out %d", got.Depth, got.In, got.Out)
				}
			})
		}
	}
}

// readOnly maps the segment once more, for reading.
func (s *inspected) readOnly() *shm.Segment {
	s.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", s.seg.File().Fd()))
	if err != nil {
		s.t.Fatal(err)
	}
	ro, err := shm.AttachReadOnly(f)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ro.Close() })
	return ro
}

func (s *inspected) content() []byte {
	s.t.Helper()
	b := make([]byte, s.seg.Size())
	if _, err := s.seg.File().ReadAt(b, 0); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func needShared(t *testing.T) {
	t.Helper()
	if !sys.Supported {
		t.Skip("no shared segments on this platform")
	}
}

func TestInspectDoesNotWrite(t *testing.T) {
	needShared(t)
	s := newInspected(t, shm.Options{Mailboxes: 8, MessageBytes: 2 << 20})
	a := s.create("a", 4)
	r := a.sharedReceiver(s)
	s.send(a, 4)
	s.receive(r, 1)
	s.main.Close(ErrSystemEnded) // their waiters write when they wake
	s.work.Close(ErrSystemEnded)
	ro := s.readOnly()
	before := s.content()
	snap := Inspect(ro)
	if !bytes.Equal(before, s.content()) {
		t.Error("looking changed the segment")
	}
	if len(snap.Mailboxes) != 1 || snap.Mailboxes[0].Depth != 3 {
		t.Errorf("%+v", snap.Mailboxes)
	}
}

// Of many frames only a part is counted, and the rest extrapolated.
func TestInspectUsage(t *testing.T) {
	s := newInspected(t, shm.Options{Heap: true, Mailboxes: 8, RingBytes: 64 << 10, MessageBytes: 4 << 20})
	a := s.create("a", 4096)
	s.send(a, 4096)
	all, some := s.seg.Usage(1<<20), s.seg.Usage(1000)
	if all.Estimated || all.States[shm.Queued] != 4096 || all.Used() != 4096*192 || all.Carved < all.Used() {
		t.Errorf("all: %+v", all)
	}
	if n := some.States[shm.Queued]; !some.Estimated || n < 2048 || n > 8192 {
		t.Errorf("some: %+v", some)
	}
}

// Nothing that stands in a segment may harm who looks at it: no panic, no endless loop, no number out of its bounds.
func TestInspectScribbledSegment(t *testing.T) {
	needShared(t)
	s := newInspected(t, shm.Options{Mailboxes: 64, Processes: 4, MessageBytes: 2 << 20})
	for i := range 32 {
		s.send(s.create(fmt.Sprint("m", i), 64), 40)
	}
	s.main.Close(ErrSystemEnded) // nobody sleeps in what is scribbled over
	s.work.Close(ErrSystemEnded)
	ro := s.readOnly()
	clean := s.content()
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		if _, err := s.seg.File().WriteAt(scribbled(clean, rng), 0); err != nil {
			t.Fatal(err)
		}
		var snap Snapshot
		in := NewInspector(ro)
		for range 2 {
			in.Look(&snap)
			wantSane(t, &snap, seed)
		}
	}
}

// scribbled changes words of a segment: few or many, to anything or by a little.
func scribbled(clean []byte, rng *rand.Rand) []byte {
	b := bytes.Clone(clean)
	share := 1 + rng.IntN(20) // one word in so many
	for at := 0; at+8 <= len(b); at += 8 {
		if rng.IntN(share) != 0 {
			continue
		}
		switch rng.IntN(4) {
		case 0:
			for i := range 8 {
				b[at+i] = byte(rng.Uint32())
			}
		case 1:
			b[at+rng.IntN(8)] ^= 1 << rng.IntN(8)
		case 2:
			copy(b[at:at+8], bytes.Repeat([]byte{0xff}, 8))
		case 3:
			copy(b[at:], b[rng.IntN(len(b)/8)*8:][:8])
		}
	}
	return b
}

func wantSane(t *testing.T, s *Snapshot, seed uint64) {
	t.Helper()
	if len(s.Mailboxes) > s.Limit || len(s.Segment.Name) > 64 {
		t.Fatalf("seed %d: %d mailboxes of %d, name %q", seed, len(s.Mailboxes), s.Limit, s.Segment.Name)
	}
	for _, m := range s.Mailboxes {
		if m.Depth < 0 || m.Depth > m.Capacity || m.Peak < m.Depth || m.Peak > m.Capacity || m.Capacity > MaxCapacity ||
			m.In < m.Out || m.In-m.Out > uint64(m.Capacity) || m.Busy < 0 || m.Oldest < 0 || m.WaitsFor >= int64(s.Limit) ||
			len(m.Name) > shm.MaxName || m.RoomWaiters > 64 || m.Corrupt && m.Depth != 0 {
			t.Fatalf("seed %d: %+v", seed, m)
		}
	}
	for st, n := range s.Frames.Bytes {
		if n < 0 || n > s.Frames.Total || s.Frames.States[st] < 0 {
			t.Fatalf("seed %d: frames %+v", seed, s.Frames)
		}
	}
	if s.RingBytes < 0 || s.RingBytes > s.RingBytesMax || s.Frames.Carved > s.Frames.Total {
		t.Fatalf("seed %d: rings %d of %d, carved %d of %d", seed, s.RingBytes, s.RingBytesMax, s.Frames.Carved, s.Frames.Total)
	}
}

// Looked at while it is busy, a mailbox never shows more than it can hold, and its totals never shrink.
func TestInspectBusyMailbox(t *testing.T) {
	needShared(t)
	s := newInspected(t, shm.Options{Mailboxes: 8, MessageBytes: 2 << 20})
	a := s.create("a", 8)
	r := a.sharedReceiver(s)
	in := NewInspector(s.readOnly())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 3)
	for range 2 {
		go func() {
			for a.SendBytes(ctx, []byte("x")) == nil {
			}
			ended <- struct{}{}
		}()
	}
	go func() {
		for {
			msg, _, err := r.Receive(ctx)
			if err != nil {
				break
			}
			msg.Release()
		}
		ended <- struct{}{}
	}()
	var before Info
	var snap Snapshot
	looks := 0
	testkit.Eventually(t, time.Minute, "many messages and looks", func() bool {
		for range 100 {
			in.Look(&snap)
			wantSane(t, &snap, 0)
			now := snap.Mailboxes[0]
			if now.In < before.In || now.Out < before.Out {
				t.Fatalf("from in %d, out %d to in %d, out %d", before.In, before.Out, now.In, now.Out)
			}
			before = now
		}
		looks++
		return looks >= 10 && before.Out > 10_000
	})
	cancel()
	for range 3 {
		<-ended
	}
}

func BenchmarkInspect(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			seg, err := shm.Create(shm.Options{Heap: true, Mailboxes: n, RingBytes: int64(n) * 64, MessageBytes: 64 << 20})
			if err != nil {
				b.Fatal(err)
			}
			h := Join(seg, 0)
			defer h.Close(ErrSystemEnded)
			for i := range n {
				m, err := h.Create(fmt.Sprintf("session/%06d", i), 8, 0)
				if err == nil {
					err = m.TrySendBytes([]byte("x"))
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			in := NewInspector(seg)
			var s Snapshot
			b.ReportAllocs()
			for b.Loop() {
				in.Look(&s)
			}
		})
	}
}
