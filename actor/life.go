package actor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// Life is one life of an actor in this process, from the making of its value to its end: package supervisor starts lives
// and decides what follows their end.
type Life struct {
	sys        *System
	name       string
	class      *class
	box        *mailbox.Mailbox
	generation uint32

	value  any
	rx     *mailbox.Receiver
	ctx    context.Context
	cancel context.CancelFunc
	leave  atomic.Bool   // the actor asked to end
	calls  atomic.Uint32 // that its handlers made

	// The run token. The life's goroutine has it in receiving, where only this package's code runs. While the user's code runs, who
	// fences the life may take it away, and from then on the goroutine touches neither the mailbox nor the message that it had,
	// except to return it.
	//
	//	starting --> receiving <--> handling        by the goroutine
	//	             receiving  --> closing
	//	starting, handling, closing --> fenced      by the fence, or by the goroutine when it ends
	token   atomic.Int32
	current *handling // what the user's code is doing: Init, then each message

	mu       sync.Mutex // held while the token is taken away, and while a call is deferred
	deferred map[mailbox.Token]struct{}
	purge    int // from this many deferred calls on it pays to look which of them are over

	ready chan error // the outcome of the start, once
	done  chan struct{}
	end   End
}

const (
	tokenStarting int32 = iota
	tokenReceiving
	tokenHandling
	tokenClosing
	tokenFenced
)

// End is how a life ended.
type End struct {
	Reason EndReason
	// Err is what the caller of a crashed handler was told, or what Init or Close returned.
	Err error
	// Stack is the goroutine's, after a panic.
	Stack string
}

// EndReason says what kind of end it was.
type EndReason int

// The kinds of end.
const (
	EndNormal   EndReason = iota // the actor asked for it
	EndShutdown                  // it was stopped
	EndCrash                     // it panicked, or its goroutine ended
	EndFenced                    // it did not stop in time: its goroutine still runs, and nobody listens to it
	EndFailed                    // it never started
)

// String names the kind of end.
func (r EndReason) String() string {
	if r < EndNormal || r > EndFailed {
		return fmt.Sprintf("end %d", int(r))
	}
	return [...]string{"normal", "shutdown", "crash", "fenced", "failed to start"}[r]
}

// errGoexit is what a crash by runtime.Goexit is reported as.
var errGoexit = errors.New("its goroutine ended: runtime.Goexit was called")

// goexit is the end of a life whose goroutine ends without a panic: what stands unless the user's code returns.
var goexit = End{Reason: EndCrash, Err: errGoexit}

// crashed is the end of a life by a panic; it is called by what recovered it.
func crashed(p any) End {
	return End{EndCrash, fmt.Errorf("panic: %v", p), string(debug.Stack())}
}

