package sys

import (
	"os"
	"path/filepath"
	"testing"
)

// The limit that counts is the one which leaves the least, wherever above the process it is set.
func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		name, cgroup string
		files        map[string]string
		limit, used  int64
		ok           bool
	}{
		{"none", "0::/a/b\n", map[string]string{"a/b/memory.max": "max\n", "a/b/memory.current": "5\n"}, 0, 0, false},
		{"its own", "0::/a/b\n", map[string]string{"a/b/memory.max": "100\n", "a/b/memory.current": "40\n"}, 100, 40, true},
		{"its parent's", "0::/a/b\n", map[string]string{"a/memory.max": "100\n", "a/memory.current": "40\n", "a/b/memory.max": "max\n"}, 100, 40, true},
		{"the tighter one", "0::/a/b\n", map[string]string{
			"a/memory.max": "100\n", "a/memory.current": "90\n", "a/b/memory.max": "50\n", "a/b/memory.current": "10\n",
		}, 100, 90, true},
		{"of the root", "0::/\n", map[string]string{"memory.max": "7\n", "memory.current": "3\n"}, 7, 3, true},
		{"beside cgroups of version 1", "4:memory:/x\n0::/a\n", map[string]string{"a/memory.max": "100\n", "a/memory.current": "1\n"}, 100, 1, true},
		{"only version 1", "4:memory:/x\n", map[string]string{"x/memory.max": "100\n", "x/memory.current": "1\n"}, 0, 0, false},
		{"unreadable use", "0::/a\n", map[string]string{"a/memory.max": "100\n"}, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			root, file := filepath.Join(dir, "cgroup"), filepath.Join(dir, "self")
			c.files["../self"] = c.cgroup
			for name, text := range c.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if limit, used, ok := memoryLimit(file, root); limit != c.limit || used != c.used || ok != c.ok {
				t.Errorf("%d, %d, %v, want %d, %d, %v", limit, used, ok, c.limit, c.used, c.ok)
			}
		})
	}
	if _, _, ok := memoryLimit("/nonexistent", "/nonexistent"); ok {
		t.Error("a limit of nothing")
	}
}
