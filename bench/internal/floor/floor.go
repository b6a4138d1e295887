// Package floor is a length-prefixed echo over one TCP connection, and messages
// one way over it: about the least that a stack can cost on a machine. It has no
// flow control, no cancellation and no dispatch: its server answers from the
// goroutine that reads, and a stream has the connection for itself.
package floor

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"braid/bench/internal/blob"
)

// Direct as the number of yields stands for no writer goroutine: everyone
// writes their own frame to the connection at once.
const Direct = -1

// A frame is the size of its payload, its kind, a number, the payload. The
// number says which caller an echo belongs to.
const (
	headerSize = 8
	kindShift  = 28
	maxNumber  = 1<<kindShift - 1
)

// kind is what a frame is for.
type kind uint32

// The kinds.
const (
	kindEcho kind = iota // to be sent back as it is
	kindOpen             // opens a stream; the payload names the method; sent back when it is open
	kindData             // a message of the stream
	kindEnd              // the last frame of the stream in this direction; the payload is an error, if any
)

// readBuffer is how much either side reads at once.
const readBuffer = 64 << 10

// maxPayload is the largest payload in bytes.
const maxPayload = 1 << 30

// header is what precedes a payload.
type header struct {
	size   int
	kind   kind
	number uint32
}

// readHeader reads a header.
func readHeader(rd *bufio.Reader) (header, error) {
	raw, err := rd.Peek(headerSize)
	if err != nil {
		return header{}, err
	}
	size, id := binary.LittleEndian.Uint32(raw[0:4]), binary.LittleEndian.Uint32(raw[4:8])
	h := header{int(size), kind(id >> kindShift), id & maxNumber}
	if h.size > maxPayload || h.kind > kindEnd {
		return header{}, fmt.Errorf("floor: frame of kind %d with %d bytes", h.kind, h.size)
	}
	_, err = rd.Discard(headerSize)
	return h, err
}

// appendHeader appends a header.
func appendHeader(buf []byte, k kind, number uint32, size int) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(size))
	return binary.LittleEndian.AppendUint32(buf, uint32(k)<<kindShift|number)
}

// readPayload reads a payload into the memory of a message.
func readPayload(rd *bufio.Reader, size int, msg *blob.Blob) error {
	if cap(msg.Data) < size {
		msg.Data = make([]byte, size)
	}
	msg.Data = msg.Data[:size]
	_, err := io.ReadFull(rd, msg.Data)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
