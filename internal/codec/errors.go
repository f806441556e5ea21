package codec

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotEncodable is returned when a type, or one value of it, cannot be
	// encoded without losing something.
	ErrNotEncodable = errors.New("codec: not encodable")

	// ErrMalformed is returned when bytes are not an encoding of the wanted type.
	ErrMalformed = errors.New("codec: malformed")
)

// pathError says which part of a type or value is at fault and why. Parents put
// their own step before the path as the error passes through them, so that the
// usual case, no error, builds no path.
type pathError struct {
	path string
	why  string
}

// Error returns the path and the reason.
func (e *pathError) Error() string { return e.path + ": " + e.why }

// refuse starts a path error at the part that is at fault.
func refuse(format string, args ...any) *pathError {
	return &pathError{why: fmt.Sprintf(format, args...)}
}

// under puts a step before the path of e and returns e, also when it is nil.
func (e *pathError) under(step string) *pathError {
	if e != nil {
		e.path = step + e.path
	}
	return e
}

// notEncodable wraps the reason why the type named root, or a value of it, cannot
// be encoded.
func notEncodable(root string, err error) error {
	if e, ok := err.(*pathError); ok {
		if len(e.path) > maxPathBytes { // a value that holds itself
			e.path = strings.ToValidUTF8(e.path[:maxPathBytes], "") + "..."
		}
		return fmt.Errorf("%w: %s%w", ErrNotEncodable, root, e) // its path goes on from the root
	}
	return fmt.Errorf("%w: %s: %w", ErrNotEncodable, root, err)
}

// malformed wraps the reason why bytes are no encoding of the type named root.
func malformed(root string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrMalformed, root, err)
}
