package actor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/shmactor/shmactor/actor"
)

// Many callers and many actors: everybody gets the reply to what he asked, in the order in which he asked.
func TestMany(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		const actors, callers = 16, 64
		calls := 300 / slower
		far := s.w.process("far")
		var refs [actors]actor.Ref[*scripted]
		for i := range refs {
			p := s.home
			if i%4 == 3 {
				p = far
			}
			name := fmt.Sprintf("a%d", i)
			p.keep(name, s.kind)
			refs[i] = s.kind.Ref(s.caller.sys, name)
		}
		ctx := context.Background()
		var all sync.WaitGroup
		for c := range callers {
			all.Go(func() {
				for i := range calls {
					to := refs[(c+i)%actors]
					want := point{X: int32(c), Y: int32(i)}
					if got, err := s.point.Call(ctx, to, want); got != want || err != nil {
						t.Errorf("caller %d, call %d: %v, %v", c, i, got, err)
					}
					switch i % 8 {
					case 1:
						text := fmt.Sprintf("%d/%d", c, i)
						if got, err := s.text.Call(ctx, to, text); got != text || err != nil {
							t.Errorf("%q: %q, %v", text, got, err)
						}
					case 2:
						if err := s.note.Send(ctx, to, int64(c)<<32|int64(i)); err != nil {
							t.Error(err)
						}
					case 3:
						large := make([]byte, 5000+c)
						large[c] = byte(i)
						if got, err := s.bytes.Call(ctx, to, large); len(got) != len(large) || got[c] != byte(i) || err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		notes := 0
		for i, ref := range refs {
			seen, err := s.seen.Call(s.ctx(), ref, struct{}{})
			if err != nil {
				t.Error(err)
			}
			last := map[int64]int64{}
			for _, n := range seen {
				if from, at := n>>32, n&0xffffffff; at < last[from] {
					t.Errorf("actor %d has seen message %d of caller %d after %d", i, at, from, last[from])
				} else {
					last[from] = at
				}
			}
			notes += len(seen)
		}
		if want := callers * ((calls + 5) / 8); notes != want {
			t.Errorf("%d notes arrived, want %d", notes, want)
		}
	})
}

// What a caller did before its call is seen by the handler, and what that did is seen by the caller: the race detector, which
// cannot see the segment's own words, agrees.
func TestCallsOrderMemory(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		s.home.keep("a", s.kind)
		const callers = 8
		var cells [callers]struct {
			n int64
			_ [56]byte
		}
		var total int64
		run := do(t, func(context.Context, *scripted) (int64, error) { total++; return total, nil })
		var all sync.WaitGroup
		for c := range callers {
			n := do(t, func(context.Context, *scripted) (int64, error) { cells[c].n++; total++; return cells[c].n, nil })
			all.Go(func() {
				for i := range int64(500 / slower) {
					cells[c].n++
					got, err := s.run.Call(context.Background(), s.ref, n)
					if want := 2 * (i + 1); got != want || cells[c].n != want || err != nil {
						t.Errorf("%d in the cell, %d, %v, want %d", cells[c].n, got, err, want)
					}
				}
			})
		}
		all.Wait()
		if got, err := s.run.Call(s.ctx(), s.ref, run); got != total || err != nil {
			t.Error(got, err)
		}
	})
}
