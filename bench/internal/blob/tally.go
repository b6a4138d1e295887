package blob

import (
	"encoding/binary"
	"fmt"
)

// Tally is a number of messages and their bytes together.
type Tally struct {
	Messages, Bytes uint64
}

// Blob returns the tally as a message.
func (t Tally) Blob() *Blob {
	b := &Blob{Data: make([]byte, MinSize)}
	b.Stamp(t.Messages, t.Bytes)
	return b
}

// TallyOf reads a tally from a message.
func TallyOf(b *Blob) (Tally, error) {
	if len(b.Data) != MinSize {
		return Tally{}, fmt.Errorf("tally of %d bytes, want %d", len(b.Data), MinSize)
	}
	return Tally{
		Messages: binary.LittleEndian.Uint64(b.Data[0:8]),
		Bytes:    binary.LittleEndian.Uint64(b.Data[8:16]),
	}, nil
}
