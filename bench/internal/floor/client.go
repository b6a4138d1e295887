package floor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"braid/bench/internal/blob"
)

// Client is the client side of a connection. Its methods may be called
// concurrently, but calls and streams exclude each other: a call made while a
// stream is open breaks the connection.
type Client struct {
	conn  net.Conn
	out   sender
	slots []slot // the index is the number in the frames

	// given has the reader of the connection for a stream that has been opened,
	// and taken has it back when that has ended.
	given   chan *bufio.Reader
	taken   chan struct{}
	closing chan struct{} // closed by Close
	close   sync.Once
	done    chan struct{} // closed when the reading goroutine has ended
	err     error         // why it has; to be read after done

	streaming sync.Mutex // held while a stream is open

	mu   sync.Mutex
	free []*slot // guarded by mu
}

// slot is what a caller waits with.
type slot struct {
	number uint32
	out    *blob.Blob // set by the caller before it sends
	reply  chan error
}

// NewClient makes a client for as many callers at once as are given. Its writer
// yields as often as given before it writes what has been gathered.
func NewClient(conn net.Conn, callers, yields int) (*Client, error) {
	if callers < 1 || callers > maxNumber {
		return nil, fmt.Errorf("floor: %d callers", callers)
	}
	c := &Client{
		conn:    conn,
		out:     newSender(conn, yields),
		slots:   make([]slot, callers),
		given:   make(chan *bufio.Reader),
		taken:   make(chan struct{}),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	for i := range c.slots {
		c.slots[i] = slot{number: uint32(i), reply: make(chan error, 1)}
		c.free = append(c.free, &c.slots[i])
	}
	go c.receive() // ends with the connection
	return c, nil
}

// Echo sends a message and receives the answer into out. The end of the
// connection unblocks it, and nothing else does.
func (c *Client) Echo(in, out *blob.Blob) error {
	c.mu.Lock()
	last := len(c.free) - 1
	if last < 0 {
		c.mu.Unlock()
		return fmt.Errorf("floor: more than %d calls at once, or the connection has ended", len(c.slots))
	}
	s := c.free[last]
	c.free = c.free[:last]
	c.mu.Unlock()

	s.out = out
	c.out.Send(kindEcho, s.number, in.Data)
	if err := <-s.reply; err != nil {
		return err // and nobody uses the slot again
	}
	c.mu.Lock()
	c.free = append(c.free, s)
	c.mu.Unlock()
	return nil
}

// Open opens a stream when the one before it has been closed.
func (c *Client) Open(method string) (*Stream, error) {
	c.streaming.Lock()
	c.out.Send(kindOpen, 0, []byte(method))
	select {
	case rd := <-c.given:
		return newStream(c.conn, rd, func() {
			select {
			case c.taken <- struct{}{}:
			case <-c.done:
			}
			c.streaming.Unlock()
		}), nil
	case <-c.done:
		c.streaming.Unlock()
		return nil, c.err
	}
}

// Close closes the connection, and with it a stream that is open, and waits for
// the goroutine that reads.
func (c *Client) Close() (err error) {
	c.close.Do(func() {
		close(c.closing)
		c.out.Close()
		err = c.conn.Close()
	})
	<-c.done
	return err
}

// receive hands every echo to the caller it belongs to, and the connection to
// streams.
func (c *Client) receive() {
	defer close(c.done)
	err := c.read(bufio.NewReaderSize(c.conn, readBuffer))
	c.err = fmt.Errorf("floor: connection ended: %w", err)
	for i := range c.slots {
		c.slots[i].reply <- c.err // also for a call that is still to come
	}
}

// read reads until the connection ends.
func (c *Client) read(rd *bufio.Reader) error {
	for {
		h, err := readHeader(rd)
		switch {
		case err != nil:
			return err
		case h.kind == kindEcho && int(h.number) < len(c.slots):
			s := &c.slots[h.number]
			if err := readPayload(rd, h.size, s.out); err != nil {
				return err
			}
			s.reply <- nil
		case h.kind == kindOpen:
			if _, err := rd.Discard(h.size); err != nil {
				return err
			}
			select {
			case c.given <- rd:
			case <-c.closing:
				return net.ErrClosed
			}
			select {
			case <-c.taken:
			case <-c.closing: // the stream reads on, and finds the connection closed
				return net.ErrClosed
			}
		default:
			return fmt.Errorf("floor: frame of kind %d with number %d", h.kind, h.number)
		}
	}
}

// errStreamEnded says that a stream is used after it has been closed.
var errStreamEnded = errors.New("floor: the stream has ended")

// Close ends the stream in both directions: it says that no more is sent, and
// reads what still comes until the handler has returned. An endless download
// ends with the connection alone.
func (s *Stream) Close() error {
	if s.release == nil {
		return errStreamEnded
	}
	err := s.CloseSend()
	var rest blob.Blob
	for err == nil {
		err = s.Recv(&rest)
	}
	s.release()
	s.release = nil
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
