//go:build shmactor_points

package mailbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/shmactor/shmactor/internal/points"
	"github.com/shmactor/shmactor/internal/word"
	"github.com/shmactor/shmactor/shm"
)

func init() { roles["actor"] = playActor }

// actor is the process that is killed. What it says about messages is true however it ends: it says that it received one
// right after it did, and that it sent one when that is certain.
type actor struct {
	scenario   *crashScenario
	tracer     *points.Tracer
	in         *bufio.Reader
	path       string
	list       *points.List
	calls      int
	ghostAt    string // where a ghost dies
	ghostTimes int
	onTheWay   *detour // taken by the goroutine that plays

	seg      *shm.Segment
	hub      *Hub
	box      *Mailbox
	receiver *Receiver
	ctx      context.Context
}

func (a *actor) say(format string, args ...any) {
	_, _ = os.Stdout.WriteString(fmt.Sprintf(format+"\n", args...))
}

func (a *actor) must(what string, err error) {
	if err != nil {
		a.say("wrong %s: %v", what, err)
		os.Exit(0)
	}
}

// line waits for a line of the survivor.
func (a *actor) line() string {
	s, err := a.in.ReadString('\n')
	a.must("a line", err)
	return strings.TrimSuffix(s, "\n")
}

// playActor plays one scenario in a process of its own.
func playActor() {
	name, at, list, entry := os.Args[1], os.Args[2], os.Args[5], os.Args[6]
	a := &actor{in: bufio.NewReader(os.Stdin), path: os.Args[7], ctx: context.Background()}
	times, _ := strconv.Atoi(os.Args[3])
	a.ghostAt = os.Args[8]
	a.ghostTimes, _ = strconv.Atoi(os.Args[9])
	signal := syscall.SIGKILL
	if os.Args[4] == "true" {
		signal = syscall.SIGSTOP
	}
	i := slices.IndexFunc(crashScenarios(), func(s *crashScenario) bool { return s.name == name })
	a.scenario = crashScenarios()[i]
	f, err := os.Open(list)
	a.must("the list of points", err)
	l, err := points.Read(f)
	a.must("the list of points", errors.Join(err, f.Close()))
	a.list = l
	a.tracer = points.NewTracer(l, func(p *points.Point, n int) {
		a.detour(p)
		if p.Name == at && n == times {
			a.say("at %s", p.Name)
			_ = syscall.Kill(os.Getpid(), signal)
			if signal == syscall.SIGKILL {
				select {} // it is on its way
			}
		}
	})
	word.Trace(a.tracer)
	switch {
	case !a.scenario.owner:
		a.enter(entry)
		a.scenario.act(a)
	case at == prepare:
		a.scenario.prepare(a)
		a.end()
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	default:
		a.tracer.Turn(true)
		a.scenario.act(a)
	}
	a.end()
}

// detour is what others do while the actor is on its way to one access.
type detour struct {
	fn, op string
	f      func()
}

// between does f, and has others do what meanwhile does when f is about to do op in function fn for the first time.
func (a *actor) between(fn, op string, f, meanwhile func()) {
	a.onTheWay = &detour{fn, op, meanwhile}
	f()
	if a.onTheWay != nil {
		a.say("wrong %s does no %s here", fn, op)
		a.onTheWay = nil
	}
}

// does reports whether a point is an op in function fn, which may have the number of the point behind it.
func does(p *points.Point, fn, op string) bool {
	where, _, _ := strings.Cut(p.Name, " ")
	return p.Op == op && (where == fn || strings.HasPrefix(where, fn+":"))
}

func (a *actor) detour(p *points.Point) {
	d := a.onTheWay
	if d != nil && does(p, d.fn, d.op) {
		a.onTheWay = nil
		d.f()
	}
}

// prepare is the target of the run that makes what the owner finds.
const prepare = "prepare"

// enter joins the survivor's segment.
func (a *actor) enter(entry string) {
	n, _ := strconv.ParseUint(entry, 10, 32)
	a.tracer.Turn(a.scenario.entering)
	var err error
	a.seg, err = shm.AttachFile(os.NewFile(3, "segment"))
	a.must("attach", err)
	a.must("enter", a.seg.Enter(shm.ProcessID(n)))
	a.hub = joinAs(a.seg, shm.ProcessID(n).Index())
	a.box, err = a.hub.Open("box")
	a.must("open", err)
	if a.scenario.ready != nil {
		a.scenario.ready(a)
	}
	a.tracer.Turn(true)
}

// end says which points were reached.
func (a *actor) end() {
	a.tracer.Turn(false)
	for _, s := range a.tracer.Strays() {
		a.say("wrong no point for %s", s)
	}
	var b strings.Builder
	for _, i := range a.tracer.Reached() {
		b.WriteByte(' ')
		b.WriteString(strconv.Itoa(i))
	}
	a.say("end%s", b.String())
}

// send sends a message of at least size bytes.
func (a *actor) send(name string, size int) {
	a.must("send "+name, a.box.SendBytes(a.ctx, sized(name, size)))
	a.say("sent %s", name)
}

// trySend sends a message if there is room.
func (a *actor) trySend(name string, size int) {
	err := a.box.TrySendBytes(sized(name, size))
	if errors.Is(err, ErrMailboxFull) {
		return
	}
	a.must("send "+name, err)
	a.say("sent %s", name)
}

// call calls; errors that are allowed are no matter.
func (a *actor) call(ctx context.Context, name string, size int, allowed ...error) {
	a.say("called %s", name)
	b, err := a.box.CallBytes(ctx, sized(name, size))
	for _, e := range allowed {
		if errors.Is(err, e) {
			return
		}
	}
	a.must("call "+name, err)
	if nameOf(b) != name {
		a.say("wrong reply to %s", name)
	}
	a.say("replied %s", name)
}

// take receives a message that has to be there, or to come.
func (a *actor) take() (m Message, name string) {
	if a.receiver == nil {
		a.receiver = a.box.Receiver()
	}
	for {
		m, _, err := a.receiver.Receive(a.ctx)
		a.must("receive", err)
		if m.hub != nil {
			return m, a.took(&m)
		}
	}
}

func (a *actor) took(m *Message) string {
	b, err := m.Bytes()
	a.must("a payload", err)
	name := nameOf(b)
	a.say("took %s", name)
	return name
}

func (a *actor) release(m *Message, name string) {
	m.Release()
	a.say("done %s", name)
}

// reply answers with a reply of size bytes; that nobody waits for it any more is no matter.
func (a *actor) reply(m *Message, name string, size int) {
	if err := m.Reply(sized(name, size)); !errors.Is(err, ErrReplied) {
		a.must("reply to "+name, err)
	}
}

// drafts makes n drafts of a size.
func (a *actor) drafts(n, size int) (all []Draft) {
	for range n {
		d, err := a.hub.Draft(size)
		a.must("draft", err)
		all = append(all, d)
	}
	return all
}

func (a *actor) discard(all []Draft) {
	for i := range all {
		a.hub.Discard(&all[i])
	}
}
