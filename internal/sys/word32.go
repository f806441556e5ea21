//go:build 386 || arm || mips || mipsle

package sys

// The words that processes share are 64 bits wide, and a segment may be larger than what 32 bits address.
var _ = shmactor_needs_a_64_bit_processor
