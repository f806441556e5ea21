package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/shmactor/shmactor/shm"
)

// choose finds the program that is meant by a name or a pid; the empty string means the only one that runs.
func choose(what string) (shm.Program, error) {
	all, err := shm.Programs()
	if err != nil {
		return shm.Program{}, err
	}
	found := matching(all, what)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return shm.Program{}, fmt.Errorf("%s; say which:\n%s", several(found, what), strings.TrimSuffix(table(found), "\n"))
	case what == "":
		return shm.Program{}, fmt.Errorf("no program with a segment runs as %s", userName(os.Getuid()))
	}
	if pid, err := strconv.Atoi(what); err == nil {
		p, err := shm.ProgramOf(pid)
		if err != nil {
			return p, explain(shm.Program{PID: pid}, err)
		}
		return p, nil
	}
	if len(all) == 0 {
		return shm.Program{}, fmt.Errorf("no program %q runs, nor any other with a segment, as %s", what, userName(os.Getuid()))
	}
	return shm.Program{}, fmt.Errorf("no program %q runs; these do:\n%s", what, strings.TrimSuffix(table(all), "\n"))
}

func matching(all []shm.Program, what string) (found []shm.Program) {
	for _, p := range all {
		if what == "" || p.Name == what || strconv.Itoa(p.PID) == what {
			found = append(found, p)
		}
	}
	return found
}

// several says that what was given does not name one program.
func several(found []shm.Program, what string) string {
	switch {
	case what == "":
		return fmt.Sprintf("%d programs run", len(found))
	case strconv.Itoa(found[0].PID) == what:
		return fmt.Sprintf("process %s has %d segments, each with a name", what, len(found))
	}
	return fmt.Sprintf("%d programs have the name %q, each with its pid", len(found), what)
}

// explain says what to do about a program that cannot be opened.
func explain(p shm.Program, err error) error {
	uid, there := owner(p.PID)
	switch {
	case errors.Is(err, os.ErrNotExist) && !there:
		return fmt.Errorf("no process has the pid %d", p.PID)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("process %d has no segment", p.PID)
	case errors.Is(err, os.ErrPermission) && uid != os.Getuid():
		return fmt.Errorf("process %d belongs to %s and this is %s: run shmtop as that user, or as root",
			p.PID, userName(uid), userName(os.Getuid()))
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("process %d may not be looked at (it dropped privileges, or ptrace is restricted): %w", p.PID, err)
	case errors.Is(err, shm.ErrIncompatible):
		return fmt.Errorf("process %d was built with another version; use the shmtop of that version: %w", p.PID, err)
	}
	return err
}

// owner returns the user that a process runs as.
func owner(pid int) (uid int, ok bool) {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return fmt.Sprintf("%s (uid %d)", u.Username, uid)
	}
	return fmt.Sprintf("uid %d", uid)
}

// list prints the running programs.
func list(w io.Writer, asJSON bool) error {
	all, err := shm.Programs()
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(w).Encode(listed(all, time.Now()))
	}
	if len(all) == 0 {
		return fmt.Errorf("no program with a segment runs as %s", userName(os.Getuid()))
	}
	_, err = io.WriteString(w, table(all))
	return err
}

// table lists programs for people.
func table(all []shm.Program) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NAME\tPID\tUID\tAGE\tABI")
	for _, p := range listed(all, time.Now()).Programs {
		uid := "?"
		if p.UID != nil {
			uid = strconv.Itoa(*p.UID)
		}
		note := ""
		if p.ABI != shm.ABI {
			note = fmt.Sprintf(" (this shmtop has %d)", shm.ABI)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d%s\n", quoted(p.Name), p.PID, uid, uptime(time.Duration(p.Age)), p.ABI, note)
	}
	_ = w.Flush() // into memory
	return b.String()
}

// programList is what --list --json prints.
type programList struct {
	V        int           `json:"v"`
	TS       int64         `json:"ts_ns"`
	Programs []programItem `json:"programs"`
}

type programItem struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	UID  *int   `json:"uid"`
	Age  int64  `json:"age_ns"`
	ABI  int    `json:"abi"`
}

func listed(all []shm.Program, now time.Time) programList {
	l := programList{V: jsonVersion, TS: now.UnixNano(), Programs: []programItem{}}
	for _, p := range all {
		item := programItem{Name: p.Name, PID: p.PID, Age: max(0, now.Sub(p.Created).Nanoseconds()), ABI: p.ABI}
		if uid, ok := owner(p.PID); ok {
			item.UID = &uid
		}
		l.Programs = append(l.Programs, item)
	}
	return l
}
