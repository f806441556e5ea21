// Package shm is the segment: the one piece of memory that all processes of a system share. It knows bytes, offsets, owners
// and generations, and nothing of actors:
//
//   - the header, which says what the segment is, and the geometry of its tables (layout.go draws them);
//   - the process table, with who is alive and each process's doorbell;
//   - the directory of names;
//   - frames, the memory of messages, in size classes, each with an owner word that is the whole truth about it.
//
// Nothing in a segment is a pointer, and every number read from it is input from another process: it is checked once,
// on a private copy, and a bad one gives ErrCorrupt.
//
// The process that creates a segment owns it: only the owner registers names and processes, gives death verdicts and sweeps.
// docs/protocol.md has every shared word and who may change it.
package shm