// Start begins a life of an actor in this process: it makes the value, runs Init, and receives. It returns when Init has returned, or ctx
// has ended. box is the actor's mailbox, whose consumer's right goes to the new life: the one before has ended.
func (s *System) Start(ctx context.Context, name string, box *mailbox.Mailbox, r Recipe) (*Life, error) {
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("actor %q: %w", name, err)
	}
	l := &Life{
		sys: s, name: name, class: r.class, box: box, generation: box.NextLife(),
		ready: make(chan error, 1), done: make(chan struct{}), deferred: map[mailbox.Token]struct{}{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.current = &handling{Context: l.ctx, life: l}
	go l.run(r.arg)
	select {
	case err := <-l.ready:
		if err != nil {
			<-l.done
			return nil, fmt.Errorf("actor %q of kind %q: %w", name, r.class.name, err)
		}
		return l, nil
	case <-ctx.Done():
		l.fence(EndFailed)
		<-l.done
		return nil, fmt.Errorf("actor %q of kind %q did not finish Init: %w", name, r.class.name, ended(ctx, context.Cause(ctx)))
	}
}

// Name is the actor's name.
func (l *Life) Name() string { return l.name }

// Box is the actor's mailbox.
func (l *Life) Box() *mailbox.Mailbox { return l.box }

// Generation counts the lives of the actor, from 1.
func (l *Life) Generation() uint32 { return l.generation }

// Done is closed when the life has ended.
func (l *Life) Done() <-chan struct{} { return l.done }

// End is how the life ended; it may be read after Done.
func (l *Life) End() End { return l.end }

// run is the life's goroutine.
func (l *Life) run(arg any) {
	end, started := goexit, false
	defer func() {
		if p := recover(); p != nil {
			end = crashed(p)
		}
		if !started {
			end.Reason = EndFailed
			l.ready <- end.Err
		}
		l.finish(end)
	}()
	if err := l.begin(arg); err != nil {
		end = End{Reason: EndFailed, Err: err}
		return
	}
	if !l.token.CompareAndSwap(tokenStarting, tokenReceiving) {
		return // too late: the start was given up
	}
	started = true
	l.rx = l.box.Receiver()
	l.rx.Redeliver(l.class.attempts)
	l.ready <- nil
	last := l.receive()
	if last.Reason != EndCrash && l.token.CompareAndSwap(tokenReceiving, tokenClosing) {
		if c, ok := l.value.(interface{ Close() error }); ok {
			last.Err = c.Close()
		}
	}
	end = last
}

// begin makes the value and runs Init.
func (l *Life) begin(arg any) (err error) {
	if l.value, err = l.class.fresh(arg); err != nil {
		return err
	}
	if l.value == nil {
		return errors.New("the kind's function made no value")
	}
	if i, ok := l.value.(interface {
		Init(ctx context.Context) error
	}); ok {
		err = i.Init(l.current)
	}
	l.current.endWaits()
	return err
}

// finish ends the life unless it was fenced: then its end has been told already.
func (l *Life) finish(end End) {
	if l.token.Swap(tokenFenced) != tokenFenced {
		l.close(end)
	}
}

// close tells the end of the life. It is called once, by who took the run token away.
func (l *Life) close(end End) {
	l.cancel()
	if l.rx != nil {
		l.rx.Close()
	}
	why := shm.Stopped
	if end.Reason == EndCrash {
		why = shm.Crashed
	}
	l.failDeferred(why, end.Err)
	l.end = end
	close(l.done)
}

// receive handles messages until the actor is to end.
func (l *Life) receive() End {
	draining := false
	for !l.leave.Load() {
		msg, ok, over := l.next(&draining)
		if over {
			return End{Reason: EndShutdown}
		}
		if !ok {
			continue
		}
		if end, over := l.handle(&msg); over {
			return end
		}
	}
	return End{Reason: EndNormal}
}

// next takes the next message; without one, over says whether the actor is to end.
func (l *Life) next(draining *bool) (msg mailbox.Message, ok, over bool) {
	if *draining {
		if l.ctx.Err() != nil || l.rx.Bits()&mailbox.ControlStop != 0 {
			return msg, false, true
		}
		msg, ok = l.rx.TryReceive()
		return msg, ok, !ok
	}
	msg, bits, err := l.rx.Receive(l.ctx)
	if err != nil || bits&mailbox.ControlStop != 0 {
		return msg, false, true
	}
	*draining = bits&mailbox.ControlDrain != 0
	return msg, bits == 0, false
}

// handle handles a message, and reports whether the life is over.
func (l *Life) handle(msg *mailbox.Message) (end End, over bool) {
	if d := msg.Header.Deadline; d != 0 && sys.Now() > d {
		l.rx.Counted(mailbox.DeadlinePassed)
		refuse(msg, shm.Expired, "")
		return end, false
	}
	h := (*l.class.methods.Load())[msg.Header.Method]
	if h == nil {
		refuse(msg, shm.NoMethod, fmt.Sprintf("kind %q has no method %x with these types", l.class.name, msg.Header.Method))
		return end, false
	}
	if !l.rx.Begin(msg) {
		refuse(msg, shm.Exhausted, fmt.Sprintf("it was begun %d times, and each time its actor crashed or its process died", msg.Header.Attempts))
		return end, false
	}
	on := &handling{Context: l.ctx, life: l, message: *msg, call: msg.IsCall()}
	l.current = on
	l.rx.Busy(true)
	l.token.Store(tokenHandling)
	outcome, crash := mailbox.HandlerCrashed, goexit
	defer func() { end, over = l.handled(on, outcome, crash) }() // also when the handler ends this goroutine
	outcome, crash = l.invoke(h, on)
	return end, over
}

// handled takes the run token back after a message, unless the life was fenced meanwhile.
func (l *Life) handled(on *handling, outcome mailbox.Outcome, crash End) (end End, over bool) {
	if !l.token.CompareAndSwap(tokenHandling, tokenReceiving) {
		l.mu.Lock() // whoever took the token is done with the message
		lent := on.lent
		l.mu.Unlock()
		if lent {
			on.message.Return()
		}
		return End{Reason: EndFenced}, true
	}
	l.rx.Busy(false)
	l.rx.Counted(outcome)
	if outcome == mailbox.HandlerCrashed {
		return crash, true
	}
	return end, false
}

// refuse ends a message that is not handled.
func refuse(msg *mailbox.Message, why shm.Reason, text string) {
	if msg.IsCall() {
		_ = msg.Fail(why, text)
		return
	}
	v, _, _ := msg.Value()
	msg.Bury(why, v)
}

// invoke runs the handler. A panic is a crash of the actor; so is runtime.Goexit, which unwinds this goroutine through
// here: what is deferred settles the message in both cases.
func (l *Life) invoke(h *handler, on *handling) (outcome mailbox.Outcome, crash End) {
	if d := on.message.Header.Deadline; d != 0 {
		timed, cancel := context.WithDeadline(l.ctx, sys.Time(d))
		defer cancel()
		on.Context = timed
	}
	came := false
	defer func() {
		if came {
			return
		}
		on.endWaits()
		outcome, crash = mailbox.HandlerCrashed, goexit
		if p := recover(); p != nil {
			crash = crashed(p)
		}
		if on.settle() && !on.message.PutBack() {
			refuse(&on.message, shm.Crashed, errorText(crash.Err))
		}
	}()
	outcome = h.handle(l, on)
	came = true
	return outcome, crash
}

// Stop asks the life to end after the message in hand, or, with drain, after what is queued, and waits for it. After
// timeout its context is cancelled; if that does not help within grace, the life is fenced: its goroutine is given up, its late
// writes reach nobody. It returns how the life ended.
func (l *Life) Stop(drain bool, timeout, grace time.Duration) End {
	bits := mailbox.ControlStop
	if drain {
		bits = mailbox.ControlDrain
	}
	_ = l.order(bits)
	if l.await(timeout) {
		return l.end
	}
	_ = l.order(mailbox.ControlStop)
	l.cancel()
	if !l.await(grace) {
		l.fence(EndFenced)
	}
	return l.end
}

// order gives an order to this life, and to no later one.
func (l *Life) order(bits uint64) error { return l.box.ControlLife(l.generation, bits) }

func (l *Life) await(d time.Duration) bool {
	if d < 0 {
		<-l.done
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-l.done:
		return true
	case <-t.C:
		return false
	}
}

// fence takes the run token away from a goroutine that does not give it back.
func (l *Life) fence(reason EndReason) {
	l.cancel()
	for {
		switch t := l.token.Load(); {
		case t == tokenFenced:
			<-l.done
			return
		case t == tokenReceiving:
			// It is in this package's code, and sees the order to stop before it takes another message.
			_ = l.order(mailbox.ControlStop)
			if l.await(time.Millisecond) {
				return
			}
		case l.take(t):
			l.close(End{Reason: reason, Err: errors.New("it did not stop in time; its goroutine still runs")})
			return
		}
	}
}

// take takes the run token, and with it the message in hand: a caller is told at once, and of a one-way message a copy
// becomes a dead letter. The frame stays with the goroutine, which may still read it, until that comes back.
func (l *Life) take(t int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.token.CompareAndSwap(t, tokenFenced) {
		return false
	}
	if t == tokenClosing {
		return true
	}
	on := l.current
	on.endWaits()
	if t == tokenHandling && on.settle() {
		on.lent = true
		if on.call {
			on.message.Lend(shm.Stopped)
		} else {
			on.message.BuryCopy(shm.Stopped)
		}
	}
	return true
}

// postpone defers the call that is being handled: from now on the life answers for it, until somebody has.
func (l *Life) postpone(on *handling) (t mailbox.Token, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deferred == nil { // it has ended: nobody would answer for it
		_ = on.message.Fail(shm.Stopped, "")
		return t, fmt.Errorf("actor: the actor has ended: %w", ErrStopped)
	}
	t = on.message.Token()
	if err := on.message.Defer(); err != nil {
		return t, fmt.Errorf("actor: the caller has given up: %w", err)
	}
	if len(l.deferred) >= l.purge {
		l.purgeDeferred()
	}
	l.deferred[t] = struct{}{}
	l.sys.pending.Store(t, &deferredCall{l, on.shape, on.reply})
	return t, nil
}

// purgeDeferred forgets the deferred calls whose callers have given up, or that another process has answered: nobody tells. The life's mu
// is held.
func (l *Life) purgeDeferred() {
	const often = 64
	for t := range l.deferred {
		if !l.sys.hub.Due(t) {
			delete(l.deferred, t)
			l.sys.pending.Delete(t)
		}
	}
	l.purge = max(often, 2*len(l.deferred))
}

// failDeferred ends the calls that this life deferred and nobody has answered.
func (l *Life) failDeferred(why shm.Reason, err error) {
	l.mu.Lock()
	tokens := l.deferred
	l.deferred = nil
	l.mu.Unlock()
	text := "it ended before the deferred call was answered"
	if err != nil {
		text += ": " + errorText(err)
	}
	for t := range tokens {
		l.sys.pending.Delete(t)
		if m, err := l.sys.hub.Claim(t); err == nil {
			_ = m.Fail(why, text)
		}
	}
}
