package codec

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/fxamacker/cbor/v2"
)

// Types that are refused for how they are declared.

type doc struct {
	Items []item
}

type item struct {
	Fn func()
}

type secretive struct {
	Name string
	salt int
}

var _ = secretive{salt: 1}

type selfish struct{ *selfish }

type wide struct {
	base
	ID string
}

type event struct {
	time.Time
	Name string
}

type eventPointer struct {
	*marshaler
	Name string
}

type msgpEvent struct {
	msgpType
	Name string
}

type genericEvent[T any] struct {
	time.Time
	Item T
}

type halfWriter struct{ N int }

func (halfWriter) MarshalBinary() ([]byte, error) { return nil, nil }

type halfReader []string

func (*halfReader) UnmarshalCBOR([]byte) error { return nil }

// refusal is what For says of a type.
type refusal struct {
	err  error
	want string
}

// TestRefusedKinds checks types of which no value could make the trip.
func TestRefusedKinds(t *testing.T) {
	checkRefusals(t, []refusal{
		{notFor[chan int](), "chan int: chan int cannot be encoded"},
		{notFor[func()](), "func(): func() cannot be encoded"},
		{notFor[unsafe.Pointer](), "an address means nothing"},
		{notFor[uintptr](), "uintptr: uintptr cannot be encoded: an address means nothing"},
		{notFor[[2]uintptr](), "[2]uintptr[]: uintptr cannot be encoded"},
		{notFor[map[chan int]int](), "map[chan int]int[key]: chan int cannot be encoded"},
		{notFor[map[string]chan int](), "map[string]chan int[]: chan int cannot be encoded"},
		{notFor[doc](), "codec.doc.Items[].Fn: func() cannot be encoded"},
		{notFor[*doc](), "*codec.doc.Items[].Fn: func() cannot be encoded"},
		{notFor[error](), "error: error cannot be decoded"},
		{notFor[struct{ Err error }](), ".Err: error cannot be decoded"},
		{notFor[[]fmt.Stringer](), "[]fmt.Stringer[]: fmt.Stringer cannot be decoded"},
		{notFor[encoding.BinaryMarshaler](), "cannot be decoded"},
		{notFor[context.Context](), "cannot be decoded"},
		{notFor[[]complex128](), "use two floats"},
		{notFor[**int](), "a nil at its end"},
		{notFor[[]*any](), "a nil at its end"},
		{notFor[map[*int]int](), "[key]: *int cannot be encoded"},
		{notFor[map[any]int](), "[key]: interface {} cannot be encoded as a key"},
		{notFor[map[time.Time]int](), "[key]: time.Time cannot be encoded as a key"},
		{notFor[map[[1]any]int](), "[key]: [1]interface {} cannot be encoded as a key"},
		{notFor[cbor.Tag](), "cbor.Tag cannot be encoded"},
	})
}

// TestRefusedFields checks structs that would lose a field.
func TestRefusedFields(t *testing.T) {
	checkRefusals(t, []refusal{
		{notFor[secretive](), "codec.secretive.salt: the field is unexported and would be lost; export it, tag it `cbor:\"-\"`"},
		{notFor[map[string][]secretive](), "[][].salt: the field is unexported"},
		{notFor[struct{ s string }](), ".s: the field is unexported"},
		{notFor[big.Float](), "the field is unexported"},
		{notFor[sync.Mutex](), "the field is unexported"},
		{notFor[struct{ N atomic.Int64 }](), ".N.v: the field is unexported"},
		{notFor[struct {
			mu sync.Mutex
			N  int
		}](), ".mu: the field is unexported"},
		{notFor[struct {
			S []int `json:"-"`
		}](), "no field that can be encoded"},
		{notFor[struct {
			*appenderless
			S string
		}](), ".appenderless: an embedded pointer"},
		{notFor[struct {
			celsius
			S string
		}](), ".celsius: the field is unexported"},
		{notFor[selfish](), ".selfish: an embedded pointer"},
		{notFor[wide](), "codec.wide.ID: it has the same name as base.ID"},
		{notFor[struct {
			A []int `cbor:"x"`
			B []int `json:"x"`
		}](), ".B: it has the same name as A"},
		{notFor[struct {
			A []int `cbor:"1,keyasint"`
			B []int `cbor:"+1,keyasint"`
		}](), ".B: it has the same name as A"},
		{notFor[struct {
			A []int `cbor:"x,keyasint"`
		}](), "no integer"},
		{notFor[struct {
			_ struct{} `cbor:",toindefarray"`
			A []int
		}](), "use toarray"},
	})
}

