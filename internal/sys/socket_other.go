//go:build !linux

package sys

import (
	"net"
	"os"
)

// Listen returns an error wrapping errors.ErrUnsupported.
func Listen(string, string) (*net.UnixListener, error) { return nil, unsupported("attaching") }

// Dial returns an error wrapping errors.ErrUnsupported.
func Dial(string, string) (*net.UnixConn, error) { return nil, unsupported("attaching") }

// Peer returns an error wrapping errors.ErrUnsupported.
func Peer(*net.UnixConn) (pid, uid int, err error) { return 0, 0, unsupported("attaching") }

// SendFile returns an error wrapping errors.ErrUnsupported.
func SendFile(*net.UnixConn, []byte, *os.File) error { return unsupported("attaching") }

// ReceiveFile returns an error wrapping errors.ErrUnsupported.
func ReceiveFile(*net.UnixConn, int) ([]byte, *os.File, error) {
	return nil, nil, unsupported("attaching")
}
