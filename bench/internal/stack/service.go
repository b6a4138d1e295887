package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"braid/bench/internal/blob"
)

// ServiceName is the name of the service.
const ServiceName = "bench.Bench"

// Method is the name of a method of the service.
type Method string

// The methods. All but Echo take a stream.
const (
	MethodEcho     Method = "Echo"
	MethodUpload   Method = "Upload"
	MethodDownload Method = "Download"
	MethodPingPong Method = "PingPong"
	MethodStall    Method = "Stall"
)

// Path returns the name of the method with that of its service, as it goes over
// the wire.
func (m Method) Path() string { return paths[m] }

// paths has the names made, so that none is while a call is measured.
var paths = func() map[Method]string {
	paths := make(map[Method]string)
	for _, m := range []Method{MethodEcho, MethodUpload, MethodDownload, MethodPingPong, MethodStall} {
		paths[m] = "/" + ServiceName + "/" + string(m)
	}
	return paths
}()

// streamMethods are the methods that take a stream.
var streamMethods = []struct {
	name    Method
	handler func(*Service, Handle) error
}{
	{MethodUpload, (*Service).Upload},
	{MethodDownload, (*Service).Download},
	{MethodPingPong, (*Service).PingPong},
	{MethodStall, (*Service).Stall},
}

// The sizes in bytes of the messages that the service sends.
const (
	MinSize = blob.MinSize
	MaxSize = 64 << 20
)

// Endless is how many messages to ask a download for that is to go on until it
// is closed.
const Endless = 1 << 32

// Service is the server side. All stacks run the same handlers. Its methods may
// be called concurrently.
type Service struct {
	received atomic.Int64 // bytes that handlers of Upload have read

	mu    sync.Mutex
	spare map[int][]*blob.Blob // messages of handlers that have returned, by size; guarded by mu
}

// anySize is the size of messages that are received into.
const anySize = 0

// take returns a message of the given size, filled with some pattern. That
// handlers leave their messages to those after them keeps what it takes to make
// a large one out of short streams.
func (s *Service) take(size int) *blob.Blob {
	s.mu.Lock()
	defer s.mu.Unlock()
	spare := s.spare[size]
	if last := len(spare) - 1; last >= 0 {
		s.spare[size] = spare[:last]
		return spare[last]
	}
	return blob.New(size, 0)
}

// give leaves a message of the given size to others.
func (s *Service) give(size int, b *blob.Blob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spare == nil {
		s.spare = make(map[int][]*blob.Blob)
	}
	s.spare[size] = append(s.spare[size], b)
}

// Received returns how many bytes of payload the upload handlers have read.
func (s *Service) Received() int64 { return s.received.Load() }

// Echo returns its argument.
func (s *Service) Echo(_ context.Context, in *blob.Blob) (*blob.Blob, error) { return in, nil }

// Upload counts what it receives and answers with a tally. It expects the
// messages of the caller 0 in order, so that a stack that drops or reorders
// messages fails instead of looking fast.
func (s *Service) Upload(stream Handle) error {
	in := s.take(anySize)
	defer s.give(anySize, in)
	var tally blob.Tally
	for {
		err := stream.Recv(in)
		if errors.Is(err, io.EOF) {
			return stream.Send(tally.Blob())
		}
		if err != nil {
			return err
		}
		if err := in.Check(len(in.Data), 0, tally.Messages); err != nil {
			return err
		}
		tally.Messages++
		tally.Bytes += uint64(len(in.Data))
		s.received.Add(int64(len(in.Data)))
	}
}

// Download sends as many messages as the tally asks for that is the first
// message of the client, stamped with their number.
func (s *Service) Download(stream Handle) error {
	var ask blob.Blob
	if err := stream.Recv(&ask); err != nil {
		return err
	}
	tally, err := blob.TallyOf(&ask)
	if err != nil {
		return err
	}
	if tally.Messages == 0 {
		return drain(stream)
	}
	size := tally.Bytes / tally.Messages
	if size < MinSize || size > MaxSize {
		return fmt.Errorf("messages of %d bytes asked for, want %d to %d", size, MinSize, MaxSize)
	}
	out := s.take(int(size))
	defer s.give(int(size), out)
	for seq := range tally.Messages {
		out.Stamp(0, seq)
		if err := stream.Send(out); err != nil {
			return err
		}
	}
	return drain(stream)
}

// drain receives until the client sends no more. A handler that returns before
// is an error to ttrpc.
func drain(stream Handle) error {
	var rest blob.Blob
	for {
		if err := stream.Recv(&rest); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// PingPong answers every message with the same message.
func (s *Service) PingPong(stream Handle) error {
	var msg blob.Blob
	for {
		err := stream.Recv(&msg)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&msg); err != nil {
			return err
		}
	}
}

// Stall never reads, and returns when its stream ends.
func (s *Service) Stall(stream Handle) error {
	<-stream.Context().Done()
	return context.Cause(stream.Context())
}
