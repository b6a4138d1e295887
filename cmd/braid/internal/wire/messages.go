package wire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// The limits of a message's fields. A decoder refuses what is above them and an
// encoder refuses to produce it, so that neither end has to trust the other.
const (
	// MaxPath is PATH_MAX of Linux: no longer name could be opened there.
	MaxPath = 4096
	// MaxChunk keeps a chunk well below the 4 MiB at which a connection
	// refuses a message.
	MaxChunk = 1 << 20
	// MaxPayload bounds what an Echo carries.
	MaxPayload = 64 << 10
	// MaxName bounds the names of rooms and of those who chat.
	MaxName = 64
	// MaxText bounds one line of chat.
	MaxText = 4096
)

// A tag is the first byte of a message. The numbers are part of the protocol.
type tag byte

const (
	tagEcho      tag = 1
	tagHeader    tag = 2
	tagChunk     tag = 3
	tagEnd       tag = 4
	tagReady     tag = 5
	tagReceipt   tag = 6
	tagUploadID  tag = 7
	tagOutcome   tag = 8
	tagJoin      tag = 9
	tagWelcome   tag = 10
	tagChatLine  tag = 11
	tagChatHeard tag = 12
)

// Sum is a SHA-256.
type Sum [32]byte

// String returns the digest in hexadecimal.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// UploadID names an upload. A client draws it at random, so that nobody else
// can ask what became of its uploads. It is also the request of Await.
type UploadID [16]byte

func (id *UploadID) check() error { return nil }

func (id *UploadID) appendTo(buf []byte) []byte {
	return append(append(buf, byte(tagUploadID)), id[:]...)
}

func (id *UploadID) parse(t tag, d *decoder) bool {
	d.fixed("the identifier", id[:])
	return t == tagUploadID
}

// Echo is a question that is answered with a copy of itself.
type Echo struct {
	Number  uint64
	Payload []byte // at most MaxPayload
}

func (m *Echo) check() error { return limit("the payload", len(m.Payload), MaxPayload) }

func (m *Echo) appendTo(buf []byte) []byte {
	buf = append(buf, byte(tagEcho))
	buf = binary.AppendUvarint(buf, m.Number)
	return appendBytes(buf, m.Payload)
}

func (m *Echo) parse(t tag, d *decoder) bool {
	m.Number = d.number("the number")
	m.Payload = append(m.Payload[:0], d.bytes("the payload", MaxPayload)...)
	return t == tagEcho
}

// State says what became of an upload.
type State uint8

const (
	// Stored means that the file is there, whole and verified.
	Stored State = 1
	// Canceled means that the client took the upload back, or that its
	// connection was lost.
	Canceled State = 2
	// Refused means that the server ended the upload with an error.
	Refused State = 3
)

// String returns the state as a word.
func (s State) String() string {
	switch s {
	case Stored:
		return "stored"
	case Canceled:
		return "canceled"
	case Refused:
		return "refused"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Outcome is the answer of Await.
type Outcome struct {
	State State
	Size  int64 // bytes of the file that had arrived
}

func (m *Outcome) check() error {
	if m.State < Stored || m.State > Refused {
		return malformed("%v is unknown", m.State)
	}
	return positive("the size", m.Size)
}

func (m *Outcome) appendTo(buf []byte) []byte {
	buf = append(buf, byte(tagOutcome), byte(m.State))
	return binary.AppendUvarint(buf, uint64(m.Size))
}

func (m *Outcome) parse(t tag, d *decoder) bool {
	var state [1]byte
	d.fixed("the state", state[:])
	m.State = State(state[0])
	m.Size = d.size("the size")
	return t == tagOutcome
}

// limit refuses a field that is too long.
func limit(field string, n, most int) error {
	if n > most {
		return malformed("%s has %d bytes, which is above the limit of %d", field, n, most)
	}
	return nil
}

// positive refuses a size that no file can have.
func positive(field string, n int64) error {
	if n < 0 {
		return malformed("%s is negative", field)
	}
	return nil
}
