package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/shm"
)

// What can be asked of a running system, from any of its processes: the admin is an actor in the process that started it.

const (
	adminName = systemPrefix + "system"
	// MaxDeadLetters is the most that one call of DeadLetters returns.
	MaxDeadLetters = 256
)

type admin struct{ root *root }

type spawnOrder struct {
	Worker string
	Child  wireChild
}

type retiredActor struct {
	Name        string
	Mailbox     uint32
	Incarnation uint32
}

var (
	adminKind    = actor.NewKindWith(adminName, func(r *root) (*admin, error) { return &admin{r}, nil }, actor.Capacity(256))
	adminSpawn   = actor.NewMethod(adminKind.Kind, "spawn", (*admin).spawn)
	adminStop    = actor.NewMethod(adminKind.Kind, "stop", (*admin).stop)
	adminAwait   = actor.NewMethod(adminKind.Kind, "await", (*admin).await)
	adminLetters = actor.NewMethod(adminKind.Kind, "letters", (*admin).letters)
	adminRetired = actor.NewMethod(adminKind.Kind, "retired", (*admin).retired)
)

func (r *root) startAdmin() error {
	recipe := adminKind.With(r)
	box, err := r.openBox(adminName, recipe)
	if err != nil {
		return err
	}
	r.admin, err = r.sys.Start(context.Background(), adminName, box, recipe)
	return err
}

// Spawn starts an actor at run time, supervised like those of the spec, and returns when it is ready. When it does not
// start, it is forgotten. It works in every process of the system.
func Spawn(ctx context.Context, s *actor.System, c Child) error { return SpawnIn(ctx, s, "", c) }

// SpawnIn is Spawn in a worker that the spec names.
func SpawnIn(ctx context.Context, s *actor.System, worker string, c Child) error {
	check := specCheck{ids: map[string]bool{}, inWorker: worker != ""}
	check.child("system "+s.Name(), &c)
	if c.kind != actorChild {
		check.add("child %q: only actors are spawned at run time", c.name)
	}
	if err := errors.Join(check.wrong...); err != nil {
		return err
	}
	if r, ok := rootOf(s); ok {
		return r.spawn(ctx, worker, c)
	}
	arg, err := c.recipe.Arg()
	if err != nil {
		return err
	}
	order := spawnOrder{worker, wireChild{
		Name: c.name, Kind: c.recipe.Kind(), Arg: arg, Restart: int(c.restart), Shutdown: c.shutdown, Ready: c.ready,
	}}
	_, err = adminSpawn.Call(ctx, adminKind.Ref(s, adminName), order)
	return err
}

// Stop stops an actor for good, wherever it lives: after the message in hand its mailbox is closed, queued calls get
// ErrStopped, queued one-way messages go to the dead letters, and the name is free.
func Stop(ctx context.Context, s *actor.System, name string) error {
	if r, ok := rootOf(s); ok {
		return r.stop(ctx, name)
	}
	_, err := adminStop.Call(ctx, adminKind.Ref(s, adminName), name)
	return err
}

// WaitFor returns when an actor has the name, at once if one has it already.
func WaitFor(ctx context.Context, s *actor.System, name string) error {
	if err := shm.CheckName(name); err != nil {
		return err
	}
	_, err := adminAwait.Call(ctx, adminKind.Ref(s, adminName), name)
	return err
}

// DeadLetters takes up to most dead letters, oldest first; at most MaxDeadLetters.
func DeadLetters(ctx context.Context, s *actor.System, most int) ([]DeadLetter, error) {
	if r, ok := rootOf(s); ok {
		return r.letters.read(ctx, min(most, MaxDeadLetters))
	}
	return adminLetters.Call(ctx, adminKind.Ref(s, adminName), most)
}

// DeadLetterCounts tells how many messages became dead letters since the start, by reason; those of reason "dropped" were in the dead-letter
// mailbox and had to make room.
func DeadLetterCounts(s *actor.System) map[string]uint64 {
	counts := map[string]uint64{}
	for i, n := range s.Hub().Segment().DeadLetterCounts() {
		if n > 0 {
			counts[shm.Reason(i).String()] = n
		}
	}
	return counts
}

func rootOf(s *actor.System) (*root, bool) {
	if r, ok := roots.Load(s); ok {
		return r.(*root), true
	}
	return nil, false
}

