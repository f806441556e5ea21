//go:build !linux

package testkit

// fullChecks says that descriptors, processes and mappings can be listed here.
const fullChecks = false

// openFiles lists nothing: this system has no /proc.
func openFiles() map[string]string { return nil }

// processes lists nothing, as openFiles.
func processes() map[string]string { return nil }

// sharedMappings lists nothing, as openFiles.
func sharedMappings() map[string]int64 { return nil }

// watchProcess does nothing: the roles of a test binary that is gone end when their input does.
func watchProcess(int, func()) {}
