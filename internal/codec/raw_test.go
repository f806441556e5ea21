package codec

import (
	"bytes"
	"testing"
	"unsafe"
)

// TestRawPadding checks that no byte without meaning leaves the process.
func TestRawPadding(t *testing.T) {
	c := mustFor[padded](t, Raw)
	var v, same padded
	dirty := memoryOf(&v)
	for i := range dirty {
		dirty[i] = 0xee
	}
	for _, p := range []*padded{&v, &same} {
		p.Flag, p.Count, p.Odd, p.wide, p.Last = true, 3, [3]bool{true}, 4, false
	}
	one, err := c.Append(nil, &v)
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.Append(nil, &same)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(one, []byte{0xee}) || !bytes.Equal(one, two) {
		t.Errorf("equal values have the bytes\n%x and\n%x", one, two)
	}
	if len(one) != int(unsafe.Sizeof(v)) {
		t.Errorf("%d bytes for %d of memory", len(one), unsafe.Sizeof(v))
	}
}

// TestRawMalformed flips each bit of a value that must not be set, and only those
// may be refused.
func TestRawMalformed(t *testing.T) {
	c := mustFor[padded](t, Raw)
	good, err := c.Append(nil, &padded{Flag: true, Count: -1, wide: -1, Last: true})
	if err != nil {
		t.Fatal(err)
	}
	var zero padded
	free := map[uintptr]byte{ // the bits that may have any value
		unsafe.Offsetof(zero.Flag): 1, unsafe.Offsetof(zero.Last): 1,
		unsafe.Offsetof(zero.Odd): 1, unsafe.Offsetof(zero.Odd) + 1: 1, unsafe.Offsetof(zero.Odd) + 2: 1,
	}
	for i := range unsafe.Sizeof(zero.Count) {
		free[unsafe.Offsetof(zero.Count)+i] = 0xff
	}
	for i := range unsafe.Sizeof(zero.wide) {
		free[unsafe.Offsetof(zero.wide)+i] = 0xff
	}
	for i := range uintptr(len(good)) {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			v := padded{Count: 9}
			if err := c.Decode(bad, &v); (err == nil) != (free[i]&(1<<bit) != 0) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			} else if err != nil && v != zero {
				t.Errorf("bit %d of byte %d left %+v", bit, i, v)
			}
		}
	}
}

// TestRawAllocs checks that raw values need no memory, not even for themselves.
func TestRawAllocs(t *testing.T) {
	pairs, pads := mustFor[pair](t, Raw), mustFor[padded](t, Raw)
	var frame [64]byte
	allocs := testing.AllocsPerRun(100, func() {
		p, q := pair{1, 2}, padded{Last: true}
		out, err := pairs.Append(frame[:0], &p)
		if err == nil && pairs.SizeHint(&p) == len(out) {
			err = pairs.Decode(out, &p)
		}
		if err != nil || p.B != 2 {
			t.Fatal(p, err)
		}
		if out, err = pads.Append(frame[:0], &q); err == nil {
			err = pads.Decode(out, &q)
		}
		if err != nil || !q.Last {
			t.Fatal(q, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestCopiedAllocs bounds what the codecs allocate that cannot do without: never
// the output, which goes straight into the frame.
func TestCopiedAllocs(t *testing.T) {
	frame := make([]byte, 0, 1<<20)
	text := string(bytes.Repeat([]byte("x"), 100_000))
	docs, vts := mustFor[box[string]](t, CBOR), mustFor[*vtType](t, VTProto)
	allocs := testing.AllocsPerRun(100, func() {
		v, vt := box[string]{Item: text}, &vtType{Text: text}
		if _, err := docs.Append(frame, &v); err != nil {
			t.Fatal(err)
		}
		if _, err := vts.Append(frame, &vt); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 3 { // the copies of box and pointer, the vtType itself
		t.Errorf("%v allocations", allocs)
	}
}
