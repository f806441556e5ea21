//go:build shmactor_points

package mailbox

import (
	"github.com/shmactor/shmactor/shm"
)

// crossings bring an actor to points that it comes to only when another crosses its way: the other is a second hub of its
// process, and does what it does while the actor is in front of one access.
func crossings() []*crashScenario {
	return []*crashScenario{
		{
			name: "the tail lags", produces: true,
			act: func(a *actor) {
				other := a.second()
				a.between("mailbox.Mailbox.push", "load", func() { a.send("m1", 0) }, func() { a.sendAs(other, "m2") })
			},
			during: serves,
		},
		{
			name: "a span is carved anew while a frame is taken", produces: true, hoards: true,
			act: func(a *actor) {
				other := a.second()
				a.drafts(7, class)
				a.discard(a.drafts(1, 10))
				a.hub.pool.Flush()
				a.between("shm.Pool.scan:2", "Load", func() { _, _ = a.hub.Draft(10) }, func() { _, _ = other.Draft(30_000) })
			},
			during: serves,
		},
		{
			name: "a span becomes part of a message while it is carved", produces: true, hoards: true,
			act: func(a *actor) {
				other := a.second()
				lower := a.lastSpansFree() // 5, 6 and 7 are free, lower are 3 and 4
				a.between("shm.Segment.carve", "CompareAndSwap", func() { _, _ = a.hub.Draft(10) }, func() {
					_, _ = other.Draft(run2)
					a.discard(lower)
					_, _ = other.Draft(run2)
				})
			},
			during: serves,
		},
		{
			name: "a span becomes part of a message while another is built", produces: true, hoards: true,
			act: func(a *actor) {
				other := a.second()
				a.lastSpansFree()
				a.between("shm.Segment.buildRun", "CompareAndSwap", func() { _, _ = a.hub.Draft(run2) }, func() {
					_, _ = other.Draft(run2)
				})
			},
			during: serves,
		},
		{
			name: "a span is carved while a message is built", produces: true, hoards: true,
			act: func(a *actor) {
				other := a.second()
				a.lastSpansFree()
				a.between("shm.Segment.takeParts", "CompareAndSwap", func() { _, _ = a.hub.Draft(run2) }, func() {
					_, _ = other.Draft(10)
					_, _ = other.Draft(30_000)
				})
			},
			during: serves,
		},
		{
			name: "a frame that hangs on nothing is used", produces: true, hoards: true,
			act: func(a *actor) {
				hang(a.hub.Draft, class)
				a.drafts(8, class)
			},
			during: serves,
		},
	}
}

// second is another hub of the actor's process. It has no goroutine that sleeps: nobody wakes it.
func (a *actor) second() *Hub {
	h := &Hub{seg: a.seg, self: a.hub.self, values: newValueTable(a.seg.Frames()), order: newOrder(a.seg.Frames())}
	h.pool = a.seg.NewPool(a.hub.self)
	return h
}

func (a *actor) sendAs(h *Hub, name string) {
	box, err := h.Open("box")
	a.must("open", err)
	a.sendTo(h, box, name)
}

// lastSpansFree takes all message memory but the last three of its eight spans, which were one message; it returns the
// message in the two spans before them.
func (a *actor) lastSpansFree() (lower []Draft) {
	last := a.drafts(1, 2*run2)
	lower = a.drafts(1, run2)
	a.drafts(1, run2)
	a.drafts(1, class)
	a.discard(last)
	return lower
}

// hang leaves a frame attached to a message that is gone: no step of the protocol does, since who frees a frame frees its
// body first, and yet such a frame counts as free.
func hang(draft func(int) (Draft, error), size int) {
	head, err := draft(size)
	if err != nil {
		return
	}
	body, err := draft(size)
	if err != nil {
		return
	}
	head.Frame.Attach(body.Frame)
	head.Frame.Set(shm.MakeOwner(head.Frame.Generation()+1, 0, shm.Free))
}
