package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// Of those who wait for names and give up, not many are remembered.
func TestAwaitedIsPruned(t *testing.T) {
	testkit.NoLeaks(t)
	ctx := testkit.Deadline(t, 30*time.Second)
	s, err := Start(ctx, Spec{Name: "test", Segment: shm.Options{Heap: true}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := rootOf(s)
	count := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.awaited.count
	}
	waiting := make(chan error, 1)
	go func() { waiting <- WaitFor(ctx, s, "later") }()
	testkit.Eventually(t, 10*time.Second, "somebody waits", func() bool { return count() == 1 })
	const rounds, parties = 20, 50
	for range rounds {
		var all sync.WaitGroup
		for range parties {
			all.Go(func() {
				short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
				defer cancel()
				if err := WaitFor(short, s, "never"); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	if n := count(); n > 2*waitingMin+parties {
		t.Errorf("%d calls are remembered", n)
	}
	if box, err := r.openBox("later", actor.Recipe(adminKind.With(nil))); err != nil {
		t.Error(err)
	} else {
		r.closeBox("later", box)
	}
	if err := <-waiting; err != nil {
		t.Errorf("who waited in earnest: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Somebody may send the admin what makes it crash; it is there again.
func TestAdminComesBack(t *testing.T) {
	testkit.NoLeaks(t)
	ctx := testkit.Deadline(t, 30*time.Second)
	s, err := Start(ctx, Spec{Name: "test", Segment: shm.Options{Heap: true}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := rootOf(s)
	m := r.admin.member(adminName)
	before := m.run.(*localActor).box.Life()
	for range 3 {
		if _, err := adminCrash.Call(ctx, adminKind.Ref(s, adminName), struct{}{}); !errors.Is(err, actor.ErrCrashed) {
			t.Error(err)
		}
	}
	if err := WaitFor(ctx, s, adminName); err != nil {
		t.Error(err)
	}
	if now := m.run.(*localActor).box.Life(); now != before+3 {
		t.Errorf("life %d, want %d", now, before+3)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

var adminCrash = actor.NewMethod(adminKind.Kind, "crash", func(*admin, context.Context, struct{}) (struct{}, error) {
	panic("as a test wants")
})
