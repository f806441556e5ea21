package supervisor_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
	"github.com/shmactor/shmactor/supervisor"
)

// durable is a system in a file.
func durable(path string) supervisor.Spec {
	return supervisor.Spec{
		Name: "durable", Segment: shm.Options{File: path}, Limits: eager, Logger: slog.New(slog.DiscardHandler),
		Children: []supervisor.Child{supervisor.Actor("gate", gates), a("near"), w(a("far"))},
	}
}

// playDurable starts the system, gives both counters a message that takes for ever, and queues more behind it.
func playDurable() {
	ctx := context.Background()
	sys, err := supervisor.Start(ctx, durable(os.Args[1]))
	if err == nil {
		for _, name := range []string{"near", "far"} {
			ref := counters.Ref(sys, name)
			err = errors.Join(err, wait.Send(ctx, ref, "gate"))
			if !eventually(func() bool { return boxOf(sys, name).Busy > 0 }) {
				err = errors.Join(err, errors.New("it is not being handled"))
			}
			for i := range int64(5) {
				err = errors.Join(err, note.Send(ctx, ref, i))
			}
		}
	}
	fmt.Println("queued", err)
	select {}
}

// With a file, the queues outlive the program: the next one of the same spec handles them.
func TestDurable(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	path := filepath.Join(t.TempDir(), "segment")
	killedWhenQueued(t, "durable", path)
	ctx := testkit.Deadline(t, patience)
	wantQueues(ctx, t, path)
}

// wantQueues starts the system, wants what playDurable left, and closes it.
func wantQueues(ctx context.Context, t *testing.T, path string) {
	t.Helper()
	sys, err := supervisor.Start(ctx, durable(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"near", "far"} {
		got, err := notes.Call(ctx, counters.Ref(sys, name), struct{}{})
		if err != nil || !slices.Equal(got, []int64{0, 1, 2, 3, 4}) {
			t.Errorf("%s handled %v, %v", name, got, err)
		}
	}
	letters, err := supervisor.DeadLetters(ctx, sys, 10)
	if err != nil || len(letters) != 2 {
		t.Errorf("dead letters: %v, %v, want the two messages that were being handled", letters, err)
	}
	for _, l := range letters {
		if l.Reason != shm.WorkerDied.String() || l.Method != "counter.wait" {
			t.Errorf("dead letter %+v", l)
		}
	}
	if _, err := mailbox.Check(sys.Hub().Segment()); err != nil {
		t.Error(err)
	}
	if err := sys.Close(); err != nil && !errors.Is(err, actor.ErrSystemEnded) {
		t.Error(err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// killedWhenQueued runs a program that says when its messages are queued, and kills it.
func killedWhenQueued(t *testing.T, role, path string) {
	t.Helper()
	cmd := testkit.Command(t, role, path)
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "queued <nil>\n" {
		t.Fatal(line, err)
	}
	if _, err := supervisor.Start(context.Background(), durable(path)); !errors.Is(err, shm.ErrInUse) {
		t.Errorf("beside a living program: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// A start that fails for a reason of its own leaves a file that it took over, with the queues and the dead letters in it.
func TestFailedStartLeavesTheQueues(t *testing.T) {
	testkit.NeedWorkers(t)
	testkit.NoLeaks(t)
	path := filepath.Join(t.TempDir(), "segment")
	killedWhenQueued(t, "durable", path)
	ctx := testkit.Deadline(t, patience)
	broken := supervisor.Actor("broken", argued.With(arg{Fail: "error"}))
	for name, first := range map[string]supervisor.Child{
		"an actor": broken, "in a group": supervisor.Group("g", broken),
		"in a worker": supervisor.Worker("v", broken),
	} {
		spec := durable(path)
		spec.Children = slices.Insert(spec.Children, 1, first)
		_, err := supervisor.Start(ctx, spec)
		wantError(t, err, nil, "no such luck")
		if left, _ := filepath.Glob(path + "*"); !slices.Equal(left, []string{path, path + ".lock"}) {
			t.Fatalf("%s: left behind: %v", name, left)
		}
	}
	wantQueues(ctx, t, path)
}
