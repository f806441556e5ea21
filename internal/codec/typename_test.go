package codec

import (
	"reflect"
	"testing"
	"time"
)

func TestTypeName(t *testing.T) {
	const here = "github.com/shmactor/shmactor/internal/codec."
	type local struct{ A int }
	other, otherName := otherLocal(t)
	for got, want := range map[string]string{
		mustFor[int](t, Raw).TypeName():            "int",
		mustFor[[]byte](t, Bytes).TypeName():       "[]uint8",
		mustFor[any](t, CBOR).TypeName():           "interface {}",
		mustFor[celsius](t, Raw).TypeName():        here + "celsius float64",
		mustFor[time.Time](t, Appender).TypeName(): "time.Time",
		mustFor[pair](t, Raw).TypeName():           here + "pair struct{A int64;B int64;}",
		mustFor[local](t, Raw).TypeName():          here + "local struct{A int;}",
		otherName:                                  here + "local struct{B string;}",
		mustFor[*tree](t, CBOR).TypeName(): "*" + here + "tree struct{Name string;Children []*" + here +
			"tree;Next *" + here + "tree;}",
		mustFor[map[pair][3]*pair](t, CBOR).TypeName(): "map[" + here + "pair struct{A int64;B int64;}][3]*" + here + "pair",
		mustFor[box[pair]](t, CBOR).TypeName(): here + "box[" + here + "pair] struct{Item " + here +
			"pair struct{A int64;B int64;};Items []" + here + "pair;}",
		mustFor[padded](t, Raw).TypeName():         here + "padded struct{Flag bool;Count int32;Odd [3]bool;_ uint16;wide float64;Last bool;}",
		mustFor[marshaler](t, Appender).TypeName(): here + "marshaler struct{hidden string;}",
		mustFor[document](t, CBOR).TypeName(): here + "document struct{base embedded " + here + "base struct{ID uint64;Made time.Time;};" +
			"Extra embedded *" + here + "Extra struct{Note string;};Title string;Tags []string;Scores map[string]float64;" +
			"Nested struct{X int16;Y int16;};Maybe *int;Wait time.Duration int64;Any interface {};Raw []uint8;Sum [4]uint8;}",
		mustFor[struct {
			A []int `cbor:"a,omitempty" json:"b"`
		}](t, CBOR).TypeName(): `struct{A []int cbor:"a,omitempty" json:"b";}`,
		mustFor[wholeEvent](t, Appender).TypeName(): here + "wholeEvent struct{event embedded codec.event;N int;}",
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	both := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[local]()},
		{Name: "B", Type: other},
	})
	if got, want := describe(both, false), "struct{A "+here+"local struct{A int;};B "+here+"local#2 struct{B string;};}"; got != want {
		t.Errorf("two types of one name: %s", got)
	}
}

// otherLocal returns another type that is called local, and its description.
func otherLocal(t *testing.T) (reflect.Type, string) {
	type local struct{ B string }
	return reflect.TypeFor[local](), mustFor[local](t, CBOR).TypeName()
}
