package shm

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestEveryClass(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	for class, size := range classSizes {
		for _, n := range []int{int(size) - frameHeader, int(size) - frameHeader - 40} {
			f := get(t, p, n)
			if f.Cap() < n || f.Cap() != int(size)-frameHeader || len(f.Payload()) != f.Cap() {
				t.Errorf("class %d: room for %d bytes, asked for %d", class, f.Cap(), n)
			}
			if w := f.Owner(); w.State() != Held || w.Holder() != s.ID(0) || w.Generation() != f.Generation() {
				t.Errorf("class %d: %v", class, w)
			}
			p.Put(f)
		}
	}
}

// All frames of all classes at once: none overlaps another, none touches another's header.
func TestFramesDoNotOverlap(t *testing.T) {
	o := small()
	o.MessageBytes = int64(len(classSizes)) * spanSize
	s := create(t, o)
	p := pool(t, s, s.ID(0))
	var all []Frame
	for _, size := range classSizes {
		for range spanSize / size {
			all = append(all, get(t, p, int(size)-frameHeader))
		}
	}
	if _, err := p.Get(1); !errors.Is(err, ErrNoSpace) {
		t.Errorf("more frames than fit: %v", err)
	}
	for i, f := range all {
		f.SetHeader(&Header{Chain: uint64(i), Length: uint32(f.Cap())})
		b := f.Payload()
		for at := range b {
			b[at] = byte(i)
		}
	}
	for i, f := range all {
		if h := f.Header(); h.Chain != uint64(i) || int(h.Length) != f.Cap() {
			t.Fatalf("frame %d: header %+v", i, h)
		}
		if b := f.Payload(); !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, len(b))) {
			t.Fatalf("frame %d: payload changed", i)
		}
		again, err := s.FrameAt(f.Index())
		if err != nil || again != f {
			t.Fatalf("frame %d: found as %+v, %v, want %+v", i, again, err, f)
		}
	}
	for _, f := range all {
		p.Put(f)
	}
}

// fill takes frames for n bytes until there is no more.
func fill(t testing.TB, p *Pool, n int) (all []Frame) {
	t.Helper()
	for {
		f, err := p.Get(n)
		if errors.Is(err, ErrNoSpace) {
			return all
		}
		must(t, err)
		all = append(all, f)
	}
}

// Whatever the memory was carved for, all of it can be used for any other size afterwards.
func TestExhaustionAndRecovery(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	sizes := []int{1}
	for _, size := range classSizes {
		sizes = append(sizes, int(size)-frameHeader)
	}
	sizes = append(sizes, spanSize, 3*spanSize, 8*spanSize-frameHeader, 8*spanSize)
	for round := range 3 {
		for i := range sizes {
			n := sizes[(i*(2*round+1)+round)%len(sizes)]
			want := 16 / ((n + frameHeader + spanSize - 1) / spanSize)
			if class := classOf(n); class < len(classSizes) {
				want = 16 * (spanSize / int(classSizes[class]))
			}
			all := fill(t, p, n)
			if len(all) != want {
				t.Fatalf("round %d: %d frames for %d bytes, want %d", round, len(all), n, want)
			}
			for _, f := range all {
				p.Put(f)
			}
		}
	}
}

func TestFrameSizesRefused(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	if _, err := p.Get(s.MaxMessage() + 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a byte more than the largest message: %v", err)
	}
	p.Put(get(t, p, s.MaxMessage()))
	p.Put(get(t, p, 0))
	for _, index := range []uint32{s.Frames(), s.Frames() + 1, 1<<24 - 1, 1<<32 - 1} {
		if _, err := s.FrameAt(index); !errors.Is(err, ErrCorrupt) {
			t.Errorf("frame %d: %v", index, err)
		}
	}
	if _, err := s.FrameAt(15*framesPerSpan + 1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a frame of a span that is not carved: %v", err)
	}
}

// Runs of every length up to half of the memory, of which there are as many as fit; they are taken from the far end.
func TestRuns(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	for n := int64(2); n <= 8; n++ {
		var all []Frame
		for range 16 / n {
			f := get(t, p, int(n*spanSize-frameHeader))
			if f.Cap() != int(n*spanSize-frameHeader) {
				t.Errorf("a run of %d spans has room for %d bytes", n, f.Cap())
			}
			b := f.Payload()
			b[0], b[len(b)-1] = byte(n), byte(n)
			all = append(all, f)
		}
		if first := int64(all[0].Index() / framesPerSpan); first != 16-n {
			t.Errorf("the first run of %d spans starts at span %d, want %d", n, first, 16-n)
		}
		if _, err := p.Get(int(n*spanSize - frameHeader)); !errors.Is(err, ErrNoSpace) {
			t.Errorf("one run more of %d spans: %v", n, err)
		}
		if _, err := s.Check(); err != nil {
			t.Error(err)
		}
		for _, f := range all {
			p.Put(f)
		}
	}
}

