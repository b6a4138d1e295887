package drpcmanager_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
)

// overTCP returns a client and a server at the ends of a TCP connection that know
// each other. Each stream is handled in a goroutine of its own.
func overTCP(t testing.TB, opts drpcmanager.Options, handle func(*drpcstream.Stream) error) (client, server *drpcmanager.Manager) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	own, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	server = drpcmanager.NewServer(t.Context(), peer, opts, drpcmanager.Hooks{
		Handle: func(s *drpcstream.Stream, rpc string) {
			handlers.Go(func() {
				if rpc == "/hello" {
					_ = s.Return(nil)
					return
				}
				_ = s.Return(handle(s))
			})
		},
	})
	client = drpcmanager.NewClient(own, opts)
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		handlers.Wait()
	})
	hello, err := client.NewUnaryStream(t.Context(), "/hello", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hello.RawRecv(); err != io.EOF {
		t.Fatal(err)
	}
	if !client.PeerKnown() {
		t.Fatal("the server is not known after a call")
	}
	return client, server
}

// converse sends and receives at random, and ends the stream in one of the ways there
// are. What it returns is for a handler.
func converse(s *drpcstream.Stream, rng *rand.Rand, sent *atomic.Int64) error {
	messages, reads, end := rng.IntN(200), rng.IntN(300), rng.IntN(7)
	sizes := rand.New(rand.NewPCG(rng.Uint64(), 3))
	if rng.IntN(8) == 0 {
		s.SetSendTimeout(time.Duration(rng.IntN(500)) * time.Microsecond)
	}
	var sender sync.WaitGroup
	sender.Go(func() {
		for range messages {
			size := sizes.IntN(100)
			if sizes.IntN(10) == 0 {
				size = sizes.IntN(12 << 10) // three windows
			}
			switch err := s.RawWrite(drpcwire.KindMessage, make([]byte, size)); {
			case err == nil:
				sent.Add(1)
			case err != drpcstream.ErrTimeout:
				return
			}
		}
		_ = s.CloseSend()
	})
	for range reads {
		if _, err := s.RawRecv(); err != nil {
			break
		}
	}
	switch end {
	case 0:
		_ = s.Close()
	case 1:
		s.Cancel(context.Canceled)
	case 2:
		_ = s.SendError(errBoom)
	case 3, 4: // a regular end
		for {
			if _, err := s.RawRecv(); err != nil {
				break
			}
		}
	case 5:
		s.SetRecvTimeout(time.Millisecond)
		_, _ = s.RawRecv()
		_ = s.Close()
	case 6: // a client leaves its stream to its context, a handler returns with an error
		go s.Cancel(context.DeadlineExceeded)
		sender.Wait()
		return errBoom
	}
	if end != 3 && rng.IntN(2) == 0 {
		_ = s.Close() // wakes the sender
	}
	sender.Wait()
	s.Cancel(context.Canceled)
	return nil
}

// Streams end in every way there is, in the middle of messages, with messages
// unread, with senders parked. Whatever was spent on one side was received on the
// other or came late; whatever was received was consumed or dropped; and nothing of
// the budget is left in use (C.5).
func TestTheBooksOfCreditBalance(t *testing.T) {
	messages := int64(1_000_000)
	if testing.Short() {
		messages = 30_000
	}
	opts := drpcmanager.Options{
		Window: drpcmanager.Window{Initial: 4 << 10, Budget: 1 << 20},
		Stream: drpcstream.Options{SplitSize: 1000},
	}
	var sent atomic.Int64
	client, server := overTCP(t, opts, func(s *drpcstream.Stream) error {
		rng := rand.New(rand.NewPCG(s.ID(), 1))
		return converse(s, rng, &sent)
	})
	var wg sync.WaitGroup
	for worker := range uint64(16) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(worker, 2))
			for sent.Load() < messages && client.Err() == nil {
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(4) == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rng.IntN(3000))*time.Microsecond)
				}
				s, err := client.NewClientStream(ctx, "/rpc", nil)
				if err != nil {
					cancel()
					continue
				}
				_ = converse(s, rng, &sent)
				cancel()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(client.Err(), server.Err()); err != nil {
		t.Fatal(err)
	}
	var c, s drpcstream.Totals
	var clientGrown, serverGrown int64
	balanced := func() bool {
		clientGrown, c = client.Flow()
		serverGrown, s = server.Flow()
		return client.Streams()+server.Streams() == 0 && clientGrown == 0 && serverGrown == 0 &&
			c.Received == c.Consumed+c.Dropped && s.Received == s.Consumed+s.Dropped &&
			c.Sent == s.Received+s.Late && s.Sent == c.Received+c.Late
	}
	for deadline := time.Now().Add(30 * time.Second); !balanced(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("streams %d, %d; grown %d, %d\nclient %+v\nserver %+v",
				client.Streams(), server.Streams(), clientGrown, serverGrown, c, s)
		}
	}
	t.Logf("%d messages\nclient %+v\nserver %+v", sent.Load(), c, s)
	for what, n := range map[string]int64{
		"consumed": c.Consumed * s.Consumed, "dropped": c.Dropped * s.Dropped, "late": c.Late + s.Late,
	} {
		if n == 0 {
			t.Errorf("nothing was %s: the test does not show what it is to show", what)
		}
	}
}
