package floor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"

	"braid/bench/internal/blob"
)

// Handler handles a stream of the method given.
type Handler func(method string, stream *Stream) error

// Serve answers on one connection until it ends. It closes the connection.
func Serve(conn net.Conn, yields int, handle Handler) error {
	out := newSender(conn, yields)
	err := answer(conn, out, handle)
	out.Close()
	return errors.Join(err, conn.Close())
}

// answer sends back what it reads, and runs the handlers of streams.
func answer(conn net.Conn, out sender, handle Handler) error {
	rd := bufio.NewReaderSize(conn, readBuffer)
	var payload blob.Blob
	for {
		h, err := readHeader(rd)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := readPayload(rd, h.size, &payload); err != nil {
			return err
		}
		switch h.kind {
		case kindEcho:
			out.Send(kindEcho, h.number, payload.Data)
		case kindOpen:
			// The client sends nothing more until it has this answer, so that
			// nothing else waits to be written.
			stream := newStream(conn, rd, nil)
			stream.wr.buf = appendHeader(nil, kindOpen, 0, 0)
			if err := run(stream, string(payload.Data), handle); err != nil {
				return err
			}
		default:
			return fmt.Errorf("floor: frame of kind %d without a stream", h.kind)
		}
	}
}

// run runs a handler, tells the client what it has returned, and reads what the
// client still sends.
func run(stream *Stream, method string, handle Handler) error {
	if err := stream.wr.flush(); err != nil {
		return err
	}
	if err := stream.finish(handle(method, stream)); err != nil {
		return err
	}
	var rest blob.Blob
	for {
		if err := stream.Recv(&rest); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
