package drpcwire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
)

// Kind says what a packet means. See docs/wire.md, "Kinds".
type Kind uint8

// The kinds of storj.io/drpc. They are sent without the control bit, except
// for KindCancel.
const (
	KindInvoke         Kind = 1 // opens a stream; the data is the name of the rpc
	KindMessage        Kind = 2 // one encoded message
	KindError          Kind = 3 // ends the stream with an error, see MarshalError
	KindCancel         Kind = 4 // ends the stream by cancellation, see AppendCancel
	KindClose          Kind = 5 // ends the stream; no data
	KindCloseSend      Kind = 6 // the sender sends no more messages; no data
	KindInvokeMetadata Kind = 7 // metadata of the Invoke that follows
)

// The kinds of braid. All carry the control bit, by which a peer that does not
// know them ignores them. Only KindSettings goes to a peer that has not
// announced itself.
const (
	KindWindowUpdate Kind = 8  // more credit for one stream
	KindSettings     Kind = 9  // announces braid and its parameters
	KindPing         Kind = 10 // asks for a KindPong with the same data
	KindPong         Kind = 11 // answers a KindPing
	KindGoAway       Kind = 12 // no new streams are accepted
	KindTimeout      Kind = 13 // time left for the Invoke that follows
	KindHeader       Kind = 14 // reserved for response metadata
	KindTrailer      Kind = 15 // reserved for response metadata
)

// kindMask is the width of a kind on the wire: six bits.
const kindMask = 0x3f

var kindNames = [...]string{
	KindInvoke: "Invoke", KindMessage: "Message", KindError: "Error",
	KindCancel: "Cancel", KindClose: "Close", KindCloseSend: "CloseSend",
	KindInvokeMetadata: "InvokeMetadata", KindWindowUpdate: "WindowUpdate",
	KindSettings: "Settings", KindPing: "Ping", KindPong: "Pong",
	KindGoAway: "GoAway", KindTimeout: "Timeout", KindHeader: "Header",
	KindTrailer: "Trailer",
}

// String returns the name of the kind, or "Kind(n)" for one without a name.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// ID names a packet on a connection.
type ID struct {
	Stream  uint64 // the stream; 0 is the connection itself
	Message uint64 // rises within the stream, per direction; 0 is for control frames
}

// Less reports whether i comes before j: by stream, then by message.
func (i ID) Less(j ID) bool {
	return i.Stream < j.Stream || i.Stream == j.Stream && i.Message < j.Message
}

// String returns a readable form of the id.
func (i ID) String() string { return fmt.Sprintf("<id s:%d m:%d>", i.Stream, i.Message) }

// Frame is the unit on the wire.
type Frame struct {
	Data    []byte
	ID      ID
	Kind    Kind
	Done    bool // the last frame of its packet
	Control bool // a receiver that does not know the kind ignores the frame
}

// String returns a readable form of the frame, without its data.
func (fr Frame) String() string {
	return fmt.Sprintf("<frm s:%d m:%d data:%d kind:%s done:%v>",
		fr.ID.Stream, fr.ID.Message, len(fr.Data), fr.Kind, fr.Done)
}

// The layout of a frame's first byte.
const (
	doneBit    = 0x01
	controlBit = 0x80
)

// How a message in one frame and a CloseSend begin.
const (
	plainMessage   = byte(KindMessage)<<1 | doneBit
	plainCloseSend = byte(KindCloseSend)<<1 | doneBit
)

// maxHeaderLen is the most bytes that a frame adds to its data: the control
// byte, the stream id, the message id and the length.
const maxHeaderLen = 1 + 3*maxVarintLen

// AppendFrame appends the encoding of fr to buf.
func AppendFrame(buf []byte, fr Frame) []byte {
	return appendFrame(buf, fr.control(), fr.ID, fr.Data)
}

// control returns the first byte of the encoding.
func (fr *Frame) control() byte {
	control := byte(fr.Kind&kindMask) << 1
	if fr.Done {
		control |= doneBit
	}
	if fr.Control {
		control |= controlBit
	}
	return control
}

// appendFrame appends a frame that begins with this byte.
func appendFrame(buf []byte, control byte, id ID, data []byte) []byte {
	at := len(buf)
	buf = slices.Grow(buf, maxHeaderLen+len(data))[:at+maxHeaderLen+len(data)]
	buf[at] = control
	at++
	at += binary.PutUvarint(buf[at:], id.Stream)
	at += binary.PutUvarint(buf[at:], id.Message)
	at += binary.PutUvarint(buf[at:], uint64(len(data)))
	return buf[:at+copy(buf[at:], data)]
}

// frameLen returns an upper bound of the size of fr's encoding.
func frameLen(fr *Frame) int { return maxHeaderLen + len(fr.Data) }

// parseHeader parses everything of a frame but its data, of which it returns
// the declared length. When buf ends inside the header, ok is false.
func parseHeader(buf []byte) (rem []byte, fr Frame, length uint64, ok bool, err error) {
	// The shortest frame has four bytes, so with fewer the header is not whole.
	if len(buf) < 4 {
		return buf, Frame{}, 0, false, nil
	}
	fr.Done = buf[0]&doneBit != 0
	fr.Control = buf[0]&controlBit != 0
	fr.Kind = Kind(buf[0]>>1) & kindMask
	rem = buf[1:]
	for _, field := range [...]*uint64{&fr.ID.Stream, &fr.ID.Message, &length} {
		if rem, *field, ok, err = ReadVarint(rem); !ok || err != nil {
			return buf, Frame{}, 0, false, err
		}
	}
	return rem, fr, length, true, nil
}

// ParseFrame parses the frame at the front of buf and returns what follows it.
// The frame's data is a part of buf. When buf ends inside the frame, ok is
// false and rem is buf. Malformed input is an error.
func ParseFrame(buf []byte) (rem []byte, fr Frame, ok bool, err error) {
	rem, fr, length, ok, err := parseHeader(buf)
	if err != nil || !ok || length > uint64(len(rem)) {
		return buf, Frame{}, false, err
	}
	fr.Data = rem[:length:length]
	return rem[length:], fr, true, nil
}
