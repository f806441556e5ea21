package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// What can be asked of a running system, from any of its processes: the admin is an actor in the process that started it.

const (
	adminName     = systemPrefix + "system"
	adminCapacity = 256
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
	Process     uint32 // the life of the worker in which it ended
}

var (
	adminKind = actor.NewKindWith(adminName, func(r *root) (*admin, error) { return &admin{r}, nil }, actor.Capacity(adminCapacity),
		actor.ForControl())
	adminSpawn   = actor.NewMethod(adminKind.Kind, "spawn", (*admin).spawn)
	adminStop    = actor.NewMethod(adminKind.Kind, "stop", (*admin).stop)
	adminAwait   = actor.NewMethod(adminKind.Kind, "await", (*admin).await)
	adminLetters = actor.NewMethod(adminKind.Kind, "letters", (*admin).letters)
	adminRetired = actor.NewMethod(adminKind.Kind, "retired", (*admin).retired)
)

// startAdmin starts the admin, under a supervisor of its own that never gives up.
func (r *root) startAdmin() error {
	c := Child{name: adminName, recipe: adminKind.With(r)}.withDefaults()
	box, err := r.openBox(adminName, c.recipe)
	if err != nil {
		return err
	}
	run := &localActor{sys: r.sys, spec: c, box: box, onRetire: func(string, *mailbox.Mailbox) {}}
	r.admin = newLoop(r.spec.Name+"/"+adminName, Limits{Restarts: -1}, false, []*member{{spec: c, run: run}}, r.logger)
	return r.admin.begin()
}

// Spawn starts an actor at run time, supervised like those of the spec, and returns when it is ready. When it does not
// start, or not before the end of ctx, it is forgotten. It works in every process of the system.
func Spawn(ctx context.Context, s *actor.System, c Child) error { return SpawnIn(ctx, s, "", c) }

// SpawnIn is Spawn in a worker that the spec names. When the worker is being restarted, its next life starts the actor.
func SpawnIn(ctx context.Context, s *actor.System, worker string, c Child) error {
	if err := checkSpawn(s, worker, c); err != nil {
		return err
	}
	if r, ok := rootOf(s); ok {
		_, err := r.spawn(ctx, worker, c)
		return err
	}
	arg, err := c.recipe.Arg()
	if err != nil {
		return fmt.Errorf("supervisor: actor %q: %w", c.name, err)
	}
	order := spawnOrder{worker, wireChild{
		Name: c.name, Kind: c.recipe.Kind(), Arg: arg, Restart: int(c.restart), Shutdown: c.shutdown, Ready: c.ready,
	}}
	_, err = adminSpawn.Call(ctx, adminKind.Ref(s, adminName), order)
	return err
}

// checkSpawn says all that is wrong with a child that is to be spawned.
func checkSpawn(s *actor.System, worker string, c Child) error {
	check := specCheck{ids: map[string]bool{}, inWorker: worker != ""}
	if c.kind != actorChild {
		check.add("child %q: only actors are spawned at run time", c.name)
	} else {
		check.child("the actor to spawn", "system "+s.Name(), &c)
	}
	return errors.Join(check.wrong...)
}

// Stop stops an actor for good, wherever it lives: after the message in hand its mailbox is closed, queued calls get
// ErrStopped, queued one-way messages go to the dead letters, and the name is free. When ctx ends before, the actor is
// stopped all the same.
func Stop(ctx context.Context, s *actor.System, name string) error {
	if self, ok := actor.SelfOf(ctx); ok && self.System() == s && self.Name() == name {
		return fmt.Errorf("supervisor: a handler of actor %q cannot wait for the end of its own actor: %w", name, actor.ErrCycle)
	}
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
		return r.letters.read(ctx, min(most, MaxDeadLetters), math.MaxInt)
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

// later answers a call from a goroutine of its own, so that what takes time does not hold up the actor.
func later[R any](ctx context.Context, s *actor.System, work func(ctx context.Context) (R, error)) (none R, err error) {
	return laterOr(ctx, s, work, func() {})
}

// laterOr is later of work that is undone when it succeeds and nobody waits for it any more.
func laterOr[R any](ctx context.Context, s *actor.System, work func(ctx context.Context) (R, error), undo func()) (none R, err error) {
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
		if gone := d.Reply(s, r, err); gone != nil && err == nil {
			undo()
		}
	}()
	return none, nil
}

func (a *admin) spawn(ctx context.Context, o spawnOrder) (struct{}, error) {
	recipe, err := actor.RecipeOf(o.Child.Kind, o.Child.Arg)
	if err != nil {
		return struct{}{}, fmt.Errorf("supervisor: actor %q: %w", o.Child.Name, err)
	}
	c := Child{
		name: o.Child.Name, recipe: recipe, restart: Restart(o.Child.Restart), shutdown: o.Child.Shutdown, ready: o.Child.Ready,
	}
	if err := checkSpawn(a.root.sys, o.Worker, c); err != nil {
		return struct{}{}, err
	}
	undo := func() error { return nil }
	return laterOr(ctx, a.root.sys, func(ctx context.Context) (_ struct{}, err error) {
		undo, err = a.root.spawn(ctx, o.Worker, c)
		return struct{}{}, err
	}, func() { _ = undo() })
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
	switch {
	case r.ending:
		return struct{}{}, actor.ErrSystemEnded
	case r.boxes[name] != nil:
		return struct{}{}, nil
	}
	d, err := actor.Defer[struct{}](ctx)
	if err == nil {
		r.awaited.add(name, d)
		r.awaited.prune(r)
	}
	return struct{}{}, err
}

