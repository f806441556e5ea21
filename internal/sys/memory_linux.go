package sys

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported reports whether this platform has shared segments, workers and attachment.
const Supported = true

// MemoryFile makes an anonymous memory file of size bytes with every page reserved, so that running out of memory is an
// error here and never a SIGBUS later. It vanishes with the last process that holds it.
func MemoryFile(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := Reserve(f, size); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Reserve sets f's size and reserves every page of it.
func Reserve(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		if err != unix.EINTR {
			return os.NewSyscallError("fallocate", err)
		}
	}
}

// Seal forbids any later change of the file's size, and of its seals.
func Seal(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
}

// Sealed reports whether the size of f can no longer change.
func Sealed(f *os.File) bool {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	const want = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	return err == nil && seals&want == want
}

// IsMemoryFile reports whether f is an anonymous memory file.
func IsMemoryFile(f *os.File) bool {
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	return err == nil && strings.HasPrefix(name, "/memfd:")
}

// Map maps the first size bytes of f, shared; the mapping is not inherited by a fork.
func Map(f *os.File, size int64, writable bool) ([]byte, error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	p, err := unix.MmapPtr(int(f.Fd()), 0, nil, uintptr(size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap of %d bytes: %w", size, err)
	}
	mem := unsafe.Slice((*byte)(p), size)
	if err := unix.Madvise(mem, unix.MADV_DONTFORK); err != nil {
		_ = unix.MunmapPtr(p, uintptr(size))
		return nil, os.NewSyscallError("madvise", err)
	}
	return mem, nil
}

// Retire lets go of a mapping's memory but keeps its addresses valid: it puts private zero pages in their place, so a
// goroutine that still holds a view reads zeros instead of killing the process. The cost is address space, which a 64-bit
// process has plenty of.
func Retire(mem []byte) error {
	p := unsafe.Pointer(unsafe.SliceData(mem))
	_, err := unix.MmapPtr(-1, 0, p, uintptr(len(mem)), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED|unix.MAP_NORESERVE)
	return os.NewSyscallError("mmap", err)
}

// Lock takes an exclusive lock that belongs to f's open file description and dies with its last holder. It fails at once
// with an error wrapping os.ErrExist when somebody else holds it.
func Lock(f *os.File) error {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
	if err == unix.EAGAIN || err == unix.EACCES {
		return fmt.Errorf("%s is locked by another process: %w", f.Name(), os.ErrExist)
	}
	return os.NewSyscallError("fcntl(F_OFD_SETLK)", err)
}
