// Package blob is what a load generator and a server say to each other: messages of
// raw bytes, stamps by which a reply is told from another one, and a small service
// with a method of every shape.
//
// # Methods
//
//	/braid.bench.Bench/Echo      unary          a message in, the same out
//	/braid.bench.Bench/Upload    client stream  messages in; a tally out
//	/braid.bench.Bench/Download  both ways      an ask in; messages out until the client
//	                                            has closed its side, then a tally
//	/braid.bench.Bench/PingPong  both ways      each message in is sent back
//
// A message is its bytes, with nothing around them. The numbers in a tally and in an
// ask have 8 bytes each, low byte first.
package blob

import (
	"encoding/binary"
	"fmt"

	"storj.io/drpc"
)

// MaxSize is the largest message, in bytes: what both ends of DRPC accept unless they
// are told otherwise.
const MaxSize = 4 << 20

// Message is a message of raw bytes.
type Message struct {
	Data []byte
}

// Fill writes a pattern that nothing on the way can compress.
func Fill(p []byte) {
	state := uint64(0x632be59bd9b4e019)
	for i := range p {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		p[i] = byte(state >> 32)
	}
}

// stampSize is how many bytes a stamp takes.
const stampSize = 8

// Stamp writes a number into the first 8 bytes of a message, and into the last 8 if it
// has 16, so that one that was cut or joined shows. Of a shorter message it fills what
// there is, with the low bytes of the number. The number has 63 bits at most.
func Stamp(p []byte, n uint64) {
	if len(p) < stampSize {
		var b [stampSize]byte
		binary.LittleEndian.PutUint64(b[:], n)
		copy(p, b[:])
		return
	}
	binary.LittleEndian.PutUint64(p, n)
	if len(p) >= 2*stampSize {
		binary.LittleEndian.PutUint64(p[len(p)-stampSize:], n)
	}
}

// WrongError tells that a message is not the one that was due.
type WrongError struct{ what string }

// Error implements error.
func (e *WrongError) Error() string { return e.what }

// Wrong makes a WrongError.
func Wrong(format string, args ...any) error {
	return &WrongError{fmt.Sprintf(format, args...)}
}

// Check reports, as a WrongError, whether a message has the size and the stamp given.
func Check(p []byte, size int, n uint64) error {
	if len(p) != size {
		return Wrong("a message of %d bytes came where one of %d was due", len(p), size)
	}
	if !stamped(p, n) {
		return Wrong("a message came that is not the one that was due (of %d bytes, number %d)", size, n)
	}
	return nil
}

// stamped reports whether a message has the stamp.
func stamped(p []byte, n uint64) bool {
	if len(p) >= stampSize {
		return binary.LittleEndian.Uint64(p) == n &&
			(len(p) < 2*stampSize || binary.LittleEndian.Uint64(p[len(p)-stampSize:]) == n)
	}
	for i, b := range p {
		if b != byte(n>>(8*i)) {
			return false
		}
	}
	return true
}

// Encoding carries the bytes of a [Message] as they are.
type Encoding struct{}

var _ drpc.Encoding = Encoding{}

// Marshal returns a copy of the bytes of the message.
func (e Encoding) Marshal(msg drpc.Message) ([]byte, error) { return e.MarshalAppend(nil, msg) }

// MarshalAppend appends the bytes of the message to buf. Connections look for this
// method and hand their own buffer in, so that there is one copy.
func (Encoding) MarshalAppend(buf []byte, msg drpc.Message) ([]byte, error) {
	m, ok := msg.(*Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a message of raw bytes", msg)
	}
	return append(buf, m.Data...), nil
}

// Unmarshal copies buf into the message, whose memory it reuses.
func (Encoding) Unmarshal(buf []byte, msg drpc.Message) error {
	m, ok := msg.(*Message)
	if !ok {
		return fmt.Errorf("%T is not a message of raw bytes", msg)
	}
	m.Data = append(m.Data[:0], buf...)
	return nil
}
