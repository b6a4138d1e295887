package blob

import "encoding/binary"

// Tally is what one end of a stream has counted.
type Tally struct {
	Messages, Bytes uint64
}

// tallyMark begins a tally. No stamp is that high.
const tallyMark = ^uint64(0)

// tallySize is the size of a tally in bytes: the mark and two numbers.
const tallySize = 24

// AppendTo appends the tally as a message.
func (t Tally) AppendTo(p []byte) []byte {
	p = binary.LittleEndian.AppendUint64(p, tallyMark)
	p = binary.LittleEndian.AppendUint64(p, t.Messages)
	return binary.LittleEndian.AppendUint64(p, t.Bytes)
}

// TallyOf reads a tally. It is not ok if the message is none.
func TallyOf(p []byte) (t Tally, ok bool) {
	if len(p) != tallySize || binary.LittleEndian.Uint64(p) != tallyMark {
		return Tally{}, false
	}
	return Tally{binary.LittleEndian.Uint64(p[8:]), binary.LittleEndian.Uint64(p[16:])}, true
}

// Ask is what a client says first on a download: the size of each message in bytes.
type Ask struct {
	Size uint64
}

// AppendTo appends the ask as a message.
func (a Ask) AppendTo(p []byte) []byte { return binary.LittleEndian.AppendUint64(p, a.Size) }

// AskOf reads an ask. It is not ok if the message is none, or asks for more than
// MaxSize.
func AskOf(p []byte) (a Ask, ok bool) {
	if len(p) != 8 {
		return Ask{}, false
	}
	a.Size = binary.LittleEndian.Uint64(p)
	return a, a.Size <= MaxSize
}
