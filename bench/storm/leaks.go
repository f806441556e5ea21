package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// held is what this process holds besides memory.
type held struct {
	files      map[string]string
	goroutines int
	mappings   int
}

// holdings looks around.
func holdings() held {
	h := held{files: map[string]string{}, goroutines: runtime.NumGoroutine()}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && !pollerFile(to) { // the listing's own is gone
			h.files[e.Name()+" -> "+to] = to
		}
	}
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasSuffix(f[1], "s") {
			h.mappings++
		}
	}
	return h
}

// pollerFile tells the descriptors that the runtime opens once and keeps.
func pollerFile(to string) bool {
	return to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]"
}

// left says what this process holds more than before, after waiting for it to go.
func (before held) left() (left []string) {
	eventually(func() bool {
		now := holdings()
		left = nil
		for name := range now.files {
			if _, ok := before.files[name]; !ok {
				left = append(left, "descriptor "+name)
			}
		}
		if n := now.goroutines - before.goroutines; n > 0 {
			left = append(left, fmt.Sprintf("%d goroutines:\n%s", n, stacks()))
		}
		if n := now.mappings - before.mappings; n > 0 {
			left = append(left, fmt.Sprintf("%d shared mappings", n))
		}
		if pids := children(); len(pids) > 0 {
			left = append(left, fmt.Sprintf("child processes %v", pids))
		}
		return len(left) == 0
	})
	return left
}

// statusLine is the value of a line of a status file.
func statusLine(path, name string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// relatives finds the processes that were started with a string in their environment.
func relatives(mark string) (pids []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		env, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(env), mark) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

// filesIn lists the files of a directory, at any depth.
func filesIn(dir string) (files []string) {
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			files = append(files, path)
		}
		return nil
	})
	return files
}
