package service

import (
	"context"
	"errors"
	"io"
	"sync"

	"braid/cmd/braid/internal/wire"
)

// Chat takes part in a room until the client has no more to say. Two goroutines
// serve a member, one for each direction; the second ends with the first, or
// when the stream takes nothing more.
func (s *Service) Chat(stream *wire.ChatServer) error {
	var frame wire.ChatFrame
	if err := recvEvent(stream, &frame, wire.Join); err != nil {
		return err
	}
	m, err := s.rooms.join(frame.Room, frame.Name)
	if err != nil {
		return err
	}
	var speaker sync.WaitGroup
	speaker.Go(func() { tell(stream, m) })
	err = s.listen(stream, m, &frame)
	s.rooms.leave(m)
	speaker.Wait()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// listen passes what the client says on to the room.
func (s *Service) listen(stream *wire.ChatServer, m *member, frame *wire.ChatFrame) error {
	for {
		if err := recvEvent(stream, frame, wire.Line); err != nil {
			return err
		}
		line := *frame
		line.Event, line.Name = wire.Heard, m.name
		if err := s.rooms.say(stream.Context(), m, line); err != nil {
			return err
		}
	}
}

// tell sends the client what is in the member's queue.
func tell(stream *wire.ChatServer, m *member) {
	for {
		select {
		case frame := <-m.queue:
			// The stream is over if it takes no more, and listen
			// hears of that as well. Until then the queue is still
			// emptied, so that nobody in the room waits for it.
			if err := stream.Send(&frame); err != nil {
				drain(stream.Context(), m)
				return
			}
		case <-m.gone:
			return
		}
	}
}

// drain throws away what is said to a member until it has left.
func drain(ctx context.Context, m *member) {
	for {
		select {
		case <-m.queue:
		case <-m.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

// recvEvent receives a message and refuses it unless it is the one event that
// is allowed.
func recvEvent(stream *wire.ChatServer, frame *wire.ChatFrame, allowed wire.ChatEvent) error {
	err := stream.Recv(frame)
	switch {
	case errors.Is(err, wire.ErrMalformed):
		return wire.WithCode(err, wire.BadOrder)
	case err != nil:
		return err
	case frame.Event != allowed:
		return wire.WithCode(errors.New("a message of the chat is out of turn"), wire.BadOrder)
	}
	return nil
}