func (a *admin) letters(ctx context.Context, most int) ([]DeadLetter, error) {
	return later(ctx, a.root.sys, func(ctx context.Context) ([]DeadLetter, error) {
		return a.root.letters.read(ctx, min(most, MaxDeadLetters), a.root.seg.MaxMessage()/2)
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
		if !w.retired(box, gone.Process) {
			return struct{}{}, nil
		}
	}
	r.closeBox(gone.Name, box)
	return struct{}{}, nil
}

func (r *root) allWorkers() []*worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.workers))
}

// inTime runs work, which cannot be cut short, and returns its outcome or the end of ctx. When ctx was first and work
// succeeds after all, it is undone.
func inTime(ctx context.Context, work func() (undo func() error, err error)) (undo func() error, err error) {
	if ctx.Done() == nil {
		return work()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	type outcome struct {
		undo func() error
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		undo, err := work()
		done <- outcome{undo, err}
	}()
	select {
	case o := <-done:
		return o.undo, o.err
	case <-ctx.Done():
	}
	go func() {
		if late := <-done; late.err == nil {
			_ = late.undo()
		}
	}()
	return nil, context.Cause(ctx)
}

func (r *root) spawn(ctx context.Context, in string, c Child) (undo func() error, err error) {
	undo, err = inTime(ctx, func() (func() error, error) {
		if in == "" {
			return r.spawnHere(c)
		}
		return r.spawnThere(in, c)
	})
	if err != nil {
		return nil, r.ended(fmt.Errorf("supervisor: actor %q: %w", c.name, err))
	}
	return undo, nil
}

func (r *root) spawnHere(c Child) (undo func() error, err error) {
	m, err := r.member(c)
	if err != nil {
		return nil, err
	}
	if err := r.tree.add(m); err != nil {
		m.run.retire()
		return nil, err
	}
	return func() error { return r.tree.leave(m) }, nil
}

func (r *root) spawnThere(in string, c Child) (undo func() error, err error) {
	r.mu.Lock()
	w := r.workers[in]
	r.mu.Unlock()
	if w == nil {
		return nil, fmt.Errorf("no worker has the name %q: %w", in, actor.ErrNotFound)
	}
	box, err := r.openBox(c.name, c.recipe)
	if err != nil {
		return nil, err
	}
	// Without a deadline: the mailbox is closed only when the worker says that nobody receives from it.
	a := placed{c, box}
	if err := w.place(context.Background(), a); err != nil {
		r.closeBox(c.name, box)
		return nil, err
	}
	return func() error { return r.stopPlaced(w, a) }, nil
}

// ended adds to an error of a system that ends, that it does.
func (r *root) ended(err error) error {
	if r.tree.stopping.Load() && !errors.Is(err, actor.ErrSystemEnded) {
		return fmt.Errorf("%w: %w", actor.ErrSystemEnded, err)
	}
	return err
}

func (r *root) stop(ctx context.Context, name string) error {
	_, err := inTime(ctx, func() (func() error, error) { return func() error { return nil }, r.stopNow(name) })
	if err != nil {
		return r.ended(fmt.Errorf("supervisor: actor %q: %w", name, err))
	}
	return nil
}

func (r *root) stopNow(name string) error {
	r.mu.Lock()
	isWorker, isGroup := r.workers[name] != nil, r.groups[name] != nil
	r.mu.Unlock()
	if isWorker || isGroup {
		return errors.New("it is not an actor, but a worker or a group")
	}
	if s := r.tree.holder(name); s != nil {
		return s.remove(name)
	}
	for _, w := range r.allWorkers() {
		if a, ok := w.find(name); ok {
			return r.stopPlaced(w, a)
		}
	}
	return fmt.Errorf("no child has the name: %w", actor.ErrNotFound)
}

// stopPlaced stops an actor in a worker for good. It has no deadline, for the reason that spawnThere has none.
func (r *root) stopPlaced(w *worker, a placed) error {
	err := w.end(context.Background(), a)
	if err == nil {
		r.closeBox(a.spec.name, a.box)
	}
	return err
}

// waiting has the calls of who waits for a name. Those who gave up are only found by looking.
type waiting struct {
	calls map[string][]actor.Deferred[struct{}]
	count int
	limit int // of count, before the next look
}

const waitingMin = 64

func (w *waiting) add(name string, d actor.Deferred[struct{}]) {
	w.calls[name] = append(w.calls[name], d)
	w.count++
}

func (w *waiting) take(name string) []actor.Deferred[struct{}] {
	list := w.calls[name]
	delete(w.calls, name)
	w.count -= len(list)
	return list
}

func (w *waiting) takeAll() (list []actor.Deferred[struct{}]) {
	for name := range w.calls {
		list = append(list, w.take(name)...)
	}
	return list
}

// prune drops the calls whose callers gave up, when there are twice as many calls as after the last time.
func (w *waiting) prune(r *root) {
	if w.count < max(w.limit, waitingMin) {
		return
	}
	for name := range w.calls {
		for _, d := range w.take(name) {
			if d.Waits(r.sys) {
				w.add(name, d)
			} else {
				_ = d.Reply(r.sys, struct{}{}, nil) // reaches nobody, and lets go of what is kept for it
			}
		}
	}
	w.limit = 2 * w.count
}
