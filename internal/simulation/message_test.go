package simulation_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"

	"braid/drpcwire"
)

// noise is what messages are made of.
var noise = func() []byte {
	buf := make([]byte, maxMessage+1<<16)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(buf)
	return buf
}()

// headerLen is the size of what a message says of itself, if it has room for that:
// stream, direction, sequence, length and checksum.
const headerLen = 16

// payload returns the seq-th message of a direction of a stream.
func payload(stream int, dir byte, seq, n int) []byte {
	at := (stream*7919 + int(dir)*104729 + seq*1299709) % (1 << 16)
	buf := bytes.Clone(noise[at : at+n])
	if n >= headerLen {
		binary.BigEndian.PutUint16(buf, uint16(stream))
		buf[2], buf[3] = dir, 0
		binary.BigEndian.PutUint32(buf[4:], uint32(seq))
		binary.BigEndian.PutUint32(buf[8:], uint32(n))
		binary.BigEndian.PutUint32(buf[12:], crc32.ChecksumIEEE(buf[headerLen:]))
	}
	return buf
}

// describe says what a message is, by its own word.
func describe(msg []byte) string {
	if len(msg) < headerLen {
		return fmt.Sprintf("%d bytes", len(msg))
	}
	return fmt.Sprintf("stream %d %c, number %d of %d bytes (%d here; checksum ok: %v)",
		binary.BigEndian.Uint16(msg), msg[2], binary.BigEndian.Uint32(msg[4:]), binary.BigEndian.Uint32(msg[8:]),
		len(msg), binary.BigEndian.Uint32(msg[12:]) == crc32.ChecksumIEEE(msg[headerLen:]))
}

// fate is what has become of a message, as its sender knows it.
type fate byte

const (
	sending   fate = iota
	sent           // the send has returned nil
	abandoned      // it has failed and the stream lives: nothing of it is received
	failed         // it has failed with the stream: nothing of it is received
)

// sendLog is what was sent in one direction of a stream, and how far it was
// received. A message is only received once its send has begun, and the fate of one
// send is known before the next begins.
type sendLog struct {
	stream int
	dir    byte // 'c' from the client, 's' from the server

	mu       sync.Mutex
	sizes    []int // guarded by mu, like all below
	fates    []fate
	received []int // sequence numbers
	next     int   // none below it is received from here on
	over     bool  // CloseSend was called
	closed   bool  // it has returned nil
	early    int64 // credit of the sends that began when the peer was not known
}

// begin adds a message and returns it.
func (l *sendLog) begin(n int, known bool) (seq int, msg []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq = len(l.sizes)
	l.sizes = append(l.sizes, n)
	l.fates = append(l.fates, sending)
	if !known {
		l.early += mostCredit(n)
	}
	return seq, payload(l.stream, l.dir, seq, n)
}

// mostCredit is what a message costs, however it is split.
func mostCredit(n int) int64 { return int64(n) + drpcwire.FrameCost*int64(n+2) }

// addEarly notes that a message which is in no log is sent to a peer that is not known.
func (l *sendLog) addEarly(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.early += mostCredit(n)
}

// end notes the fate of a message.
func (l *sendLog) end(seq int, f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fates[seq] = f
}

// closing notes that the sender is about to close.
func (l *sendLog) closing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

func (l *sendLog) closeSend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// receive checks a message that has come against the one that is due.
func (l *sendLog) receive(msg []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.next < len(l.fates) && l.fates[l.next] == abandoned {
		l.next++
	}
	if l.next == len(l.fates) {
		return fmt.Errorf("received %s, and all that was sent was received", describe(msg))
	}
	if want := payload(l.stream, l.dir, l.next, l.sizes[l.next]); !bytes.Equal(msg, want) {
		return fmt.Errorf("received %s, want %s", describe(msg), describe(want))
	}
	l.received = append(l.received, l.next)
	l.next++
	return nil
}

// check is called when both sides are done. clean says that the receiver has seen
// the regular end of all messages.
func (l *sendLog) check(clean bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range l.received {
		if f := l.fates[seq]; f != sent {
			return fmt.Errorf("message %d was received, and its send has failed (%d)", seq, f)
		}
	}
	count := 0
	for _, f := range l.fates {
		if f == sent {
			count++
		}
	}
	if clean && l.closed && count != len(l.received) {
		return fmt.Errorf("%d of %d messages were received before io.EOF", len(l.received), count)
	}
	return nil
}

// totals returns what was sent, and how many sends were abandoned.
func (l *sendLog) totals() (messages, size, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq, f := range l.fates {
		if f == abandoned {
			lost++
		}
		size += l.sizes[seq]
	}
	return len(l.fates), size, lost
}

// isClosed reports whether the sender is done.
func (l *sendLog) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

func (l *sendLog) earlyCredit() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.early
}
