package floor

// asleep reports whether the peer sleeps.
func (s *Shm) asleep() bool {
	there, _ := way(s.mem, s.most, 0)
	return there.sleeps.Load() != 0
}
