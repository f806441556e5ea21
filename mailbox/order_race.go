//go:build race

package mailbox

import (
	"sync/atomic"

	"github.com/shmactor/shmactor/shm"
)

// raceOrder tells the race detector what the owner words order, which it cannot see in a mapping: what a process did before it
// handed a message or a reply on happens before what the same process does after it got it. In programs without the
// detector there is nothing to tell.
type raceOrder struct{ edges []atomic.Uint32 }

func newOrder(frames uint32) raceOrder { return raceOrder{make([]atomic.Uint32, frames)} }

// leaves is called before a frame is handed on.
func (o *raceOrder) leaves(f shm.Frame) { o.edge(f) }

// came is called when a frame was got.
func (o *raceOrder) came(f shm.Frame) { o.edge(f) }

func (o *raceOrder) edge(f shm.Frame) {
	if i := f.Index(); int64(i) < int64(len(o.edges)) {
		o.edges[i].Add(1)
	}
}
