package faults_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// order is what every message begins with. It says to which call the message
// belongs, which one it is, and what the server is to do.
type order struct {
	ID    uint64 // the history's seed times 256, and the number of the call
	Index uint32 // of the message in its direction
	Last  bool   // no other message follows in this direction
	Count uint32 // messages that the server sends, where the request does not say
	Size  uint32 // the most bytes of content in a message
	Fail  int32  // after how many messages the handler fails; negative: it does not
}

// Requests and answers have different contents.
const (
	request = 1
	answer  = 2
)

// contentOf returns the content of a message, which is different for each.
func contentOf(o order, direction uint64) []byte {
	rng := rand.NewPCG(o.ID, uint64(o.Index)<<2|direction)
	data := make([]byte, 0, o.Size+8)
	for size := int(rng.Uint64() % uint64(o.Size+1)); len(data) < size; {
		data = binary.LittleEndian.AppendUint64(data, rng.Uint64())
	}
	return data
}

// requestOf returns a message from the client.
func requestOf(o order) *drpctest.Msg {
	return &drpctest.Msg{Data: append(o.encode(), contentOf(o, request)...)}
}

// answerOf returns a message from the server: the order, what it has received, and
// a content.
func answerOf(o order, received []byte) *drpctest.Msg {
	data := append(o.encode(), received...)
	return &drpctest.Msg{Data: append(data, contentOf(o, answer)...)}
}

func (o order) encode() []byte {
	data, err := binary.Append(nil, binary.BigEndian, o)
	if err != nil {
		panic(err)
	}
	return data
}

// errPlanned is the error of a handler that was ordered to fail.
func errPlanned(id uint64) error {
	return drpcerr.WithCode(fmt.Errorf("call %x was to fail", id), codePlanned)
}

const codePlanned = 7777

// service checks all that arrives at the server, and answers it.
type service struct {
	t       testing.TB
	running atomic.Int64 // handlers
}

// rpcs returns the four rpcs.
func (s *service) rpcs() *drpctest.Service {
	return &drpctest.Service{UnaryFn: s.unary, UpFn: s.up, DownFn: s.down, BidiFn: s.bidi}
}

// begin notes that a handler runs, until the function it returns is called.
func (s *service) begin() (end func()) {
	s.running.Add(1)
	return func() { s.running.Add(-1) }
}

func (s *service) unary(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
	defer s.begin()()
	o, err := s.check(in.Data, order{})
	switch {
	case err != nil:
		return nil, err
	case o.Fail >= 0:
		return nil, errPlanned(o.ID)
	}
	return answerOf(o, digest(in.Data)), nil
}

func (s *service) down(in *drpctest.Msg, stream drpc.Stream) error {
	defer s.begin()()
	o, err := s.check(in.Data, order{})
	if err != nil {
		return err
	}
	for i := range o.Count {
		if int32(i) == o.Fail {
			return errPlanned(o.ID)
		}
		o.Index, o.Last = i, i+1 == o.Count
		if err := s.send(stream, o, digest(in.Data)); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) up(stream drpc.Stream) error {
	defer s.begin()()
	sum, last := sha256.New(), order{}
	for n := int32(0); ; n++ {
		if n > 0 && n == last.Fail {
			return errPlanned(last.ID)
		}
		next, err := s.recv(stream, sum, last)
		if errors.Is(err, io.EOF) {
			return s.send(stream, last, sum.Sum(nil))
		} else if err != nil {
			return err
		}
		last = next
	}
}

func (s *service) bidi(stream drpc.Stream) error {
	defer s.begin()()
	for last := (order{}); ; {
		sum := sha256.New()
		next, err := s.recv(stream, sum, last)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if next.Fail == int32(next.Index) {
			return errPlanned(next.ID)
		}
		if err := s.send(stream, next, sum.Sum(nil)); err != nil {
			return err
		}
		last = next
	}
}

// recv receives the message that follows the last one, which is a zero order
// before the first. io.EOF comes after all that the client wanted to send, or it
// is wrong.
func (s *service) recv(stream drpc.Stream, sum hash.Hash, last order) (order, error) {
	var in drpctest.Msg
	err := stream.MsgRecv(&in, drpctest.Enc{})
	switch {
	case err == nil:
		sum.Write(in.Data)
		return s.check(in.Data, last)
	case errors.Is(err, io.EOF):
		if !last.Last {
			return last, s.wrong(last, "the handler got %v after message %d, which is not the last", err, last.Index)
		}
	case !clientGone(err):
		return last, s.wrong(last, "receiving in the handler: %v", err)
	}
	return last, err
}

func (s *service) send(stream drpc.Stream, o order, received []byte) error {
	err := stream.MsgSend(answerOf(o, received), drpctest.Enc{})
	if err != nil && !errors.Is(err, io.EOF) && !clientGone(err) {
		return s.wrong(o, "sending in the handler: %v", err)
	}
	return err
}

// clientGone reports whether an error is one that a handler gets if its client
// has canceled, was late, or is lost.
func clientGone(err error) bool {
	var lost *drpcmanager.LostError
	if errors.As(err, &lost) {
		return drpcerr.Code(err) == drpcwire.CodeUnavailable && drpc.ClosedError.Has(err) && !errors.Is(err, io.EOF)
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// check compares a message with what the client must have sent at this place.
func (s *service) check(data []byte, last order) (order, error) {
	var o order
	if _, err := binary.Decode(data, binary.BigEndian, &o); err != nil || o.Size > maxSize {
		return o, s.wrong(last, "the server got a message of %d bytes: %+v, %v", len(data), o, err)
	}
	want := order{ID: o.ID, Last: o.Last, Count: o.Count, Size: o.Size, Fail: o.Fail}
	if last.ID != 0 {
		want.ID, want.Index = last.ID, last.Index+1
	}
	if last.Last || o != want || !bytes.Equal(data, requestOf(o).Data) {
		return o, s.wrong(o, "the server got %+v (%d bytes) after %+v, or other bytes than were sent", o, len(data), last)
	}
	return o, nil
}

// wrong fails the test, and returns an error for the client.
func (s *service) wrong(o order, format string, args ...any) error {
	err := errors.New(repeat(o.ID>>8) + fmt.Sprintf(format, args...))
	s.t.Error(err)
	return err
}

// repeat says how to run a history again.
func repeat(seed uint64) string { return fmt.Sprintf("-faults.seed=%d: ", seed) }

func digest(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}
