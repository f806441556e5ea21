package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// fullChecks says that descriptors, processes and mappings can be listed here.
const fullChecks = true

// sysPidfdOpen is the number of pidfd_open, the same on every architecture.
const sysPidfdOpen = 434

// openFiles lists the descriptors of this process.
func openFiles() map[string]string {
	const dir = "/proc/self/fd"
	entries, _ := os.ReadDir(dir)
	open := make(map[string]string, len(entries))
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // it was the one that ReadDir used
		}
		open[e.Name()+" "+target] = e.Name() + ": " + target
	}
	return open
}

// processes lists the children of this process, also those that have ended and were not waited for, and everything further
// down that a test of this binary started.
func processes() map[string]string {
	found := make(map[string]string)
	note := func(pid, relation string) {
		if _, ok := found[pid]; !ok {
			found[pid] = describe(pid, relation)
		}
	}
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for pid := range strings.FieldsSeq(string(text)) {
			note(pid, "child")
		}
	}
	self := strconv.Itoa(os.Getpid())
	if os.Getenv(binaryEnv) != self {
		return found
	}
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environments {
		env, err := os.ReadFile(path)
		if err != nil || !strings.Contains("\x00"+string(env), "\x00"+binaryEnv+"="+self+"\x00") {
			continue
		}
		if pid := filepath.Base(filepath.Dir(path)); pid != self {
			note(pid, "descendant")
		}
	}
	return found
}

// describe says what is known of a process.
func describe(pid, relation string) string {
	state := "gone"
	if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ")
		if state, _, _ = strings.Cut(rest, " "); state == "Z" {
			return fmt.Sprintf("%s: %s that ended and was not waited for", pid, relation)
		}
	}
	args, _ := os.ReadFile("/proc/" + pid + "/cmdline")
	return fmt.Sprintf("%s: %s in state %s: %s", pid, relation, state, strings.ReplaceAll(string(args), "\x00", " "))
}

// sharedMappings adds up the shared mappings of this process by the file behind them.
func sharedMappings() map[string]int64 {
	text, _ := os.ReadFile("/proc/self/maps")
	sizes := make(map[string]int64)
	for line := range strings.Lines(string(text)) {
		// 7f00-7f10 rw-s 00000000 00:01 2064    /memfd:name (deleted)
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasSuffix(fields[1], "s") {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, _ := strconv.ParseInt(from, 16, 64)
		end, _ := strconv.ParseInt(to, 16, 64)
		sizes[strings.Join(fields[5:], " ")+", inode "+fields[4]] += end - start
	}
	return sizes
}

// watchProcess calls gone, on a goroutine of its own, when the process with that id has ended. Where the kernel cannot tell,
// it does nothing.
func watchProcess(pid int, gone func()) {
	fd, _, errno := syscall.Syscall(sysPidfdOpen, uintptr(pid), syscall.O_NONBLOCK, 0)
	if errno == syscall.ESRCH {
		go gone()
		return
	}
	if errno != 0 {
		return
	}
	f := os.NewFile(fd, "pidfd")
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return
	}
	go func() {
		defer f.Close()
		looked := false
		err := conn.Read(func(uintptr) bool {
			ready := looked // the second call comes when the descriptor is readable
			looked = true
			return ready
		})
		if err == nil {
			gone()
		}
	}()
}
