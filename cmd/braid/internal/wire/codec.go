package wire

import (
	"fmt"
	"sync/atomic"

	"storj.io/drpc"
)

// message is implemented by pointers to the messages of this package.
type message interface {
	// check refuses what the protocol does not allow.
	check() error
	// appendTo appends the tag and the fields.
	appendTo(buf []byte) []byte
	// parse takes the fields and says whether the tag was one of its own.
	parse(t tag, d *decoder) bool
}

// Traffic counts what passes one end of some streams. All of it can be read
// while they run.
type Traffic struct {
	Streams                atomic.Int64
	Sent, SentBytes        atomic.Int64 // messages, and their encoded size
	Received, ReceivedSize atomic.Int64 // likewise
}

// Codec is the drpc.Encoding of the messages in this package. The zero value
// works. It counts only messages that follow the protocol.
type Codec struct {
	traffic *Traffic // may be nil
}

var _ drpc.Encoding = Codec{}

// Marshal returns the encoding of a message.
func (c Codec) Marshal(msg drpc.Message) ([]byte, error) {
	return c.MarshalAppend(nil, msg)
}

// MarshalAppend appends the encoding of a message to buf. A stream uses it in
// place of Marshal and hands its own buffer in, which saves an allocation and a
// copy of every chunk.
func (c Codec) MarshalAppend(buf []byte, msg drpc.Message) ([]byte, error) {
	m, ok := msg.(message)
	if !ok {
		return nil, fmt.Errorf("%T is not a message of the copy protocol", msg)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	before := len(buf)
	buf = m.appendTo(buf)
	if c.traffic != nil {
		c.traffic.Sent.Add(1)
		c.traffic.SentBytes.Add(int64(len(buf) - before))
	}
	return buf, nil
}

// Unmarshal reads a message. It copies what it keeps.
func (c Codec) Unmarshal(buf []byte, msg drpc.Message) error {
	m, ok := msg.(message)
	if !ok {
		return fmt.Errorf("%T is not a message of the copy protocol", msg)
	}
	d := decoder{buf: buf}
	t := d.tag()
	if d.err == nil && !m.parse(t, &d) {
		return malformed("its tag %d does not belong here", t)
	}
	if err := d.finish(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	if c.traffic != nil {
		c.traffic.Received.Add(1)
		c.traffic.ReceivedSize.Add(int64(len(buf)))
	}
	return nil
}
