package actor_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// A one-way message that was accepted and not handled is a dead letter, once, and counted by its reason.
func TestDeadLetters(t *testing.T) {
	fail := func(context.Context, *scripted) (int64, error) { return 0, errKnown }
	unlucky := func(context.Context, *scripted) (int64, error) { panic("unlucky") }
	exit := func(context.Context, *scripted) (int64, error) { runtime.Goexit(); return 0, nil }
	fine := func(context.Context, *scripted) (int64, error) { return 0, nil }
	for _, c := range []struct {
		name string
		f    script
		want shm.Reason
	}{
		{"an error", fail, shm.HandlerFailed}, {"a panic", unlucky, shm.Crashed}, {"Goexit", exit, shm.Crashed}, {"nothing", fine, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, s *scene) {
				s.home.keep("a", s.kind)
				s.home.keep("from", s.kind)
				n := do(t, c.f)
				before := s.w.seg.DeadLetterCounts()
				must(t, s.run.Send(s.ctx(), s.ref, n))
				_, err := s.run.Call(s.ctx(), s.kind.Ref(s.caller.sys, "from"), do(t, func(ctx context.Context, _ *scripted) (int64, error) {
					return 0, s.run.Send(ctx, s.kind.Ref(s.home.sys, "a"), n)
				}))
				must(t, err)
				s.works()
				if c.want == 0 {
					s.w.waitLetters(0)
					return
				}
				list := s.w.waitLetters(2)
				sender := s.w.boxes["from"].Index() + 1
				for i, l := range list {
					if l.to != "a" || l.method != s.kind.Name()+".run" || l.reason != c.want || l.from != []uint32{0, sender}[i] {
						t.Errorf("%+v", l)
					}
				}
				after := s.w.seg.DeadLetterCounts()
				for r := range after {
					want := before[r]
					if shm.Reason(r) == c.want {
						want += 2
					}
					if after[r] != want {
						t.Errorf("%v is counted %d times, want %d", shm.Reason(r), after[r], want)
					}
				}
			})
		})
	}
}

func TestDeadLettersOfAStop(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		life.Stop(false, patience, patience)
		for i := range int64(5) {
			must(t, s.note.Send(s.ctx(), s.ref, i)) // the mailbox is open between two lives
		}
		s.w.close("a")
		for _, l := range s.w.waitLetters(5) {
			if l.reason != shm.Stopped {
				t.Errorf("%+v", l)
			}
		}
		if n := s.w.seg.DeadLetterCounts()[shm.Stopped]; n != 5 {
			t.Errorf("%d are counted", n)
		}
	})
}

// A late message to nobody, or to one who was stopped, is counted.
func TestDeadLettersOfTimers(t *testing.T) {
	everywhere(t, func(t *testing.T, s *scene) {
		life := s.home.start("a", s.kind)
		s.works()
		s.note.SendAfter(0, s.kind.Ref(s.caller.sys, "nobody"), 1)
		testkit.Eventually(t, patience, "it is counted", func() bool { return s.w.seg.DeadLetterCounts()[shm.Unknown] == 1 })
		life.Stop(false, patience, patience)
		s.w.close("a")
		s.note.SendAfter(0, s.ref, 1)
		testkit.Eventually(t, patience, "it is counted", func() bool {
			c := s.w.seg.DeadLetterCounts()
			return c[shm.Unknown]+c[shm.Stopped] == 2
		})
	})
}
