// Package sys is the one room for the operating system: futexes, mappings, sealed memory files, process handles and the
// clock that all processes of a machine share. Where a platform lacks a thing, its function returns an error wrapping
// errors.ErrUnsupported.
package sys
