package stack

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/rpc"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"braid/bench/internal/blob"
)

func TestCodecsRefuseWhatIsNoBlob(t *testing.T) {
	const encode, decode = "cannot encode a string", "cannot decode a *string"
	if _, err := (grpcCodec{}).Marshal("text"); err == nil || err.Error() != encode {
		t.Errorf("got %v", err)
	}
	if err := (grpcCodec{}).Unmarshal(nil, new(string)); err == nil || err.Error() != decode {
		t.Errorf("got %v", err)
	}
	var c connect.Codec = connectCodec{}
	if _, err := c.Marshal("text"); err == nil || err.Error() != encode {
		t.Errorf("got %v", err)
	}
	if err := c.Unmarshal(nil, new(string)); err == nil || err.Error() != decode {
		t.Errorf("got %v", err)
	}
	n := newNetRPCCodec(new(wire))
	if err := n.WriteRequest(new(rpc.Request), "text"); err == nil || err.Error() != encode {
		t.Errorf("got %v", err)
	}
	if err := n.ReadResponseBody(new(string)); err == nil || err.Error() != decode {
		t.Errorf("got %v", err)
	}
}

// wire is a connection that keeps what is written to it.
type wire struct{ bytes.Buffer }

func (*wire) Close() error { return nil }

func TestAMessageOfNetRPCIsReadAsItWasWritten(t *testing.T) {
	w := new(wire)
	c := newNetRPCCodec(w)
	in := blob.New(10_000, 1)
	if err := c.WriteResponse(&rpc.Response{Seq: 7, ServiceMethod: "a.B", Error: "broken"}, struct{}{}); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteRequest(&rpc.Request{Seq: 8, ServiceMethod: "a.C"}, in); err != nil {
		t.Fatal(err)
	}
	var response rpc.Response
	if err := c.ReadResponseHeader(&response); err != nil || response.Seq != 7 || response.ServiceMethod != "a.B" || response.Error != "broken" {
		t.Errorf("%+v, %v", response, err)
	}
	if err := c.ReadResponseBody(nil); err != nil {
		t.Error(err)
	}
	var request rpc.Request
	if err := c.ReadRequestHeader(&request); err != nil || request.Seq != 8 || request.ServiceMethod != "a.C" {
		t.Errorf("%+v, %v", request, err)
	}
	var out blob.Blob
	if err := c.ReadRequestBody(&out); err != nil || !bytes.Equal(in.Data, out.Data) {
		t.Errorf("%d bytes, %v", len(out.Data), err)
	}
	if err := c.ReadRequestHeader(&request); err != io.EOF {
		t.Errorf("got %v after the last message, want %v", err, io.EOF)
	}
}

func TestAMessageOfNetRPCOverTheLimitIsRefused(t *testing.T) {
	for at, size := range map[int]uint32{9: netrpcMaxError + 1, 13: MaxSize + 1} {
		w := new(wire)
		header := make([]byte, netrpcHeader)
		binary.LittleEndian.PutUint32(header[at:], size)
		w.Write(header)
		if err := newNetRPCCodec(w).ReadRequestHeader(new(rpc.Request)); err == nil || !strings.Contains(err.Error(), "a message of") {
			t.Errorf("%d bytes at %d: got %v", size, at, err)
		}
	}
	name := strings.Repeat("x", 256)
	if err := newNetRPCCodec(new(wire)).WriteRequest(&rpc.Request{ServiceMethod: name}, new(blob.Blob)); err == nil {
		t.Error("a name of 256 bytes was written")
	}
}
