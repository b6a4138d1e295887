package drpcwire

import (
	"errors"
	"fmt"

	"storj.io/drpc"
)

// Packet is one whole message of a stream.
type Packet struct {
	Data    []byte
	ID      ID
	Kind    Kind
	Control bool // any of its frames had the control bit
}

// String returns a readable form of the packet, without its data.
func (p Packet) String() string {
	return fmt.Sprintf("<pkt s:%d m:%d data:%d kind:%s>",
		p.ID.Stream, p.ID.Message, len(p.Data), p.Kind)
}

// ErrTooLarge is returned by Assembler.Append for a packet over the limit.
var ErrTooLarge = errors.New("packet exceeds the size limit")

// Assembler joins the frames of one stream into packets and checks the rules
// that hold within a stream (docs/wire.md, "Frame rules"):
//
//   - a message id never goes back;
//   - it is not used again after its packet is done;
//   - a higher id drops the packet that is being assembled, which is how a
//     sender abandons one;
//   - the kind does not change within a packet.
//
// The zero value is ready for the first frame of a stream. An Assembler is
// owned by one goroutine.
type Assembler struct {
	data    []byte // of the packet being assembled, or the last one
	message uint64 // its id
	kind    Kind
	control bool
	open    bool // it waits for more frames
	first   bool // the last frame was the first of its packet
	foreign bool // the storage is somebody else's, and not shared when it is outgrown
}

// Buffered returns the number of bytes held for an unfinished packet.
func (a *Assembler) Buffered() int {
	if !a.open {
		return 0
	}
	return len(a.data)
}

// Abandons reports whether the frame, when it is appended, drops a packet that is
// incomplete.
func (a *Assembler) Abandons(fr Frame) bool { return a.open && fr.ID.Message > a.message }

// First reports whether the frame appended last was the first of its packet, or a
// piece of that.
func (a *Assembler) First() bool { return a.first }

// SkipTo takes messages for appended of which each is whole, the ids of the first and
// the last being given. It reports false, and does nothing, if the rules do not allow them
// here or if a packet is incomplete.
func (a *Assembler) SkipTo(first, last uint64) bool {
	if a.open || first <= a.message {
		return false
	}
	a.message, a.kind = last, KindMessage
	return true
}

// Use gives the assembler storage for the packets to come, in place of what it
// has; it may end up with other streams (see Release). Use must be called between
// packets only, by an owner that keeps the data of the packet it was just given.
func (a *Assembler) Use(buf []byte) { a.data = buf[:0] }

// Storage returns what Use has given, empty, for an owner that has a use for it between
// packets and gives it back by Use.
func (a *Assembler) Storage() []byte { return a.data[:0] }

// Append adds one frame. When the frame completes a packet, done is true and
// pkt is valid until the next call; its data belongs to the assembler unless
// the owner replaces the storage by Use.
//
// more is the number of bytes known to follow in the same frame, for a frame
// that arrives in pieces (see Reader.ReadFrame); a packet whose size with them
// exceeds limit gives ErrTooLarge before anything is stored. Any other error
// is a drpc.ProtocolError: the peer broke a rule.
func (a *Assembler) Append(fr Frame, more uint64, limit int) (pkt Packet, done bool, err error) {
	switch {
	case fr.ID.Message == 0:
		return Packet{}, false, drpc.ProtocolError.New("message id 0 (%v)", fr)
	case fr.ID.Message < a.message:
		return Packet{}, false, drpc.ProtocolError.New("message id went back from %d (%v)", a.message, fr)
	case fr.ID.Message == a.message && !a.open:
		return Packet{}, false, drpc.ProtocolError.New("message id used again after done (%v)", fr)
	case fr.ID.Message == a.message && fr.Kind != a.kind:
		return Packet{}, false, drpc.ProtocolError.New("kind changed within a packet from %v (%v)", a.kind, fr)
	case fr.ID.Message > a.message:
		if a.open && !a.foreign { // it may be large, and what comes next need not be
			Release(a.data)
			a.data = nil
		}
		a.data, a.message, a.kind, a.control = a.data[:0], fr.ID.Message, fr.Kind, false
		a.open, a.first = true, true
	default:
		a.first = false
	}
	// more comes from the wire: compared without adding, it cannot overflow.
	if size := len(a.data) + len(fr.Data); size > limit || more > uint64(limit-size) {
		return Packet{}, false, ErrTooLarge
	}
	a.control = a.control || fr.Control
	if n := len(a.data) + len(fr.Data); a.isInPlace(fr.Data) {
		a.data = a.data[:n]
	} else {
		a.grow(n)
		a.data = append(a.data, fr.Data...)
	}
	a.open = !fr.Done
	return Packet{Data: a.data, ID: fr.ID, Kind: a.kind, Control: a.control}, fr.Done, nil
}

// grow makes room for a packet of n bytes.
func (a *Assembler) grow(n int) {
	if n <= cap(a.data) {
		return
	}
	old := a.data
	if a.foreign {
		old = append([]byte(nil), old...)
		a.foreign = false
	}
	a.data = Grow(old, n)
}

// Reserve returns room for the next bytes of the packet that is being assembled, n of
// them or more. A frame may then be appended whose data lies at its beginning.
func (a *Assembler) Reserve(n int) []byte {
	size := len(a.data)
	a.grow(size + n)
	return a.data[size:cap(a.data)]
}

// Expect makes room for a packet of n bytes, if one is being assembled.
func (a *Assembler) Expect(n int) {
	if a.open {
		a.grow(n)
	}
}

// isInPlace reports whether the data lies where it belongs, behind the packet's.
func (a *Assembler) isInPlace(data []byte) bool {
	size := len(a.data)
	return len(data) > 0 && len(data) <= cap(a.data)-size && &data[0] == &a.data[:size+1][size]
}
