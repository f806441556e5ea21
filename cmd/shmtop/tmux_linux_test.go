package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmactor/shmactor/internal/testkit"
)

// terminal is a shell in a real terminal, 100 cells wide and 30 high.
type terminal struct {
	t   *testing.T
	env []string
}

func startTerminal(t *testing.T) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed: it is the terminal of this test")
	}
	dir, err := os.MkdirTemp("", "tmux") // short: the path of its socket is
	if err != nil {
		t.Fatal(err)
	}
	// Everything that is run in it plays shmtop if it is the test binary.
	role := testkit.Command(t, "shmtop")
	term := &terminal{t, append(role.Env, "TMUX_TMPDIR="+dir, "TMUX=", "ENV=", "NO_COLOR=", "LC_ALL=C.UTF-8")}
	t.Cleanup(func() {
		_, _ = term.tmux("kill-server")
		testkit.Eventually(t, time.Minute, "tmux ends", func() bool {
			_, err := term.tmux("list-sessions")
			return err != nil
		})
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if out, err := term.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "exec env PS1='ready> ' sh"); err != nil {
		t.Skipf("tmux does not start here: %v: %s", err, out)
	}
	term.wait("ready>")
	return term
}

func (term *terminal) tmux(args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-u"}, args...)...)
	cmd.Env = term.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// screen is what can be seen.
func (term *terminal) screen() string {
	out, err := term.tmux("capture-pane", "-p")
	if err != nil {
		term.t.Fatalf("%v: %s", err, out)
	}
	return out
}

// wait waits until all of these can be seen.
func (term *terminal) wait(texts ...string) {
	term.t.Helper()
	term.until("on the screen: "+strings.Join(texts, ", "), func(screen string) bool {
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return false
			}
		}
		return true
	})
}

func (term *terminal) until(what string, good func(screen string) bool) {
	term.t.Helper()
	var last string
	defer func() {
		if term.t.Failed() {
			term.t.Logf("the screen:\n%s", last)
		}
	}()
	testkit.Eventually(term.t, time.Minute, what, func() bool {
		last = term.screen()
		return good(last)
	})
}

// press presses keys, by tmux's names for them.
func (term *terminal) press(keys ...string) {
	term.t.Helper()
	if out, err := term.tmux(append([]string{"send-keys"}, keys...)...); err != nil {
		term.t.Fatalf("%v: %s", err, out)
	}
}

// state is what programs have done to the terminal: the other screen, the cursor, the mouse.
func (term *terminal) state() string {
	term.t.Helper()
	out, err := term.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}")
	if err != nil {
		term.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(out)
}

func TestLiveScreen(t *testing.T) {
	testkit.NoLeaks(t)
	p := startProgram(t)
	term := startTerminal(t)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	term.press(fmt.Sprintf("'%s' --interval 100ms %d", binary, p.pid), "Enter")
	term.wait(p.name, "NAME", "IN/s▼", "orders/book", "two words", "rows 1-3 of 3", "audit/log full", "q quit")
	if got := term.state(); got != "1 0 1" {
		t.Errorf("the terminal: %q", got)
	}
	term.until("rates", func(screen string) bool {
		for line := range strings.Lines(screen) {
			if words := strings.Fields(line); len(words) > 5 && words[0] == "orders/book" {
				return words[3] != none && words[3] != "0"
			}
		}
		return false
	})

	term.press("/")
	term.press("-l", "!orders state:full")
	term.wait("filter: !orders state:full", "rows 1-1 of 1")
	term.press("Enter")
	term.wait("filter !orders state:full", "? help")
	term.press("\\")
	term.wait("filter (none)", "rows 1-3 of 3")
	term.press("s", "s")
	term.wait("DEPTH▼")
	term.press("r")
	term.wait("DEPTH▲")
	term.press("d")
	term.wait("totals")
	term.press("Down")
	term.wait("▌")
	term.press("?")
	term.wait("KEYS", "STATES")
	term.press("Escape")
	term.wait("DEPTH▲")
	term.press("p")
	term.wait("PAUSED")
	term.press("Space")
	term.wait("every 100 ms")

	if out, err := term.tmux("resize-window", "-x", "50", "-y", "10"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	term.wait("shmtop needs 60x12", "this is 50x10")
	if out, err := term.tmux("resize-window", "-x", "80", "-y", "24"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	term.wait("orders/book", "q quit")

	p.signal(syscall.SIGSTOP)
	term.wait("STOPPED", "main stopped")
	p.signal(syscall.SIGCONT)
	p.end()
	term.wait("ENDED", "this is its last picture", "orders/book")

	term.press("q")
	term.wait("ready>")
	if got := term.state(); got != "0 1 0" {
		t.Errorf("the terminal afterwards: %q", got)
	}
	term.press("echo $((40 + 2)) $?", "Enter")
	term.wait("42 0", "echo $((40 + 2))") // what is typed shows, and the status was 0
}

// Ctrl-C leaves as q does.
func TestLiveScreenInterrupted(t *testing.T) {
	testkit.NoLeaks(t)
	p := startProgram(t)
	term := startTerminal(t)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	term.press(fmt.Sprintf("'%s' --ascii --no-color %s; echo left $?", binary, p.name), "Enter")
	term.wait(p.name, "IN/sv", "orders/book", "rows 1-3 of 3")
	term.press("/", "a", "C-c")
	term.wait("left 0")
	if got := term.state(); got != "0 1 0" {
		t.Errorf("the terminal afterwards: %q", got)
	}
}
