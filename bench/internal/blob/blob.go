// Package blob holds the message that every stack carries, and its encoding: the
// bytes as they are, so that no time goes into anything else.
package blob

import (
	"encoding/binary"
	"fmt"

	"storj.io/drpc"
)

// Blob is a message of raw bytes.
type Blob struct {
	Data []byte
}

// MinSize is the smallest payload that can hold a stamp.
const MinSize = 16

// New returns a message of the given size, filled with a pattern that depends
// on every position and on the seed, so that a lost, repeated or swapped piece
// shows.
func New(size int, seed uint64) *Blob {
	b := &Blob{Data: make([]byte, size)}
	Fill(b.Data, seed)
	return b
}

// Fill writes the pattern for the seed.
func Fill(p []byte, seed uint64) {
	state := seed*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019
	for i := range p {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		p[i] = byte(state >> 32)
	}
}

// Stamp writes who sent the message and which of its messages it is.
// A stamp costs two stores, so the timed loops can afford to check that a
// reply belongs to its request.
func (b *Blob) Stamp(caller, seq uint64) {
	binary.LittleEndian.PutUint64(b.Data[0:8], caller)
	binary.LittleEndian.PutUint64(b.Data[8:16], seq)
}

// Check reports whether the message has the size and the stamp given.
func (b *Blob) Check(size int, caller, seq uint64) error {
	if len(b.Data) != size {
		return fmt.Errorf("message of %d bytes, want %d", len(b.Data), size)
	}
	gotCaller := binary.LittleEndian.Uint64(b.Data[0:8])
	gotSeq := binary.LittleEndian.Uint64(b.Data[8:16])
	if gotCaller != caller || gotSeq != seq {
		return fmt.Errorf("message %d of caller %d, want message %d of caller %d",
			gotSeq, gotCaller, seq, caller)
	}
	return nil
}

// Encoding carries the bytes of a Blob as they are.
type Encoding struct{}

var _ drpc.Encoding = Encoding{}

// Marshal returns a copy of the bytes of the message.
func (e Encoding) Marshal(msg drpc.Message) ([]byte, error) {
	return e.MarshalAppend(nil, msg)
}

// MarshalAppend appends the bytes of the message to buf. Both stacks look for
// this method and use it instead of Marshal.
func (Encoding) MarshalAppend(buf []byte, msg drpc.Message) ([]byte, error) {
	b, ok := msg.(*Blob)
	if !ok {
		return nil, fmt.Errorf("cannot encode a %T", msg)
	}
	return append(buf, b.Data...), nil
}

// Unmarshal copies buf into the message, reusing the memory the message
// already has: a stack may reuse buf as soon as Unmarshal returns.
func (Encoding) Unmarshal(buf []byte, msg drpc.Message) error {
	b, ok := msg.(*Blob)
	if !ok {
		return fmt.Errorf("cannot decode a %T", msg)
	}
	b.Data = append(b.Data[:0], buf...)
	return nil
}
