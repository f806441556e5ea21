package mailbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
	"github.com/shmactor/shmactor/shm"
)

// acker handles the one-way messages of a mailbox: it sends what each says to the mailbox in the data, and then lets go of it.
func (a *agent) acker(o command) answer {
	r, err := a.receiver(o)
	if err != nil {
		return result(err)
	}
	defer a.retire(o)
	acks, err := a.box(string(o.Data))
	if err != nil {
		return result(err)
	}
	for {
		m, bits, err := r.Receive(context.Background())
		if err != nil || bits != 0 {
			return result(err)
		}
		b, err := m.Bytes()
		if err == nil {
			err = acks.SendBytes(context.Background(), b)
		}
		if err != nil {
			return result(err)
		}
		m.Release()
	}
}

// killStorm is what goes on while processes are killed.
type killStorm struct {
	t        *testing.T
	w        *world
	mu       sync.Mutex
	accepted int
	acked    map[string]int
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// start begins to send and to count what is acknowledged.
func (k *killStorm) start() {
	ctx, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	audited := k.w.auditing()
	k.t.Cleanup(audited)
	work := k.w.boxes["work"]
	k.done.Go(func() {
		for n := 0; ; n++ {
			err := work.SendBytes(ctx, fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", n%700)))
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					k.t.Error(err)
				}
				return
			}
			k.mu.Lock()
			k.accepted++
			k.mu.Unlock()
		}
	})
	acks := k.w.boxes["acks"].Receiver()
	ended, end := context.WithCancel(context.Background())
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for {
			m, _, err := acks.Receive(ended)
			if err != nil {
				return
			}
			b, _ := m.Bytes()
			k.count(string(b))
			m.Release()
		}
	}()
	k.t.Cleanup(func() { // before the world ends
		cancel()
		k.done.Wait()
		end()
		<-counted
		acks.Close()
	})
}

func (k *killStorm) count(text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, _, _ := strings.Cut(text, " ")
	k.acked[n]++
}

// Processes that send, call, serve and handle are killed at any moment, one after the other. Every message that was accepted is
// handled or a dead letter, none is handled twice, every caller is answered or told, and nothing is left.
func TestStormOfKills(t *testing.T) {
	w := newWorld(t, asProcess, smallOptions())
	w.withLetters(1024)
	for name, capacity := range map[string]int{"work": 16, "calls": 16, "echo": 16, "acks": 64} {
		w.create(name, capacity)
	}
	k := &killStorm{t: t, w: w, acked: map[string]int{}}
	k.start()
	kills := 30
	if testing.Short() {
		kills = 4
	}
	echo := w.me.later(command{Op: "serve", Box: "echo"})
	calling := w.me.later(command{Op: "callers", N: 4, Data: []byte("calls"), Size: 5000, Msg: 100 * kills})
	rng := rand.New(rand.NewPCG(3, 3))
	start := func() *party {
		p := w.peer()
		p.later(command{Op: "serve", Box: "calls", Wait: 200 * time.Microsecond}) // mostly with a call in its hands
		p.later(command{Op: "acker", Box: "work", Data: []byte("acks")})
		p.later(command{Op: "callers", N: 4, Data: []byte("echo"), Size: 5000, Wait: time.Hour})
		return p
	}
	letters := map[string]int{}
	takeLetters := func() {
		texts, _ := w.takeLetters()
		for _, text := range texts {
			n, _, _ := strings.Cut(text, " ")
			letters[n]++
		}
	}
	for range kills {
		p := start()
		<-time.After(time.Duration(rng.IntN(20_000)) * time.Microsecond) // the moment is what is random
		p.kill()
		w.sweep(p, text)
		takeLetters()
	}
	last := w.peer()
	serving := last.later(command{Op: "serve", Box: "calls"})
	acking := last.later(command{Op: "acker", Box: "work", Data: []byte("acks")})
	a := <-calling // it takes its time
	must(t, a.err())
	if a.Stats.Wrong > 0 || a.Stats.Late > 0 {
		t.Errorf("%+v", a.Stats)
	}
	k.stop()
	k.done.Wait()
	testkit.Eventually(t, limit, "all messages are accounted for", func() bool {
		takeLetters()
		k.mu.Lock()
		defer k.mu.Unlock()
		known := len(k.acked)
		for n := range letters {
			if k.acked[n] == 0 {
				known++
			}
		}
		return known == k.accepted
	})
	k.mu.Lock()
	for n, times := range k.acked {
		if times != 1 {
			t.Errorf("message %s was handled %d times", n, times)
		}
	}
	t.Logf("%d kills: %d messages, %d of them dead letters; calls %+v", kills, k.accepted, len(letters), a.Stats)
	k.mu.Unlock()
	for n, times := range letters {
		if times != 1 {
			t.Errorf("message %s became a dead letter %d times", n, times)
		}
	}
	if dropped := w.seg.DeadLetterCounts()[shm.DroppedLetters]; dropped > 0 {
		t.Errorf("%d dead letters were dropped", dropped)
	}
	for _, name := range []string{"work", "calls", "echo"} {
		must(t, w.boxes[name].Control(ControlStop))
	}
	for _, done := range []<-chan answer{echo, serving, acking} {
		must(t, soon(t, "it stops", done).err())
	}
}
