package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

// mustFor returns the codec for T and fails the test if there is none.
func mustFor[T any](t testing.TB, want ID) *Codec[T] {
	t.Helper()
	c, err := For[T]()
	if err != nil {
		t.Fatalf("For[%s]: %v", reflect.TypeFor[T](), err)
	}
	if c.ID() != want {
		t.Fatalf("For[%s] chose %v, want %v", reflect.TypeFor[T](), c.ID(), want)
	}
	return c
}

// roundTrip returns a test that sends each value through the codec, into buffers
// that fit and that do not, and checks that it arrives as it was.
func roundTrip[T any](id ID, values ...T) func(*testing.T) {
	return convert(id, func(v T) T { return v }, values...)
}

// convert is roundTrip for values that arrive as something else.
func convert[T any](id ID, arrives func(T) T, values ...T) func(*testing.T) {
	return func(t *testing.T) {
		c := mustFor[T](t, id)
		for _, v := range values {
			want := arrives(v)
			payload := appendAll(t, c, v)
			var got T
			if err := c.Decode(payload, &got); err != nil {
				t.Fatalf("Decode(%x) of %+v: %v", payload, v, err)
			}
			for i := range payload {
				payload[i] = 0xa5 // what arrived must not depend on its source
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%#v arrived as %#v, want %#v", v, got, want)
			}
		}
	}
}

// appendAll appends v to buffers with too little, just enough and more than enough
// room, and returns the payload after checking that all agree and that nothing
// outside the room was touched.
func appendAll[T any](t *testing.T, c *Codec[T], v T) []byte {
	t.Helper()
	prefix := []byte("prefix")
	first, err := c.Append(slices.Clip(slices.Clone(prefix)), &v)
	if err != nil {
		t.Fatalf("Append(%+v): %v", v, err)
	}
	payload := slices.Clone(first[len(prefix):])
	if c.sized && c.SizeHint(&v) < len(payload) {
		t.Errorf("SizeHint(%+v) = %d for %d bytes", v, c.SizeHint(&v), len(payload))
	}
	for _, room := range []int{0, len(payload) / 2, len(payload) - 1, len(payload), len(payload) + 100} {
		if room < 0 {
			continue
		}
		memory := bytes.Repeat([]byte{0xcc}, len(prefix)+room+8)
		copy(memory, prefix)
		out, err := c.Append(memory[:len(prefix):len(prefix)+room], &v)
		if err != nil {
			t.Fatalf("Append(%+v) with room for %d bytes: %v", v, room, err)
		}
		if !bytes.HasPrefix(out, prefix) || len(out) != len(first) {
			t.Fatalf("Append(%+v) with room for %d bytes wrote %x, and %x before", v, room, out, first)
		}
		if inPlace := len(out) > 0 && &out[0] == &memory[0]; inPlace != (room >= len(payload)) {
			t.Errorf("Append(%+v) of %d bytes with room for %d: in place is %v", v, len(payload), room, inPlace)
		}
		if !bytes.Equal(memory[:len(prefix)], prefix) || bytes.Count(memory[len(prefix)+room:], []byte{0xcc}) != 8 {
			t.Fatalf("Append(%+v) with room for %d bytes wrote outside: %x", v, room, memory)
		}
	}
	return payload
}

// wantMalformed checks that the payload is refused and leaves the zero value.
func wantMalformed[T any](t *testing.T, c *Codec[T], v T, payload []byte) {
	t.Helper()
	var zero T
	if err := c.Decode(payload, &v); !errors.Is(err, ErrMalformed) {
		t.Errorf("Decode(%x) into %T: %v, want ErrMalformed", payload, v, err)
	} else if !reflect.DeepEqual(v, zero) {
		t.Errorf("Decode(%x) failed and left %+v", payload, v)
	}
}

// Types of all sorts that the tests share.

type celsius float64

type pair struct{ A, B int64 }

type padded struct {
	Flag  bool
	Count int32
	Odd   [3]bool
	_     uint16
	wide  float64
	Last  bool
}

type tree struct {
	Name     string
	Children []*tree
	Next     *tree
}

type base struct {
	ID   uint64
	Made time.Time
}

type document struct {
	base
	*Extra
	Title  string
	Tags   []string
	Scores map[string]float64
	Nested struct{ X, Y int16 }
	Maybe  *int
	Wait   time.Duration
	Any    any
	Raw    []byte
	Sum    [4]byte
	lost   int `cbor:"-"`
}

// Extra is embedded by pointer.
type Extra struct{ Note string }

type box[T any] struct {
	Item  T
	Items []T
}

// appender brings its own encoding with a value receiver to write.
type appender struct{ a, b byte }

func (a appender) AppendBinary(dst []byte) ([]byte, error) { return append(dst, a.a, a.b, '!'), nil }

func (a *appender) UnmarshalBinary(src []byte) error {
	switch {
	case len(src) == 1:
		panic("one byte")
	case len(src) != 3 || src[2] != '!':
		return errors.New("not three bytes")
	}
	a.a, a.b = src[0], src[1]
	return nil
}

// marshaler has the older pair of methods.
type marshaler struct{ hidden string }

func (m *marshaler) MarshalBinary() ([]byte, error) { return []byte(m.hidden), nil }

func (m *marshaler) UnmarshalBinary(src []byte) error {
	m.hidden = string(src)
	return nil
}

// msgpType has the methods that msgp generates.
type msgpType struct{ N uint32 }

func (m *msgpType) Msgsize() int { return 4 }

func (m *msgpType) MarshalMsg(dst []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, m.N), nil
}

func (m *msgpType) UnmarshalMsg(src []byte) ([]byte, error) {
	if len(src) < 4 {
		return src, errors.New("short")
	}
	m.N = binary.BigEndian.Uint32(src)
	return src[4:], nil
}

// failing cannot be written.
type failing struct{ appender }

func (failing) AppendBinary(dst []byte) ([]byte, error) { return dst[:0], nil }

// vtType has the methods that vtproto generates. Its zero value takes no bytes.
type vtType struct {
	Text string
	lies int // added to SizeVT
}

func (m *vtType) SizeVT() int { return len(m.Text) + m.lies }

func (m *vtType) MarshalToSizedBufferVT(dst []byte) (int, error) {
	return copy(dst[len(dst)-len(m.Text):], m.Text), nil
}

func (m *vtType) UnmarshalVT(src []byte) error {
	m.Text += string(src) // as protobuf does: merge
	return nil
}
