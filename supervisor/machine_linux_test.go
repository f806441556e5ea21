package supervisor_test

import (
	"os"
	"syscall"
)

// dumpable lets a process that changed its user read its own entries in /proc.
func dumpable() error {
	const prSetDumpable = 4
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 1, 0); errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}

// mountTmpfs mounts a file system of so many bytes, "64m", at dir.
func mountTmpfs(dir, size string) (unmount func() error, err error) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	return func() error { return syscall.Unmount(dir, 0) }, nil
}

// threadID is the thread that runs the calling goroutine.
func threadID() int { return syscall.Gettid() }
