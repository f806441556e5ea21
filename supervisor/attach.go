package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/shmactor/shmactor/actor"
	"github.com/shmactor/shmactor/internal/sys"
	"github.com/shmactor/shmactor/mailbox"
	"github.com/shmactor/shmactor/shm"
)

// How another program of the same user joins: it connects to the program's socket, is checked by the kernel's word, and
// gets the segment and an entry of the process table. The connection is the leash: when either side dies, the other sees its
// end.

// welcome is what a program that attaches is told, with the segment's descriptor.
type welcome struct {
	Process shm.ProcessID
	Letters uint32
	Error   string // instead of all else
	Ended   bool   // with Error: there is no system here any more
}

const (
	maxWelcome = 4 << 10
	farewell   = 'q' // sent by a program that detaches: it has let go of everything
)

// door is the program's side.
type door struct {
	root   *root
	name   string // of the socket in the runtime directory
	listen *net.UnixListener
	shut   chan struct{} // closed when nobody is admitted any more
	all    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	stays  map[*stay]struct{}
}

// stay is the time that one attached program spends here.
type stay struct {
	conn   *net.UnixConn
	handle *sys.ProcessHandle
	id     shm.ProcessID
}

// doorName is the name of the socket of a segment of this process.
func doorName(seg *shm.Segment) string {
	return fmt.Sprintf("%d-%d.sock", os.Getpid(), seg.File().Fd())
}

// openDoor makes the socket. The program's entry is there before: when the program dies, who removes its entry removes the
// socket that it names.
func openDoor(r *root) (*door, error) {
	dir, err := shm.RuntimeDir()
	if err != nil {
		return nil, err
	}
	d := &door{root: r, name: doorName(r.seg), shut: make(chan struct{}), stays: map[*stay]struct{}{}}
	_ = os.Remove(filepath.Join(dir, d.name)) // of a dead program with our pid
	if d.listen, err = sys.Listen(dir, d.name); err != nil {
		return nil, err
	}
	d.all.Go(d.accept)
	return d, nil
}

func (d *door) accept() {
	for {
		c, err := d.listen.AcceptUnix()
		switch {
		case err == nil:
			d.all.Go(func() { d.serve(c) })
		case errors.Is(err, net.ErrClosed):
			return
		default: // no descriptor is left, for example: that may pass
			d.root.logger.Warn("a program could not attach", "error", err)
			timer := time.NewTimer(acceptPause)
			select {
			case <-timer.C:
			case <-d.shut:
				timer.Stop()
			}
		}
	}
}

const acceptPause = 50 * time.Millisecond

// serve is the stay of one program.
func (d *door) serve(c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	s, err := d.admit(c)
	if err != nil {
		text, _ := json.Marshal(welcome{Error: err.Error(), Ended: errors.Is(err, actor.ErrSystemEnded)})
		_, _ = c.Write(text)
		return
	}
	defer func() { _ = s.handle.Close() }()
	var last [1]byte
	n, _ := c.Read(last[:])
	text := "it detached"
	if n == 0 || last[0] != farewell {
		// The connection is gone, which is no proof of death: the process may have closed it and go on.
		_ = s.handle.Wait()
		text = "the attached program died"
	}
	d.mu.Lock()
	delete(d.stays, s)
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return // the system ends, and its segment with it
	}
	_, err = d.root.sweep(s.id, text)
	d.root.logger.Info("attached program has gone", "process", s.id, "end", text, "error", err)
}

func (d *door) admit(c *net.UnixConn) (*stay, error) {
	pid, uid, err := sys.Peer(c)
	if err != nil {
		return nil, err
	}
	if uid != os.Getuid() {
		return nil, fmt.Errorf("user %d may not attach to a system of user %d", uid, os.Getuid())
	}
	h, err := sys.OpenProcess(pid, 0)
	if err != nil {
		return nil, err
	}
	id, err := d.root.seg.Grant("pid " + strconv.Itoa(pid))
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	s := &stay{c, h, id}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.Join(actor.ErrSystemEnded, h.Close())
	}
	text, err := json.Marshal(welcome{Process: id, Letters: d.root.letters.box.Index()})
	if err == nil {
		err = sys.SendFile(c, text, d.root.seg.File())
	}
	if err != nil {
		_, sweepErr := d.root.sweep(id, "it never came")
		return nil, errors.Join(err, sweepErr, h.Close())
	}
	d.stays[s] = struct{}{}
	return s, nil
}

// close shows everybody out: an attached program sees the end of its connection, and what it may still do to the segment does
// not matter any more.
func (d *door) close() error {
	close(d.shut)
	err := d.listen.Close()
	d.mu.Lock()
	d.closed = true
	for s := range d.stays {
		_ = s.conn.Close()
		_ = s.handle.Close()
	}
	d.mu.Unlock()
	d.all.Wait()
	dir, dirErr := shm.RuntimeDir()
	return errors.Join(err, dirErr, unlessGone(os.Remove(filepath.Join(dir, d.name))))
}

// unlessGone passes over the error that says that a file is not there any more.
func unlessGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// guest is the side of the program that attaches.
type guest struct {
	conn *net.UnixConn
	seg  *shm.Segment
	hub  *mailbox.Hub
	once sync.Once
}

