package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"storj.io/drpc"
	stockconn "storj.io/drpc/drpcconn"

	"braid/cmd/braid/internal/load/arrival"
	"braid/cmd/braid/internal/load/blob"
	"braid/cmd/braid/internal/load/loadtest"
	"braid/drpcconn"
)

// connect makes connections of a library.
func connect(t *testing.T, client loadtest.Stack, addr string, n int) (conns []drpc.Conn) {
	t.Helper()
	for range n {
		tr, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		var conn drpc.Conn
		if client == loadtest.Stock {
			conn = stockconn.New(tr)
		} else {
			conn = drpcconn.New(tr)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := Hello(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return conns
}

func serve(t *testing.T, stack loadtest.Stack, service blob.Server) string {
	t.Helper()
	return stack.Serve(t, func(m drpc.Mux) error { return m.Register(service, blob.Description{}) })
}

// Every kind of work, with every library at either end, and sizes down to nothing.
func TestEveryWorkRunsBetweenAllEnds(t *testing.T) {
	for _, server := range loadtest.Stacks {
		addr := serve(t, server, blob.Service{})
		for _, client := range loadtest.Stacks {
			for _, work := range []Work{Unary, Upload, Download, PingPong} {
				for _, size := range []int{0, 1, 24, 20_000} {
					t.Run(fmt.Sprintf("%s/%s/%d/%d", server, client, work, size), func(t *testing.T) {
						const workers, count = 3, 60
						conns := workers
						if server == client && server == loadtest.Braid {
							conns = 1
						}
						res := New(Options{
							Work: work, Size: size, Workers: workers, Count: count,
							Conns: connect(t, client, addr, conns),
						}).Run(t.Context())
						if res.OK != count || res.Failed+res.Unfinished != 0 || res.Ending != Completed {
							t.Fatalf("%+v", res)
						}
						sent, received := int64(count*size), int64(count*size)
						switch work {
						case Upload:
							received = 0
						case Download:
							sent = 0
						}
						if res.Sent != sent || res.Received != received {
							t.Errorf("%d bytes sent, %d received", res.Sent, res.Received)
						}
						if n := res.Latency.TotalCount(); n != count {
							t.Errorf("%d latencies", n)
						}
					})
				}
			}
		}
	}
}

func TestStreamsRunForTheirTimeAndInAnOpenLoop(t *testing.T) {
	addr := serve(t, loadtest.Braid, blob.Service{})
	for _, work := range []Work{Upload, Download, PingPong} {
		opts := Options{
			Work: work, Size: 16, Workers: 2, Warmup: 20 * time.Millisecond, Duration: 100 * time.Millisecond,
			Timeout: 10 * time.Second, Conns: connect(t, loadtest.Braid, addr, 1),
		}
		if work == PingPong {
			opts.Rate, opts.Queue, opts.NewAlarm = 200, 1000, arrival.NewAlarm
		}
		res := New(opts).Run(t.Context())
		if res.OK == 0 || res.Failed+res.Unfinished != 0 || res.Elapsed < opts.Duration {
			t.Errorf("%+v", res)
		}
		if work == PingPong && (res.OK != 20 || res.Open.Due != 20) {
			t.Errorf("%d of %d", res.OK, res.Open.Due)
		}
	}
}

func TestSharesTellsBraidFromStock(t *testing.T) {
	for _, service := range []blob.Server{blob.Service{}, nil} {
		for _, stack := range loadtest.Stacks {
			addr := stack.Serve(t, func(m drpc.Mux) error {
				if service == nil {
					return nil
				}
				return m.Register(service, blob.Description{})
			})
			tr, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			conn := drpcconn.New(tr)
			defer func() { _ = conn.Close() }()
			var missing *NoServiceError
			if err := Hello(t.Context(), conn); (service == nil) != errors.As(err, &missing) {
				t.Errorf("%s: %v", stack, err)
			}
			shares, err := Shares(t.Context(), conn)
			if err != nil || shares != (stack == loadtest.Braid) {
				t.Errorf("%s shares: %v, %v", stack, shares, err)
			}
			if n := conn.Streams(); n != 0 {
				t.Errorf("%d streams are left", n)
			}
		}
	}
}

// odd is a service that does something of it in another way.
type odd struct {
	blob.Service
	upload, download, pingPong func(stream drpc.Stream) error
}

func (o odd) Upload(stream drpc.Stream) error {
	if o.upload == nil {
		return o.Service.Upload(stream)
	}
	return o.upload(stream)
}

func (o odd) Download(stream drpc.Stream) error {
	if o.download == nil {
		return o.Service.Download(stream)
	}
	return o.download(stream)
}

func (o odd) PingPong(stream drpc.Stream) error {
	if o.pingPong == nil {
		return o.Service.PingPong(stream)
	}
	return o.pingPong(stream)
}

// drain receives until the client has closed its side.
func drain(stream drpc.Stream) (messages uint64, err error) {
	for {
		err := stream.MsgRecv(new(blob.Message), blob.Encoding{})
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		messages++
	}
}

func send(stream drpc.Stream, p []byte) error {
	return stream.MsgSend(&blob.Message{Data: p}, blob.Encoding{})
}

// stamped returns a message of 16 bytes with a number.
func stamped(n uint64) []byte {
	p := make([]byte, 16)
	blob.Stamp(p, n)
	return p
}

// sends is a download that sends these messages and then waits for the client to
// close its side.
func sends(messages ...[]byte) func(drpc.Stream) error {
	return func(stream drpc.Stream) error {
		if err := stream.MsgRecv(new(blob.Message), blob.Encoding{}); err != nil {
			return err
		}
		for _, p := range messages {
			if err := send(stream, p); err != nil {
				return err
			}
		}
		_, err := drain(stream)
		return err
	}
}

func tally(n uint64) []byte { return blob.Tally{Messages: n, Bytes: 16 * n}.AppendTo(nil) }

func TestServersThatCheatAreFoundOut(t *testing.T) {
	after := func(answers ...[]byte) func(drpc.Stream) error {
		return func(stream drpc.Stream) error {
			_, err := drain(stream)
			for _, p := range answers {
				err = errors.Join(err, send(stream, p))
			}
			return err
		}
	}
	for name, test := range map[string]struct {
		work    Work
		service odd
		kind    Kind
	}{
		"upload: one is lost":         {Upload, odd{upload: after(tally(9))}, WrongReply},
		"upload: no tally":            {Upload, odd{upload: after()}, WrongReply},
		"upload: two tallies":         {Upload, odd{upload: after(tally(10), tally(10))}, WrongReply},
		"upload: not a tally":         {Upload, odd{upload: after([]byte("ten"))}, WrongReply},
		"upload: an error":            {Upload, odd{upload: func(drpc.Stream) error { return errTest }}, Status},
		"download: one is lost":       {Download, odd{download: sends(stamped(0), stamped(2))}, WrongReply},
		"download: another size":      {Download, odd{download: sends(stamped(0)[:15])}, WrongReply},
		"download: ends early":        {Download, odd{download: func(drpc.Stream) error { return nil }}, WrongReply},
		"download: wrong tally":       {Download, odd{download: tenAnd(tally(9))}, WrongReply},
		"download: no tally":          {Download, odd{download: tenAnd()}, WrongReply},
		"download: after the tally":   {Download, odd{download: tenAnd(tally(10), stamped(10))}, WrongReply},
		"ping-pong: another one":      {PingPong, odd{pingPong: func(s drpc.Stream) error { return send(s, stamped(99)) }}, WrongReply},
		"ping-pong: ends early":       {PingPong, odd{pingPong: func(drpc.Stream) error { return nil }}, WrongReply},
		"ping-pong: one more":         {PingPong, odd{pingPong: oneMore}, WrongReply},
		"ping-pong: an error at last": {PingPong, odd{pingPong: failsAtLast}, Status},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, loadtest.Braid, test.service)
			res := New(Options{
				Work: test.work, Size: 16, Workers: 1, Count: 10, MaxFailed: 1,
				Conns: connect(t, loadtest.Braid, addr, 1),
			}).Run(t.Context())
			if got := kindOf(t, res); got.Kind != test.kind || got.Count != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// tenAnd is a download of 10 messages and then of others.
func tenAnd(messages ...[]byte) func(drpc.Stream) error {
	var all [][]byte
	for n := range uint64(10) {
		all = append(all, stamped(n))
	}
	return sends(append(all, messages...)...)
}

// oneMore sends something when the client has closed its side.
func oneMore(stream drpc.Stream) error {
	if err := (blob.Service{}).PingPong(stream); err != nil {
		return err
	}
	return send(stream, stamped(10))
}

// failsAtLast fails when the client has closed its side.
func failsAtLast(stream drpc.Stream) error {
	return errors.Join((blob.Service{}).PingPong(stream), errTest)
}

// A stream on which a message takes too long is given up, and the next one is opened.
func TestATimeoutCostsItsStreamAlone(t *testing.T) {
	service := odd{pingPong: func(stream drpc.Stream) error {
		for range 3 {
			var m blob.Message
			if err := stream.MsgRecv(&m, blob.Encoding{}); err != nil {
				return err
			}
			if err := send(stream, m.Data); err != nil {
				return err
			}
		}
		_, err := drain(stream) // and answers nothing any more
		return err
	}}
	addr := serve(t, loadtest.Braid, service)
	res := New(Options{
		Work: PingPong, Size: 16, Workers: 1, Count: 7, Timeout: 2 * time.Second,
		Conns: connect(t, loadtest.Braid, addr, 1),
	}).Run(t.Context())
	if got := kindOf(t, res); got.Kind != Timeout || got.Count != 1 || res.OK != 6 {
		t.Errorf("%+v, %d ok", got, res.OK)
	}
}

// What a stream waits for when a run is over is cut, and is not a failure of the server's.
func TestAStreamThatHangsIsCut(t *testing.T) {
	arrived := make(chan struct{})
	service := odd{upload: func(stream drpc.Stream) error {
		_, err := drain(stream)
		close(arrived)
		<-stream.Context().Done() // no tally
		return err
	}}
	addr := serve(t, loadtest.Braid, service)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	res := New(Options{
		Work: Upload, Size: 16, Workers: 1, Count: 5,
		Conns: connect(t, loadtest.Braid, addr, 1),
	}).Run(ctx)
	if got := kindOf(t, res); got.Kind != Unfinished || res.OK != 5 || res.Failed != 0 || res.Unfinished != 1 || res.Ending != Interrupted {
		t.Errorf("%+v", res)
	}
}

func TestTheLargestMessagesArrive(t *testing.T) {
	for _, server := range loadtest.Stacks {
		addr := serve(t, server, blob.Service{})
		for _, client := range loadtest.Stacks {
			for _, work := range []Work{Unary, Upload, Download, PingPong} {
				res := New(Options{
					Work: work, Size: blob.MaxSize, Workers: 1, Count: 2, Conns: connect(t, client, addr, 1),
				}).Run(t.Context())
				if res.OK != 2 || res.Failed+res.Unfinished != 0 {
					t.Errorf("%s, %s, %d: %+v", server, client, work, res)
				}
			}
		}
	}
}