// A freed frame has a new name, and its old name is nobody's: freeing it once more changes nothing.
func TestGenerations(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	for _, n := range []int{10, 30_000, spanSize - frameHeader, 2 * spanSize} {
		f := get(t, p, n)
		p.Put(f)
		p.Put(f)
		again := get(t, p, n)
		if again.Index() != f.Index() || again.Generation() != f.Generation()+1 {
			t.Errorf("frame %d.%d came again as %d.%d", f.Index(), f.Generation(), again.Index(), again.Generation())
		}
		other := get(t, p, n)
		if other.Index() == again.Index() {
			t.Fatalf("frame %d was given out twice", again.Index())
		}
		p.Put(f)
		if w := again.Owner(); w != again.Word(s.ID(0), Held) {
			t.Errorf("a late Put made the frame %v", w)
		}
		p.Put(again)
		p.Put(other)
	}
}

// The cache keeps a bounded number of frames, held by its process, and gives them back.
func TestCache(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	var all []Frame
	for range 100 {
		all = append(all, get(t, p, 10))
	}
	for _, f := range all {
		p.Put(f)
	}
	if p.Kept() != keptFrames {
		t.Errorf("%d frames kept, want %d", p.Kept(), keptFrames)
	}
	census, err := s.Check()
	must(t, err)
	if census.States[Held] != keptFrames || census.Held[s.ID(0)] != keptFrames {
		t.Errorf("census %+v", census)
	}
	p.Flush()
	if p.Kept() != 0 {
		t.Errorf("%d frames kept after Flush", p.Kept())
	}
	for class := range classSizes {
		if n := keptOf(class); n < 1 || n > keptFrames || n > 1 && n*int(classSizes[class]) > keptBytes {
			t.Errorf("class %d: %d frames are kept", class, n)
		}
	}
}

func TestHeader(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	f := get(t, p, 10)
	defer p.Put(f)
	want := Header{
		Length: 1, Codec: 2, Kind: 3, Attempts: 4, Reason: Expired, Caller: MakeProcessID(6, 7), Call: 8, Mailbox: 9,
		Incarnation: 10, Method: 11, Deadline: 12, Enqueued: 13, Sender: 14, Origin: 15, Chain: 16, Value: 17, Status: 18,
	}
	f.SetTrace([TraceBytes]byte{1})
	f.SetHeader(&want)
	if got := f.Header(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if f.Trace() != [TraceBytes]byte{} {
		t.Error("the trace context of the frame's last use is still there")
	}
	if p, call := f.Caller(); p != want.Caller || call != 8 {
		t.Errorf("caller %v, %d", p, call)
	}
	f.SetTo(20, 21)
	f.SetLetter(Stopped, 22)
	f.SetReply(23, 24, 25)
	want.Mailbox, want.Incarnation, want.Reason, want.Origin, want.Length, want.Codec, want.Status = 20, 21, Stopped, 23, 23, 24, 25
	if got := f.Header(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if (Frame{}).IsZero() != true || f.IsZero() {
		t.Error("IsZero")
	}
}

func TestBody(t *testing.T) {
	for _, n := range []int{10, 30_000, spanSize, 3 * spanSize} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := create(t, small())
			p := pool(t, s, s.ID(0))
			f, b := get(t, p, 10), get(t, p, n)
			f.SetHeader(&Header{})
			if _, ok := f.Body(); ok {
				t.Error("a body before there is one")
			}
			f.Attach(b)
			got, ok := f.Body()
			if !ok || got.Index() != b.Index() || got.Cap() != b.Cap() {
				t.Fatalf("body %+v, want %+v", got, b)
			}
			census, err := s.Check()
			if err != nil || census.States[Attached] != 1 {
				t.Errorf("census %+v, %v", census, err)
			}
			p.Put(f)
			if _, ok := f.Body(); ok {
				t.Error("a body after the message was freed")
			}
			p.Flush()
			wantClean(t, s)
			if again := get(t, p, n); again.Generation() == b.Generation() && again.Index() == b.Index() {
				t.Error("the frame came again in the same generation")
			} else {
				p.Put(again)
			}
		})
	}
}

// Without its body the message stays what it is, and the body is free.
func TestDropBody(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	f, b := get(t, p, 10), get(t, p, 2*spanSize)
	f.SetHeader(&Header{})
	f.Attach(b)
	p.DropBody(f)
	p.DropBody(f)
	if _, ok := f.Body(); ok {
		t.Error("the body is still there")
	}
	if all := fill(t, p, 8*spanSize-frameHeader); len(all) != 1 {
		t.Errorf("%d of the largest runs fit beside one small frame, want 1", len(all))
	} else {
		p.Put(all[0])
	}
	p.Put(f)
}

// A message that names the body of another has none.
func TestBodyOfAnother(t *testing.T) {
	s := create(t, small())
	p := pool(t, s, s.ID(0))
	f, g, b := get(t, p, 10), get(t, p, 10), get(t, p, 10)
	f.SetHeader(&Header{})
	f.Attach(b)
	for _, named := range []uint64{uint64(b.Index() + 1), uint64(f.Index() + 1), uint64(g.Index() + 1), 1 << 31, 1<<64 - 1} {
		g.head.body.Store(named)
		if _, ok := g.Body(); ok {
			t.Errorf("frame %d is taken for a body", named-1)
		}
	}
	p.Put(g)
	if got, ok := f.Body(); !ok || got.Index() != b.Index() {
		t.Error("the body is gone with somebody else")
	}
	p.Put(f)
}
