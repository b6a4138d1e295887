package drpcwire

import (
	"math"
	"time"

	"storj.io/drpc"
)

// MinWindow is the smallest initial window that may be announced, in bytes. A
// smaller one could not hold a frame that is worth sending, nor what a receiver
// leaves ungranted between two grants.
const MinWindow = 1 << 10

// FrameCost is what a frame of kind Message costs in credit besides the length
// of its data, in bytes: messages without data take memory, too.
const FrameCost = 64

// CreditFrame makes the frame that gives a stream n more bytes of credit.
func CreditFrame(stream, n uint64) Frame {
	return Frame{ID: ID{Stream: stream}, Kind: KindWindowUpdate, Control: true, Done: true, Data: AppendVarint(nil, n)}
}

// ParseCredit decodes the data of a KindWindowUpdate frame. ok is false if it is
// not exactly one varint. The value may be out of range (1 to MaxCredit): that is
// the fault of one stream, and not of the connection.
func ParseCredit(data []byte) (n uint64, ok bool) {
	rem, n, ok, err := ReadVarint(data)
	return n, ok && err == nil && len(rem) == 0
}

// PingLen is the length of the data of KindPing and KindPong, in bytes.
const PingLen = 8

// ParsePing decodes the data of a KindPing or KindPong frame.
func ParsePing(data []byte) (ping [PingLen]byte, ok bool) {
	return ping, copy(ping[:], data) == PingLen && len(data) == PingLen
}

// GoAway is the data of a KindGoAway frame: the sender takes no more streams.
type GoAway struct {
	Last uint64 // the highest stream id that was taken; 0 if none was
	Code uint64 // of drpcerr; 0 if there is nothing wrong
	Text string // why
}

// maxGoAwayText bounds the text of a GoAway, which goes into errors and logs.
const maxGoAwayText = 1 << 10

// GoAwayFrame makes a frame of g. A long text is cut.
func GoAwayFrame(g GoAway) Frame {
	data := AppendVarint(AppendVarint(nil, g.Last), g.Code)
	data = append(data, cutText(g.Text, maxGoAwayText)...)
	return Frame{Kind: KindGoAway, Control: true, Done: true, Data: data}
}

// ParseGoAway decodes the data of a KindGoAway frame.
func ParseGoAway(data []byte) (g GoAway, err error) {
	for _, field := range [...]*uint64{&g.Last, &g.Code} {
		var ok bool
		if data, *field, ok, err = ReadVarint(data); err != nil {
			return GoAway{}, drpc.ProtocolError.New("goaway: %v", err)
		} else if !ok {
			return GoAway{}, drpc.ProtocolError.New("goaway ends inside a number")
		}
	}
	g.Text = cutText(string(data), maxGoAwayText)
	return g, nil
}

// AppendTimeout appends the data of a KindTimeout packet: the time left, in whole
// microseconds, rounded up so that it is zero only when nothing is left.
func AppendTimeout(buf []byte, left time.Duration) []byte {
	if left <= 0 {
		return AppendVarint(buf, 0)
	}
	us := uint64(left / time.Microsecond)
	if left%time.Microsecond != 0 {
		us++
	}
	return AppendVarint(buf, us)
}

// ParseTimeout decodes the data of a KindTimeout packet. A time beyond what a
// time.Duration can hold (292 years) is the longest there is.
func ParseTimeout(data []byte) (left time.Duration, err error) {
	rem, us, ok, err := ReadVarint(data)
	switch {
	case err != nil:
		return 0, drpc.ProtocolError.New("timeout: %v", err)
	case !ok || len(rem) > 0:
		return 0, drpc.ProtocolError.New("timeout is not one number (%d bytes)", len(data))
	case us > math.MaxInt64/uint64(time.Microsecond):
		return math.MaxInt64, nil
	}
	return time.Duration(us) * time.Microsecond, nil
}
