package main

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"sync"
)

// request is what a message says. On the wire a checksum over the whole of it comes first, and filling up to its size last.
type request struct {
	ID     uint64
	Other  uint64 // of the call that an answer is for
	Token  uint64 // of that call
	Size   uint32 // of the whole message
	Reply  uint32 // the size that the reply is to have
	Mode   mode
	Peer   uint32 // the target that the handler turns to
	Linger uint32 // how many microseconds the handler takes
}

// mode is what a handler does with a message.
type mode uint32

const (
	modePlain  mode = iota // answers
	modePanic              // panics
	modeLater              // answers from another goroutine
	modeHand               // hands the duty to answer to another actor
	modeAnswer             // answers such a call
	modeCall               // calls another actor, then answers
	modeSend               // sends to another actor, then answers
	modeBurst              // sends many small ones, so that a kill meets the sending and the receiving of messages
)

const headBytes = 4 + 3*8 + 5*4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// filling is what payloads are cut from.
var filling = sync.OnceValue(func() []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 2*sizeHuge)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b
})

// seal makes the bytes of a message.
func (q *request) seal() []byte {
	q.Size = max(q.Size, headBytes)
	b := make([]byte, 4, q.Size)
	for _, v := range []uint64{q.ID, q.Other, q.Token} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, v := range []uint32{q.Size, q.Reply, uint32(q.Mode), q.Peer, q.Linger} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	from := (q.ID * 0x9e3779b97f4a7c15) % sizeHuge
	b = append(b, filling()[from:][:int(q.Size)-headBytes]...)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// unseal reads a message; ok is false when it is not whole.
func unseal(b []byte) (q request, ok bool) {
	if len(b) < headBytes {
		return q, false
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[4+8*i:]) }
	half := func(i int) uint32 { return binary.LittleEndian.Uint32(b[28+4*i:]) }
	q = request{
		ID: word(0), Other: word(1), Token: word(2),
		Size: half(0), Reply: half(1), Mode: mode(half(2)), Peer: half(3), Linger: half(4),
	}
	return q, int(q.Size) == len(b) && binary.LittleEndian.Uint32(b) == crc32.Checksum(b[4:], castagnoli)
}

// Sizes of messages.
const (
	sizeSmall = 300
	sizeLarge = 31 << 10
	sizeHuge  = 1 << 20
)

// randomSize is mostly small.
func randomSize(rng *rand.Rand) uint32 {
	switch n := rng.IntN(200); {
	case n < 2:
		return sizeHuge
	case n < 20:
		return sizeLarge
	}
	return headBytes + rng.Uint32N(sizeSmall)
}