// Attach joins a running system of this user by its name, or by NAME@PID when several have the name, and waits for it under the
// context when there is none yet. The System can call and send to its actors, spawn and stop them; Close detaches. When the
// system ends, or its process dies, everybody who waits gets ErrSystemEnded at once.
func Attach(ctx context.Context, name string) (*actor.System, error) {
	if !sys.Supported {
		return nil, fmt.Errorf("supervisor: Attach needs Linux: %w", errors.ErrUnsupported)
	}
	if err := shm.CheckName(name); err != nil {
		return nil, fmt.Errorf("supervisor: attach: %w", err)
	}
	const firstPause, longestPause = time.Millisecond, 100 * time.Millisecond
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		s, err := attachNow(ctx, name)
		if err == nil || !errors.Is(err, actor.ErrNotFound) {
			return s, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

func attachNow(ctx context.Context, name string) (*actor.System, error) {
	p, err := findProgram(name)
	if err != nil {
		return nil, err
	}
	dir, err := shm.RuntimeDir()
	if err != nil {
		return nil, err
	}
	conn, err := sys.Dial(dir, p.Socket)
	if err != nil {
		return nil, fmt.Errorf("supervisor: system %q (pid %d) does not answer: %w: %w", name, p.PID, err, actor.ErrNotFound)
	}
	// The program may be stopped, or busy dying.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	g := &guest{conn: conn}
	s, err := g.enter()
	if !stop() && err == nil {
		_ = conn.SetReadDeadline(time.Time{})
		err = errors.Join(context.Cause(ctx), g.leave(true))
	}
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("it does not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		_, _ = conn.Write([]byte{farewell}) // what was granted is free again
		_ = conn.Close()
		return nil, fmt.Errorf("supervisor: attaching to %q (pid %d): %w", name, p.PID, err)
	}
	go g.watch()
	return s, nil
}

// findProgram finds the one running program whose system has the name.
func findProgram(name string) (found shm.Program, err error) {
	programs, err := shm.Published()
	if err != nil {
		return found, err
	}
	pids := []int{}
	for _, p := range programs {
		if p.Socket != "" && (p.Name == name || p.Name+"@"+strconv.Itoa(p.PID) == name) {
			found, pids = p, append(pids, p.PID)
		}
	}
	switch len(pids) {
	case 0:
		return found, fmt.Errorf("supervisor: no running system has the name %q: %w", name, actor.ErrNotFound)
	case 1:
		return found, nil
	}
	if slices.Max(pids) == slices.Min(pids) {
		return found, fmt.Errorf("supervisor: process %d has %d systems with the name %q: give them names of their own",
			pids[0], len(pids), found.Name)
	}
	return found, fmt.Errorf("supervisor: the processes %v all have a system %q: name one as %s@PID", pids, name, name)
}

func (g *guest) enter() (*actor.System, error) {
	text, f, err := sys.ReceiveFile(g.conn, maxWelcome)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil, fmt.Errorf("it has just ended: %w: %w", err, actor.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	var w welcome
	if err := json.Unmarshal(text, &w); err != nil {
		err = fmt.Errorf("its welcome is not readable: %w: %w", err, actor.ErrIncompatible)
		return nil, errors.Join(err, closeFile(f))
	}
	switch {
	case w.Ended:
		err = fmt.Errorf("it has just ended: %s: %w", w.Error, actor.ErrNotFound)
	case w.Error != "":
		err = fmt.Errorf("it refused: %s", w.Error)
	case f == nil:
		err = fmt.Errorf("its welcome came without a segment: %w", actor.ErrIncompatible)
	}
	if err != nil {
		return nil, errors.Join(err, closeFile(f))
	}
	if g.seg, err = shm.AttachFile(f); err != nil {
		if errors.Is(err, shm.ErrIncompatible) {
			err = fmt.Errorf("%w: %w", actor.ErrIncompatible, err)
		}
		return nil, errors.Join(err, closeFile(f))
	}
	if err := g.seg.Enter(w.Process); err != nil {
		return nil, errors.Join(err, g.seg.Close())
	}
	g.hub = mailbox.Join(g.seg, w.Process.Index())
	if letters, err := g.hub.At(w.Letters); err == nil {
		g.hub.SetLetters(letters)
	}
	return actor.NewSystem(actor.SystemOptions{Hub: g.hub, Close: func() error { return g.leave(true) }}), nil
}

func closeFile(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// watch sees the end of the system: nothing else ever comes through the connection.
func (g *guest) watch() {
	var b [1]byte
	_, _ = g.conn.Read(b[:])
	_ = g.leave(false)
}

func (g *guest) leave(asked bool) (err error) {
	g.once.Do(func() {
		why := actor.ErrSystemEnded
		if asked {
			why = fmt.Errorf("%w: this program detached", actor.ErrSystemEnded)
		}
		g.hub.Close(why)
		err = g.seg.Close()
		if asked {
			_, _ = g.conn.Write([]byte{farewell}) // who has ended meanwhile needs none
		}
		err = errors.Join(err, g.conn.Close())
	})
	return err
}