// later answers a call from a goroutine of its own, so that what takes time does not hold up the admin.
func later[R any](ctx context.Context, s *actor.System, work func(ctx context.Context) (R, error)) (none R, err error) {
	d, err := actor.Defer[R](ctx)
	if err != nil {
		return none, err
	}
	until, ok := ctx.Deadline()
	go func() {
		ctx := context.Background()
		if ok {
			timed, cancel := context.WithDeadline(ctx, until)
			defer cancel()
			ctx = timed
		}
		r, err := work(ctx)
		_ = d.Reply(s, r, err) // who gave up needs no answer
	}()
	return none, nil
}

func (a *admin) spawn(ctx context.Context, o spawnOrder) (struct{}, error) {
	recipe, err := actor.RecipeOf(o.Child.Kind, o.Child.Arg)
	if err != nil {
		return struct{}{}, err
	}
	c := Child{
		name: o.Child.Name, recipe: recipe, restart: Restart(o.Child.Restart), shutdown: o.Child.Shutdown, ready: o.Child.Ready,
	}
	check := specCheck{ids: map[string]bool{}, inWorker: o.Worker != ""}
	check.child("system "+a.root.spec.Name, &c)
	if err := errors.Join(check.wrong...); err != nil {
		return struct{}{}, err
	}
	return later(ctx, a.root.sys, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, a.root.spawn(ctx, o.Worker, c)
	})
}

func (a *admin) stop(ctx context.Context, name string) (struct{}, error) {
	return later(ctx, a.root.sys, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, a.root.stop(ctx, name)
	})
}

func (a *admin) await(ctx context.Context, name string) (struct{}, error) {
	r := a.root
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.boxes[name] != nil {
		return struct{}{}, nil
	}
	d, err := actor.Defer[struct{}](ctx)
	if err == nil {
		r.awaited[name] = append(r.awaited[name], d)
	}
	return struct{}{}, err
}

func (a *admin) letters(ctx context.Context, most int) ([]DeadLetter, error) {
	return later(ctx, a.root.sys, func(ctx context.Context) ([]DeadLetter, error) {
		return a.root.letters.read(ctx, min(most, MaxDeadLetters))
	})
}

// retired closes the mailbox of a worker's actor that has ended for good.
func (a *admin) retired(_ context.Context, gone retiredActor) (struct{}, error) {
	r := a.root
	r.mu.Lock()
	box := r.boxes[gone.Name]
	r.mu.Unlock()
	if box == nil || box.Index() != gone.Mailbox || box.Incarnation() != gone.Incarnation {
		return struct{}{}, nil
	}
	for _, w := range r.allWorkers() {
		w.forget(gone.Name)
	}
	r.closeBox(gone.Name)
	return struct{}{}, nil
}

func (r *root) allWorkers() []*worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*worker
	for _, w := range r.workers {
		list = append(list, w)
	}
	return list
}

func (r *root) spawn(ctx context.Context, in string, c Child) error {
	if in == "" {
		m, err := r.member(c)
		if err != nil {
			return err
		}
		return r.tree.add(m) // when it does not start, it is forgotten, and its mailbox closed
	}
	r.mu.Lock()
	w := r.workers[in]
	r.mu.Unlock()
	if w == nil {
		return fmt.Errorf("supervisor: no worker has the name %q: %w", in, actor.ErrNotFound)
	}
	if _, err := r.openBox(c.name, c.recipe); err != nil {
		return err
	}
	err := w.spawn(ctx, c)
	if err != nil {
		r.closeBox(c.name)
	}
	return err
}

func (r *root) stop(ctx context.Context, name string) error {
	if r.tree.has(name) {
		r.mu.Lock()
		isWorker := r.workers[name] != nil
		r.mu.Unlock()
		if isWorker {
			return fmt.Errorf("supervisor: %q is a worker, not an actor", name)
		}
		return r.tree.remove(name)
	}
	for _, w := range r.allWorkers() {
		if !w.has(name) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, DefaultShutdown+time.Second)
		defer cancel()
		_, err := agentEnd.Call(ctx, w.ref(), name)
		if err == nil {
			w.forget(name)
			r.closeBox(name)
		}
		return err
	}
	return fmt.Errorf("supervisor: no child has the name %q: %w", name, actor.ErrNotFound)
}
