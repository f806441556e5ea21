package codec

import (
	"reflect"
	"strconv"
	"strings"
)

// cborField is one field that CBOR writes for a struct. Fields of embedded
// structs count as fields of the outer one.
type cborField struct {
	index []int  // as for reflect.Value.FieldByIndex
	path  string // ".Base.ID"
	typ   reflect.Type
}

// structFields collects the fields of a struct by the rules of the CBOR package,
// which are those of encoding/json, and refuses what these rules drop in silence.
type structFields struct {
	list []cborField
	// names maps what a field is called on the wire to its path.
	names map[string]string
	// embedded are the embedded structs that lead to the one being looked at.
	embedded map[reflect.Type]bool
	// integers is set when a field is named by a number (keyasint).
	integers bool
	// others is set when the struct has fields that are not written.
	others bool
}

// cborFields returns the fields of the struct type t. integers tells that some of
// them are named by numbers.
func cborFields(t reflect.Type) (list []cborField, integers bool, err *pathError) {
	s := structFields{names: map[string]string{}, embedded: map[reflect.Type]bool{}}
	if blank, ok := t.FieldByName("_"); ok && tagOption(blank.Tag.Get("cbor"), "toindefarray") {
		return nil, false, refuse("its toindefarray asks for an array without a length; use toarray")
	}
	if err := s.collect(t, nil, ""); err != nil {
		return nil, false, err
	}
	if len(s.list) == 0 && s.others {
		return nil, false, refuse("it has no field that can be encoded")
	}
	return s.list, s.integers, nil
}

// collect adds the fields of t, an embedded struct reached by index and path or
// the outermost one.
func (s *structFields) collect(t reflect.Type, index []int, path string) *pathError {
	if s.embedded[t] {
		return refuse("it embeds itself").under(path)
	}
	s.embedded[t] = true
	defer delete(s.embedded, t)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			continue // nothing can be stored in it
		}
		s.others = s.others || f.Type.Size() > 0
		tag := fieldTag(f)
		if tag == "-" {
			continue
		}
		at := path + "." + f.Name
		fieldIndex := append(append([]int(nil), index...), i)
		name, _, _ := strings.Cut(tag, ",")
		if inner, ok := embeddedStruct(f); ok && name == "" {
			if f.Type.Kind() == reflect.Pointer && !f.IsExported() {
				return refuse("an embedded pointer to an unexported struct cannot be set").under(at)
			}
			if err := s.collect(inner, fieldIndex, at); err != nil {
				return err
			}
			continue
		}
		if !f.IsExported() {
			return refuse("the field is unexported and would be lost; export it, tag it `cbor:\"-\"`, "+
				"or implement encoding.BinaryMarshaler and encoding.BinaryUnmarshaler on %s", t).under(at)
		}
		if err := s.add(f, tag, name, at); err != nil {
			return err
		}
		s.list = append(s.list, cborField{index: fieldIndex, path: at, typ: f.Type})
	}
	return nil
}

// add enters the name of a field and refuses a second one of that name: the rules
// keep the one that is less deep, or none, and drop the rest.
func (s *structFields) add(f reflect.StructField, tag, name, path string) *pathError {
	if name == "" {
		name = f.Name
	}
	key := strconv.Quote(name)
	if tagOption(tag, "keyasint") {
		n, err := strconv.Atoi(name)
		if err != nil {
			return refuse("its name %q is tagged keyasint and is no integer", name).under(path)
		}
		key, s.integers = strconv.Itoa(n), true
	}
	if other, taken := s.names[key]; taken {
		return refuse("it has the same name as %s, %s, and one of them would be lost", other[1:], key).under(path)
	}
	s.names[key] = path
	return nil
}

// fieldTag returns the tag of a field that CBOR goes by: cbor, or else json.
func fieldTag(f reflect.StructField) string {
	if tag := f.Tag.Get("cbor"); tag != "" {
		return tag
	}
	return f.Tag.Get("json")
}

// tagOption reports if the tag has the option after its name.
func tagOption(tag, option string) bool {
	_, options, _ := strings.Cut(tag, ",")
	for len(options) > 0 {
		var one string
		one, options, _ = strings.Cut(options, ",")
		if one == option {
			return true
		}
	}
	return false
}

// embeddedStruct returns the struct type whose fields f brings into the struct
// around it.
func embeddedStruct(f reflect.StructField) (reflect.Type, bool) {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t, f.Anonymous && t.Kind() == reflect.Struct
}
