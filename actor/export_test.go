package actor

// Pending is how many deferred calls the process keeps.
func Pending(s *System) (n int) {
	s.pending.Range(func(any, any) bool { n++; return true })
	return n
}
