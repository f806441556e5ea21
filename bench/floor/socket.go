//go:build unix

package floor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Socket is a peer at the other end of a unix stream socket, by package net: a length, then the bytes, in one write each way.
type Socket struct {
	*child
	conn net.Conn
	in   []byte
	out  []byte
}

const lengthSize = 4

// NewSocket starts a peer for messages of at most most bytes.
func NewSocket(most int) (*Socket, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	theirs := os.NewFile(uintptr(fds[1]), "peer")
	conn, err := connOf(fds[0])
	if err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	c, err := start(kindSocket, most, theirs)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Socket{c, conn, make([]byte, lengthSize+most), make([]byte, lengthSize+most)}, nil
}

// connOf makes a connection of a descriptor, which it takes over.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	conn, err := net.FileConn(f)
	return conn, errors.Join(err, f.Close())
}

// Call sends req and reads the reply into res.
func (s *Socket) Call(req, res []byte) error {
	binary.LittleEndian.PutUint32(s.out, uint32(len(req)))
	n := lengthSize + copy(s.out[lengthSize:], req)
	if _, err := s.conn.Write(s.out[:n]); err != nil {
		return err
	}
	b, err := readMessage(s.conn, s.in)
	if err != nil {
		return err
	}
	if len(b) != len(res) {
		return fmt.Errorf("floor: %d bytes came back, not %d", len(b), len(res))
	}
	copy(res, b)
	return nil
}

// readMessage reads one message, as a rule by one read: its length is not known before, but there is nothing behind it.
func readMessage(r io.Reader, in []byte) ([]byte, error) {
	n, err := io.ReadAtLeast(r, in, lengthSize)
	if err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint32(in))
	if lengthSize+size > len(in) || lengthSize+size < n {
		return nil, fmt.Errorf("floor: a message of %d bytes, of which %d came", size, n)
	}
	_, err = io.ReadFull(r, in[n:lengthSize+size])
	return in[lengthSize : lengthSize+size], err
}

// Close ends the other process.
func (s *Socket) Close() error { return errors.Join(s.conn.Close(), s.end()) }

func serveSocket(fd uintptr, most int) error {
	conn, err := connOf(int(fd))
	if err != nil {
		return err
	}
	in := make([]byte, lengthSize+most)
	for {
		b, err := readMessage(conn, in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := conn.Write(in[:lengthSize+len(b)]); err != nil {
			return err
		}
	}
}
