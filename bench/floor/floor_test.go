package floor

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// peers makes one of each kind.
func peers(t testing.TB, most int) map[string]Peer {
	t.Helper()
	all := map[string]Peer{}
	add := func(kind string, p Peer, err error) {
		t.Helper()
		if errors.Is(err, errors.ErrUnsupported) {
			t.Logf("%s: %v", kind, err)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		all[kind] = p
	}
	shm, err := NewShm(most)
	add(kindShm, shm, err)
	socket, err := NewSocket(most)
	add(kindSocket, socket, err)
	return all
}

// A peer sends back what it got, however long, and whether or not it slept.
func TestPeers(t *testing.T) {
	const most = 40000
	for kind, p := range peers(t, most) {
		t.Run(kind, func(t *testing.T) {
			for i, size := range []int{0, 1, 16, 52, 53, 4096, most, 16, 31 << 10} {
				if s, ok := p.(interface{ asleep() bool }); ok && i%3 == 0 {
					eventually(t, s.asleep)
				}
				req, res := bytes.Repeat([]byte{byte(i + 1)}, size), make([]byte, size)
				if err := p.Call(req, res); err != nil || !bytes.Equal(req, res) {
					t.Errorf("%d bytes: %v", size, err)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the peer does not sleep")
		}
	}
}

func BenchmarkCall(b *testing.B) {
	const most = 31 << 10
	for kind, p := range peers(b, most) {
		for name, size := range map[string]int{"16B": 16, "31KB": most} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				req, res := make([]byte, size), make([]byte, size)
				for b.Loop() {
					if err := p.Call(req, res); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	}
}
