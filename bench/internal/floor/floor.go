// Package floor is a length-prefixed echo over one TCP connection: about the
// least that any multiplexed call can cost on a machine. It has no streams, no
// flow control, no cancellation and no dispatch, and its server answers from
// the goroutine that reads.
package floor

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"braid/bench/internal/blob"
	"braid/bench/internal/job"
)

// Direct as the number of yields stands for no writer goroutine: everyone
// writes their own frame to the connection at once.
const Direct = -1

// A frame is the size of its payload, the caller it belongs to, the payload.
const headerSize = 8

// readBuffer is how much either side reads at once.
const readBuffer = 64 << 10

// Floor is a job that echoes.
type Floor struct {
	size    int
	conn    net.Conn
	out     sender
	callers []*caller
	stop    func() error
}

var _ job.Job = (*Floor)(nil)

// caller waits for one echo at a time.
type caller struct {
	id, seq uint64
	in, out blob.Blob
	reply   chan error
}

// New starts the server, connects to it, and exchanges a first frame for every
// caller. A writer goroutine on either side yields the given number of times
// before it writes what has been gathered.
func New(callers, size, yields int) (*Floor, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	served := make(chan error, 1)
	go func() { served <- serve(lis, yields) }()
	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		return nil, errors.Join(err, lis.Close(), <-served)
	}
	f := &Floor{size: size, conn: conn, out: newSender(conn, yields)}
	for i := range callers {
		c := &caller{id: uint64(i), in: *blob.New(size, uint64(i)), reply: make(chan error, 1)}
		c.out.Data = make([]byte, size)
		f.callers = append(f.callers, c)
	}
	received := make(chan error, 1)
	go func() { received <- f.receive() }()
	f.stop = func() error {
		f.out.Close()
		return errors.Join(conn.Close(), <-received, <-served)
	}
	if err := f.Run(callers); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Run implements job.Job.
func (f *Floor) Run(n int) error {
	return job.Spread(n, len(f.callers), func(i int) error {
		c := f.callers[i]
		c.seq++
		c.in.Stamp(c.id, c.seq)
		f.out.Send(uint32(i), c.in.Data)
		if err := <-c.reply; err != nil {
			return err
		}
		return c.out.Check(f.size, c.id, c.seq)
	})
}

// Close implements job.Job.
func (f *Floor) Close() error { return f.stop() }

// receive hands every echo to the caller it belongs to.
func (f *Floor) receive() (err error) {
	defer func() {
		for _, c := range f.callers {
			select {
			case c.reply <- fmt.Errorf("floor: connection ended: %w", err):
			default:
			}
		}
		if errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}()
	rd := bufio.NewReaderSize(f.conn, readBuffer)
	for {
		size, id, err := readHeader(rd)
		if err != nil {
			return err
		}
		if size != f.size || id >= len(f.callers) {
			return fmt.Errorf("floor: frame of %d bytes for caller %d", size, id)
		}
		c := f.callers[id]
		if _, err := io.ReadFull(rd, c.out.Data); err != nil {
			return err
		}
		c.reply <- nil
	}
}

// serve accepts one connection and echoes until it ends.
func serve(lis net.Listener, yields int) error {
	conn, err := lis.Accept()
	if err := errors.Join(err, lis.Close()); err != nil {
		return err
	}
	out := newSender(conn, yields)
	err = echo(conn, out)
	out.Close()
	return errors.Join(err, conn.Close())
}

// echo sends back what it reads.
func echo(conn net.Conn, out sender) error {
	rd := bufio.NewReaderSize(conn, readBuffer)
	var payload []byte
	for {
		size, id, err := readHeader(rd)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if cap(payload) < size {
			payload = make([]byte, size)
		}
		payload = payload[:size]
		if _, err := io.ReadFull(rd, payload); err != nil {
			return err
		}
		out.Send(uint32(id), payload)
	}
}

// readHeader reads what precedes a payload.
func readHeader(rd *bufio.Reader) (size, id int, err error) {
	header, err := rd.Peek(headerSize)
	if err != nil {
		return 0, 0, err
	}
	size = int(binary.LittleEndian.Uint32(header[0:4]))
	id = int(binary.LittleEndian.Uint32(header[4:8]))
	_, err = rd.Discard(headerSize)
	return size, id, err
}

// appendFrame appends a frame.
func appendFrame(buf []byte, id uint32, payload []byte) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(payload)))
	buf = binary.LittleEndian.AppendUint32(buf, id)
	return append(buf, payload...)
}
