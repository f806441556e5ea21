package sys

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// A socket's path may have at most 107 bytes, and a runtime directory may be longer: so it is reached through an open
// descriptor of the directory.

// Listen makes a unix socket in a directory, which only this user reaches.
func Listen(dir, name string) (*net.UnixListener, error) {
	var l *net.UnixListener
	err := in(dir, name, func(addr *net.UnixAddr) (err error) {
		if l, err = net.ListenUnix("unix", addr); err == nil {
			l.SetUnlinkOnClose(false) // by a path that is gone then
		}
		return err
	})
	return l, err
}

// Dial connects to a unix socket in a directory.
func Dial(dir, name string) (*net.UnixConn, error) {
	var c *net.UnixConn
	err := in(dir, name, func(addr *net.UnixAddr) (err error) {
		c, err = net.DialUnix("unix", nil, addr)
		return err
	})
	return c, err
}

func in(dir, name string, f func(*net.UnixAddr) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	path := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", d.Fd()), name)
	return f(&net.UnixAddr{Name: path, Net: "unix"})
}

// Peer returns the process and the user at the other end of a unix socket, as the kernel knows them.
func Peer(c *net.UnixConn) (pid, uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return 0, 0, err
	}
	return int(cred.Pid), int(cred.Uid), nil
}

// SendFile sends a message with a descriptor of f.
func SendFile(c *net.UnixConn, msg []byte, f *os.File) error {
	_, _, err := c.WriteMsgUnix(msg, syscall.UnixRights(int(f.Fd())), nil)
	return err
}

// ReceiveFile receives a message of at most max bytes, and the descriptor that came with it, if one did.
func ReceiveFile(c *net.UnixConn, max int) (msg []byte, f *os.File, err error) {
	buf, oob := make([]byte, max), make([]byte, syscall.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, nil, err
	}
	control, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(control) == 0 {
		return buf[:n], nil, err
	}
	fds, err := syscall.ParseUnixRights(&control[0])
	if err != nil || len(fds) != 1 {
		return buf[:n], nil, errors.Join(err, fmt.Errorf("%d descriptors came with a message, not one", len(fds)))
	}
	syscall.CloseOnExec(fds[0])
	return buf[:n], os.NewFile(uintptr(fds[0]), "segment"), nil
}
