package beside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"braid/bench/internal/blob"
)

// The names of the service and its methods.
const (
	serviceName = "bench.Beside"

	MethodEcho     = "/" + serviceName + "/Echo"
	MethodUpload   = "/" + serviceName + "/Upload"
	MethodDownload = "/" + serviceName + "/Download"
	MethodStall    = "/" + serviceName + "/Stall"
)

// Service is the server side of all methods. Both stacks run the same handlers.
type Service struct {
	received atomic.Int64 // bytes that handlers of Upload have read
}

// Received returns how many bytes of payload the upload handlers have read.
func (s *Service) Received() int64 { return s.received.Load() }

// Echo returns its argument.
func (s *Service) Echo(_ context.Context, in *blob.Blob) (*blob.Blob, error) { return in, nil }

// Upload reads everything and discards it.
func (s *Service) Upload(stream Stream) error {
	var in blob.Blob
	for {
		err := stream.Recv(&in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.received.Add(int64(len(in.Data)))
	}
}

// Download sends messages as long as it can. The first message of the client
// says how large they are.
func (s *Service) Download(stream Stream) error {
	var ask blob.Blob
	if err := stream.Recv(&ask); err != nil {
		return err
	}
	tally, err := blob.TallyOf(&ask)
	if err != nil {
		return err
	}
	if tally.Bytes < blob.MinSize || tally.Bytes > MaxSize {
		return fmt.Errorf("messages of %d bytes asked for, want %d to %d", tally.Bytes, blob.MinSize, MaxSize)
	}
	out := blob.New(int(tally.Bytes), 0)
	for {
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// Stall never reads, and returns when its stream ends.
func (s *Service) Stall(stream Stream) error {
	<-stream.Context().Done()
	return context.Cause(stream.Context())
}

// MaxSize is the largest message in bytes: what both stacks accept by default,
// less some room for what they put around it.
const MaxSize = 4<<20 - 1<<10
