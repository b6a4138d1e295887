package service

import (
	"context"
	"errors"
	"fmt"
	"io"

	"braid/cmd/braid/internal/store"
	"braid/cmd/braid/internal/wire"
)

// Upload receives one file. It reads one message at a time into one buffer, and
// reads the next only once that is on its way to the disk, so that the memory
// for an upload does not depend on the size of the file.
func (s *Service) Upload(stream *wire.UploadServer) error {
	var frame wire.UploadFrame
	if err := recvStep(stream, &frame, wire.Header); err != nil {
		return err
	}
	ctx := stream.Context()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	entry, ok := s.past.open(frame.ID)
	if !ok {
		return wire.WithCode(fmt.Errorf("upload %x exists already", frame.ID), wire.BadOrder)
	}
	outcome, err := s.receive(stream, &frame)
	if err != nil {
		outcome.State = wire.Refused
		if gone(err) {
			outcome.State = wire.Canceled
		}
	}
	s.record(outcome)
	s.past.close(entry, outcome)
	if err != nil {
		return err
	}
	return stream.Send(&wire.UploadReply{Step: wire.Receipt, Size: outcome.Size, Sum: frame.Sum})
}

// receive stores the file that frame is the header of. At the end frame is the
// end of the upload, with the digest that the file on the disk has.
func (s *Service) receive(stream *wire.UploadServer, frame *wire.UploadFrame) (wire.Outcome, error) {
	outcome := wire.Outcome{State: wire.Stored}
	file, err := s.store.Create(frame.Path, frame.Perm)
	if err != nil {
		return outcome, coded(err)
	}
	defer file.Abort()

	if frame.WantReady {
		if err := stream.Send(&wire.UploadReply{Step: wire.Ready}); err != nil {
			return outcome, err
		}
	}
	err = receiveBody(stream, frame, file)
	outcome.Size = file.Size()
	return outcome, err
}

// receiveBody writes the chunks to the file, up to and including the end.
func receiveBody(stream *wire.UploadServer, frame *wire.UploadFrame, file *store.File) error {
	for {
		if err := recvStep(stream, frame, wire.Chunk, wire.End); err != nil {
			return err
		}
		if frame.Step == wire.End {
			return coded(file.Commit(frame.Size, frame.Sum))
		}
		if _, err := file.Write(frame.Data); err != nil {
			return coded(err)
		}
	}
}

// recvStep receives a message and refuses it unless its turn has come.
func recvStep(stream *wire.UploadServer, frame *wire.UploadFrame, turn ...wire.UploadStep) error {
	switch err := stream.Recv(frame); {
	case errors.Is(err, io.EOF):
		return wire.WithCode(errors.New("the upload stops in the middle"), wire.BadOrder)
	case errors.Is(err, wire.ErrMalformed):
		return wire.WithCode(err, wire.BadOrder)
	case err != nil:
		return err
	}
	for _, step := range turn {
		if frame.Step == step {
			return nil
		}
	}
	return wire.WithCode(errors.New("a message of the upload is out of turn"), wire.BadOrder)
}

// gone reports whether an upload ended because its client, and not this server,
// ended it: by canceling, or with its connection. A send then fails with io.EOF;
// recvStep has put a code in the place of the other io.EOF, which is not that.
func gone(err error) bool { return errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) }

// record counts an upload that is over.
func (s *Service) record(o wire.Outcome) {
	switch o.State {
	case wire.Stored:
		s.count.Stored.Add(1)
		s.count.StoredBytes.Add(o.Size)
	case wire.Canceled:
		s.count.Canceled.Add(1)
	case wire.Refused:
		s.count.Refused.Add(1)
	}
}
