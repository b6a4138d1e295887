package floor

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"braid/bench/internal/blob"
)

// pair returns a client of a server with the handler given. Both end with the
// test.
func pair(t *testing.T, callers int, handle Handler) *Client {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { // ends with the connection
		conn, err := lis.Accept()
		if err == nil {
			err = Serve(conn, Direct, handle)
		}
		served <- err
	}()
	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(conn, callers, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close() // a test may have closed it
		<-served
		_ = lis.Close()
	})
	return c
}

func TestWhatAHandlerReturnsReachesTheClient(t *testing.T) {
	c := pair(t, 1, func(method string, stream *Stream) error {
		if method != "fail" {
			return nil
		}
		if err := stream.Send(blob.New(10, 1)); err != nil {
			return err
		}
		return errors.New("broken today")
	})
	for _, method := range []string{"fail", "succeed", "fail"} { // one after the other, over one connection
		stream, err := c.Open(method)
		if err != nil {
			t.Fatal(err)
		}
		var in blob.Blob
		if method == "fail" {
			if err := stream.Recv(&in); err != nil || len(in.Data) != 10 {
				t.Errorf("%d bytes, %v", len(in.Data), err)
			}
			if err := stream.Recv(&in); err == nil || err.Error() != "broken today" {
				t.Errorf("got %v", err)
			}
			_ = stream.Close() // it has ended with the error
		} else if err := stream.Close(); err != nil {
			t.Error(err)
		}
		if err := stream.Close(); !errors.Is(err, errStreamEnded) {
			t.Errorf("closed twice: %v", err)
		}
		out := blob.New(100, 2)
		if err := c.Echo(out, &in); err != nil || !bytes.Equal(in.Data, out.Data) {
			t.Errorf("a call after a stream: %d bytes, %v", len(in.Data), err)
		}
	}
}

func TestTheEndOfTheConnectionEndsWhatWaits(t *testing.T) {
	waiting := make(chan struct{}, 1)
	c := pair(t, 2, func(_ string, stream *Stream) error {
		waiting <- struct{}{}
		return stream.Recv(new(blob.Blob))
	})
	stream, err := c.Open("wait")
	if err != nil {
		t.Fatal(err)
	}
	<-waiting
	received := make(chan error, 1)
	go func() { received <- stream.Recv(new(blob.Blob)) }()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-received; err == nil {
		t.Error("a stream has outlived its connection")
	}
	if err := c.Echo(blob.New(1, 1), new(blob.Blob)); err == nil || !strings.Contains(err.Error(), "connection ended") {
		t.Errorf("a call after the end: %v", err)
	}
	_ = stream.Close() // its connection has ended
	if _, err := c.Open("more"); err == nil || !strings.Contains(err.Error(), "connection ended") {
		t.Errorf("a stream after the end: %v", err)
	}
}

func TestMoreCallsThanThereAreCallersAreRefused(t *testing.T) {
	if _, err := NewClient(nil, 0, Direct); err == nil {
		t.Error("a client without callers was made")
	}
	if _, err := NewClient(nil, maxNumber+1, Direct); err == nil {
		t.Error("a client with more callers than numbers was made")
	}
	c := pair(t, 1, nil)
	c.free = nil
	if err := c.Echo(blob.New(1, 1), new(blob.Blob)); err == nil || !strings.Contains(err.Error(), "more than 1 calls") {
		t.Errorf("got %v", err)
	}
}

func TestFramesThatMakeNoSenseAreRefused(t *testing.T) {
	for name, raw := range map[string][]byte{
		"too large":       appendHeader(nil, kindEcho, 0, maxPayload+1),
		"no such kind":    appendHeader(nil, kindEnd+1, 0, 0),
		"no stream":       appendHeader(nil, kindData, 0, 0),
		"cut short":       appendHeader(nil, kindEcho, 0, 1),
		"a huge size too": binary.LittleEndian.AppendUint64(nil, 1<<32-1),
	} {
		ours, theirs := net.Pipe()
		go func() { // ends when it has written, or with the pipe
			_, _ = ours.Write(raw)
			_ = ours.Close()
		}()
		if err := answer(theirs, &directSender{conn: theirs}, nil); err == nil {
			t.Errorf("%s: it was taken", name)
		}
		_ = theirs.Close()
	}
	if _, err := readHeader(bufio.NewReader(bytes.NewReader(nil))); err != io.EOF {
		t.Errorf("nothing at all: %v, want %v", err, io.EOF)
	}
}
