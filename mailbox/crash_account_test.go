//go:build shmactor_points

package mailbox

// fate is what became of a message.
type fate struct {
	call, accepted     bool
	took               []string // who received it
	done, buried       bool     // its handling has ended, so it cannot be a dead letter; or it has to be one
	letters            int
	replied, mayBeLost bool
}

// fate is the account of a message; the caller holds the lock.
func (c *crash) fate(name string) *fate {
	f := c.fates[name]
	if f == nil {
		f = &fate{}
		c.fates[name] = f
	}
	return f
}

func (c *crash) note(name string, f func(*fate)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.fate(name))
}

func (c *crash) takeLetters() {
	for {
		m, ok := c.letters.TryReceive()
		if !ok {
			return
		}
		b, err := m.Bytes()
		c.must("a dead letter", err)
		c.note(nameOf(b), func(f *fate) { f.letters++ })
		m.Release()
	}
}

// check says what is wrong with what became of a message. Dead letters may be missing when the mailbox for them was full.
func (f *fate) check(dropped bool, most int) string {
	switch {
	case len(f.took) > most:
		return "handled too often"
	case f.letters > 1:
		return "a dead letter twice"
	case f.call && f.letters > 0:
		return "a call became a dead letter"
	case f.call && f.replied && len(f.took) == 0:
		return "answered by nobody"
	case f.done && f.letters > 0:
		return "handled, and a dead letter"
	case dropped:
	case f.buried && f.letters == 0:
		return "buried, and no dead letter"
	case !f.call && f.accepted && len(f.took)+f.letters == 0:
		return "lost"
	}
	return ""
}