// TestRefusedMethods checks types whose own encoding is not one of the whole type.
func TestRefusedMethods(t *testing.T) {
	checkRefusals(t, []refusal{
		{notFor[event](), "codec.event: AppendBinary comes from the embedded Time and would leave out Name"},
		{notFor[*event](), "*codec.event: AppendBinary comes from the embedded Time"},
		{notFor[[]event](), "[]codec.event[]: MarshalBinary comes from the embedded Time"},
		{notFor[eventPointer](), "MarshalBinary comes from the embedded marshaler and would leave out Name"},
		{notFor[msgpEvent](), "MarshalMsg comes from the embedded msgpType and would leave out Name"},
		{notFor[genericEvent[int]](), "AppendBinary comes from the embedded Time and would leave out Item"},
		{notFor[[]halfWriter](), "codec.halfWriter does not implement encoding.BinaryUnmarshaler"},
		{notFor[halfReader](), "codec.halfReader does not implement cbor.Marshaler"},
	})
}

// checkRefusals compares the errors with what they should say.
func checkRefusals(t *testing.T, tests []refusal) {
	t.Helper()
	for _, tt := range tests {
		if !errors.Is(tt.err, ErrNotEncodable) || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("got  %v\nwant %s", tt.err, tt.want)
		}
	}
}

type appenderless struct{ N int }

// notFor returns the error of For.
func notFor[T any]() error {
	c, err := For[T]()
	if err == nil {
		return fmt.Errorf("%s is encodable as %v", c.root, c.ID())
	}
	return err
}

// Types that embed one with an encoding and have one for the whole.

type wholeEvent struct {
	event
	N int
}

func (w wholeEvent) AppendBinary(dst []byte) ([]byte, error) {
	return append(dst, byte(w.N)), nil
}

func (w *wholeEvent) UnmarshalBinary(src []byte) error {
	if len(src) != 1 {
		return errors.New("not one byte")
	}
	w.N = int(src[0])
	return nil
}

type wholeGeneric[T any] struct {
	time.Time
	Item T
}

func (w *wholeGeneric[T]) AppendBinary(dst []byte) ([]byte, error) { return append(dst, 1), nil }

func (w *wholeGeneric[T]) UnmarshalBinary([]byte) error { return nil }

// handle has no pointers, and an encoding that is not its memory.
type handle struct{ slot int32 }

func (h handle) MarshalBinary() ([]byte, error) { return fmt.Appendf(nil, "handle %d", h.slot), nil }

func (h *handle) UnmarshalBinary(src []byte) error {
	_, err := fmt.Sscanf(string(src), "handle %d", &h.slot)
	return err
}

// TestChoice checks which codec is chosen where more than one could be.
func TestChoice(t *testing.T) {
	t.Run("own before raw", roundTrip(Appender, handle{3}))
	t.Run("own inside", roundTrip(CBOR, struct{ H handle }{handle{3}}))
	t.Run("own for the whole", roundTrip(Appender, wholeEvent{N: 1}))
	t.Run("generic own for the whole", roundTrip(Appender, wholeGeneric[string]{}))
	t.Run("raw half", roundTrip(Raw, halfWriter{1}))
	t.Run("stays behind", convert(CBOR,
		func(v struct {
			A int
			b int `cbor:"-"`
		}) struct {
			A int
			b int `cbor:"-"`
		} {
			v.b = 0
			return v
		},
		struct {
			A int
			b int `cbor:"-"`
		}{1, 2}))
	mustFor[cbor.RawMessage](t, Bytes)
	mustFor[[]cbor.RawMessage](t, CBOR)
	mustFor[[]handle](t, CBOR)
	mustFor[struct {
		_ sync.Mutex
		N []int
	}](t, CBOR)
}
