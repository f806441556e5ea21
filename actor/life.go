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
	leave  atomic.Bool // the actor asked to end

	// The run token. The life's goroutine has it in receiving, where only this package's code runs. While the user's code runs, who
	// fences the life may take it away, and from then on the goroutine touches neither the mailbox nor the message that it had,
	// except to return it.
	//
	//	starting --> receiving <--> handling        by the goroutine
	//	             receiving  --> closing
	//	starting, handling, closing --> fenced      by the fence, or by the goroutine when it ends
	token   atomic.Int32
	message mailbox.Message
	current *handling // of the message

	mu       sync.Mutex
	deferred map[mailbox.Token]struct{}

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
	return [...]string{"normal", "shutdown", "crash", "fenced", "failed to start"}[r]
}

// errGoexit is what a crash by runtime.Goexit is reported as.
var errGoexit = errors.New("the handler called runtime.Goexit")

// Start begins a life of an actor in this process: it makes the value, runs Init, and receives. It returns when Init has returned, or ctx
// has ended. box is the actor's mailbox, whose consumer's right goes to the new life: the one before has ended.
func (s *System) Start(ctx context.Context, name string, box *mailbox.Mailbox, r Recipe) (*Life, error) {
	l := &Life{
		sys: s, name: name, class: r.class, box: box, generation: box.NextLife(),
		ready: make(chan error, 1), done: make(chan struct{}), deferred: map[mailbox.Token]struct{}{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
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
		return nil, fmt.Errorf("actor %q of kind %q did not finish Init: %w", name, r.class.name, context.Cause(ctx))
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
	end := End{Reason: EndCrash, Err: errGoexit}
	started := false
	defer func() {
		if p := recover(); p != nil {
			end = End{EndCrash, fmt.Errorf("panic: %v", p), string(debug.Stack())}
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
	l.ready <- nil
	end = l.receive()
	if c, ok := l.value.(interface{ Close() error }); ok && l.token.CompareAndSwap(tokenReceiving, tokenClosing) {
		if end.Reason != EndCrash {
			end.Err = c.Close()
		}
	}
}

func (l *Life) begin(arg any) (err error) {
	if l.value, err = l.class.fresh(arg); err != nil {
		return err
	}
	if i, ok := l.value.(interface {
		Init(ctx context.Context) error
	}); ok {
		return i.Init(&handling{Context: l.ctx, life: l})
	}
	return nil
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
	for {
		if draining {
			if l.rx.Bits()&mailbox.ControlStop != 0 {
				return End{Reason: EndShutdown}
			}
			msg, ok := l.rx.TryReceive()
			if !ok {
				return End{Reason: EndShutdown}
			}
			l.message = msg
		} else {
			msg, bits, err := l.rx.Receive(l.ctx)
			switch {
			case err != nil || bits&mailbox.ControlStop != 0:
				return End{Reason: EndShutdown}
			case bits&mailbox.ControlDrain != 0:
				draining = true
				continue
			case bits != 0:
				continue
			}
			l.message = msg
		}
		if end, over := l.handle(); over {
			return end
		}
	}
}

// handle handles the message in hand, and reports whether the life is over.
func (l *Life) handle() (end End, over bool) {
	m := &l.message
	if d := m.Header.Deadline; d != 0 && sys.Now() > d {
		l.rx.Counted(mailbox.DeadlinePassed)
		l.refuse(shm.Expired, "")
		return end, false
	}
	h := (*l.class.methods.Load())[m.Header.Method]
	if h == nil {
		l.refuse(shm.NoMethod, fmt.Sprintf("actor %q of kind %q has no method %x with these types", l.name, l.class.name, m.Header.Method))
		return end, false
	}
	ctx := &handling{Context: l.ctx, life: l, message: m}
	l.current = ctx
	l.token.Store(tokenHandling)
	l.rx.Busy(true)
	outcome, crash := l.invoke(h, ctx)
	if !l.token.CompareAndSwap(tokenHandling, tokenReceiving) {
		m.Return() // fenced meanwhile: the message was settled without us
		return End{Reason: EndFenced}, true
	}
	l.rx.Busy(false)
	l.rx.Counted(outcome)
	switch {
	case crash != nil:
		return *crash, true
	case l.leave.Load():
		return End{Reason: EndNormal}, true
	}
	return end, false
}

// refuse ends a message that is not handled.
func (l *Life) refuse(why shm.Reason, text string) {
	if l.message.IsCall() {
		_ = l.message.Fail(why, text)
		return
	}
	v, _, _ := l.message.Value()
	l.message.Bury(why, v)
}

// invoke runs the handler. A panic is a crash of the actor; so is runtime.Goexit, which unwinds this goroutine through
// here: what is deferred settles the message in both cases.
func (l *Life) invoke(h *handler, ctx *handling) (outcome mailbox.Outcome, crash *End) {
	if d := l.message.Header.Deadline; d != 0 {
		timed, cancel := context.WithDeadline(l.ctx, sys.Time(d))
		defer cancel()
		ctx.Context = timed
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		crash = &End{Reason: EndCrash, Err: errGoexit}
		if p := recover(); p != nil {
			crash = &End{EndCrash, fmt.Errorf("panic: %v", p), string(debug.Stack())}
		}
		outcome = mailbox.HandlerCrashed
		if ctx.returned() {
			l.settleCrash(crash.Err)
		}
	}()
	outcome = h.handle(l, ctx)
	returned = true
	return outcome, nil
}

// settleCrash ends the message whose handler crashed.
func (l *Life) settleCrash(err error) {
	if l.message.IsCall() {
		_ = l.message.Fail(shm.Crashed, fmt.Sprintf("actor %q: %v", l.name, err))
		return
	}
	l.message.Bury(shm.Crashed, nil)
}

// Stop asks the life to end after the message in hand, or, with drain, after what is queued, and waits for it. After
// timeout its context is cancelled; if that does not help within grace, the life is fenced: its goroutine is given up, its late
// writes reach nobody. It returns how the life ended.
func (l *Life) Stop(drain bool, timeout, grace time.Duration) End {
	bits := mailbox.ControlStop
	if drain {
		bits = mailbox.ControlDrain
	}
	_ = l.box.Control(bits)
	if l.await(timeout) {
		return l.end
	}
	_ = l.box.Control(mailbox.ControlStop)
	l.cancel()
	if !l.await(grace) {
		l.fence(EndFenced)
	}
	return l.end
}

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
	end := End{Reason: reason, Err: errors.New("it did not stop in time; its goroutine still runs")}
	l.cancel()
	for {
		switch t := l.token.Load(); {
		case t == tokenFenced:
			<-l.done
			return
		case t == tokenReceiving:
			// It is in this package's code, and sees the order to stop before it takes another message.
			_ = l.box.Control(mailbox.ControlStop)
			if l.await(time.Millisecond) {
				return
			}
		case l.token.CompareAndSwap(t, tokenFenced):
			if t == tokenHandling && l.current.returned() {
				l.message.Lend(shm.Stopped)
			}
			l.close(end)
			return
		}
	}
}

// failDeferred ends the calls that this life deferred and nobody has answered.
func (l *Life) failDeferred(why shm.Reason, err error) {
	l.mu.Lock()
	tokens := l.deferred
	l.deferred = nil
	l.mu.Unlock()
	for t := range tokens {
		l.sys.pending.Delete(t)
		if m, claimErr := l.sys.hub.Claim(t); claimErr == nil {
			text := fmt.Sprintf("actor %q ended before the deferred call was answered", l.name)
			if err != nil {
				text += ": " + err.Error()
			}
			_ = m.Fail(why, text)
		}
	}
}
