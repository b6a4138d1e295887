package sensors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpchttp"
	"storj.io/drpc/drpcmetadata"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/examples/sensors"
	"braid/examples/sensors/sensorspb"
)

// newMux returns a mux with the service.
func newMux(t *testing.T, srv sensorspb.DRPCSensorsServer) *drpcmux.Mux {
	t.Helper()
	mux := drpcmux.New()
	if err := sensorspb.DRPCRegisterSensors(mux, srv); err != nil {
		t.Fatal(err)
	}
	return mux
}

// dial serves the mux over TCP, and returns a connection to it.
func dial(t *testing.T, mux *drpcmux.Mux) *drpcconn.Conn {
	t.Helper()
	nc := connect(t, drpcserver.New(mux).Serve)
	conn := drpcconn.New(nc)
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return conn
}

// connect runs serve on a TCP listener until the test is over, and returns a
// connection to it.
func connect(t *testing.T, serve func(context.Context, net.Listener) error) net.Conn {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, lis) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})

	nc, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// deadline returns a context that turns a call that hangs into one that fails.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// atSite returns a context for calls that are about the site.
func atSite(ctx context.Context, site string) context.Context {
	return drpcmetadata.Add(ctx, sensors.SiteKey, site)
}

// newReading returns a reading with a time that depends on its value.
func newReading(sensor string, value float64) *sensorspb.Reading {
	at := time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(value) * time.Second)
	return &sensorspb.Reading{Sensor: sensor, Time: timestamppb.New(at), Value: value}
}

// record makes a call that records the values.
func record(ctx context.Context, client sensorspb.DRPCSensorsClient, sensor string, values ...float64) error {
	stream, err := client.Record(ctx)
	if err != nil {
		return err
	}
	for _, value := range values {
		if err := stream.Send(newReading(sensor, value)); err != nil {
			return err
		}
	}
	out, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if out.GetCount() != int64(len(values)) {
		return fmt.Errorf("recorded %d readings of %d", out.GetCount(), len(values))
	}
	return stream.Close()
}

// barrier lets nobody pass before all have come.
type barrier struct {
	missing atomic.Int64
	all     chan struct{}
}

func newBarrier(n int64) *barrier {
	b := &barrier{all: make(chan struct{})}
	b.missing.Store(n)
	return b
}

func (b *barrier) pass(ctx context.Context) error {
	if b.missing.Add(-1) == 0 {
		close(b.all)
	}
	select {
	case <-b.all:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d streams are missing: %w", b.missing.Load(), ctx.Err())
	}
}

// expect returns an error if the two messages differ.
func expect(got, want proto.Message) error {
	if !proto.Equal(got, want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

// TestShapes makes calls of all four shapes at the same time and over the same
// connection. The streaming calls wait, each half way through, until all of
// them are, so that the test cannot pass if one has to wait for another to end.
func TestShapes(t *testing.T) {
	const each = 50
	values := []float64{4, 8, 15, 16, 23, 42}
	ctx := deadline(t)
	client := sensorspb.NewDRPCSensorsClient(dial(t, newMux(t, new(sensors.Service))))

	// Each call is about a site of its own: an answer meant for another call
	// does not pass for its own.
	site := func(i int) (name string, offset float64) { return fmt.Sprint("site-", i), float64(1000 * i) }
	for i := range each {
		name, offset := site(i)
		shifted := slices.Clone(values)
		for j := range shifted {
			shifted[j] += offset
		}
		if err := record(atSite(ctx, name), client, "old", shifted...); err != nil {
			t.Fatal(err)
		}
	}

	halfway := newBarrier(3 * each)
	shapes := map[string]func(ctx context.Context, site string, offset float64) error{
		"unary": func(ctx context.Context, site string, offset float64) error {
			out, err := client.Describe(ctx, &sensorspb.DescribeRequest{Sensor: "old"})
			if err != nil {
				return err
			}
			return expect(out, &sensorspb.Summary{
				Site: site, Sensor: "old", Count: 6, Min: 4 + offset, Max: 42 + offset, Mean: 18 + offset,
			})
		},
		"client stream": func(ctx context.Context, site string, offset float64) error {
			stream, err := client.Record(ctx)
			if err != nil {
				return err
			}
			for i, value := range values {
				if i == len(values)/2 {
					if err := halfway.pass(ctx); err != nil {
						return err
					}
				}
				if err := stream.Send(newReading("new", value+offset)); err != nil {
					return err
				}
			}
			out, err := stream.CloseAndRecv()
			if err != nil {
				return err
			}
			return expect(out, &sensorspb.RecordResponse{Site: site, Count: 6})
		},
		"server stream": func(ctx context.Context, _ string, offset float64) error {
			stream, err := client.History(ctx, &sensorspb.HistoryRequest{Sensor: "old"})
			if err != nil {
				return err
			}
			for i, value := range values {
				if i == len(values)/2 {
					if err := halfway.pass(ctx); err != nil {
						return err
					}
				}
				reading, err := stream.Recv()
				if err != nil {
					return err
				}
				if err := expect(reading, newReading("old", value+offset)); err != nil {
					return err
				}
			}
			return expectEOF(stream.Recv())
		},
		"bidirectional stream": func(ctx context.Context, _ string, offset float64) error {
			stream, err := client.Check(ctx)
			if err != nil {
				return err
			}
			for i, check := range []struct {
				value float64
				level sensorspb.Verdict_Level
			}{
				{3, sensorspb.Verdict_LEVEL_LOW},
				{4, sensorspb.Verdict_LEVEL_NORMAL},
				{42, sensorspb.Verdict_LEVEL_NORMAL},
				{43, sensorspb.Verdict_LEVEL_HIGH},
			} {
				if i == 2 {
					if err := halfway.pass(ctx); err != nil {
						return err
					}
				}
				reading := newReading("old", check.value+offset)
				if err := stream.Send(reading); err != nil {
					return err
				}
				verdict, err := stream.Recv()
				if err != nil {
					return err
				}
				if err := expect(verdict, &sensorspb.Verdict{Reading: reading, Level: check.level}); err != nil {
					return err
				}
			}
			if err := stream.CloseSend(); err != nil {
				return err
			}
			return expectEOF(stream.Recv())
		},
	}

	var wg sync.WaitGroup
	for shape, call := range shapes {
		for i := range each {
			wg.Go(func() {
				name, offset := site(i)
				if err := call(atSite(ctx, name), name, offset); err != nil {
					t.Errorf("%s of %s: %v", shape, name, err)
				}
			})
		}
	}
	wg.Wait()

	for i := range each {
		name, offset := site(i)
		out, err := client.Describe(atSite(ctx, name), &sensorspb.DescribeRequest{Sensor: "new"})
		if err != nil {
			t.Fatal(err)
		}
		if out.GetCount() != 6 || out.GetMean() != 18+offset {
			t.Errorf("the server has %v for %s", out, name)
		}
	}
}

// expectEOF returns an error if the results of a Recv are not those at the end
// of a stream.
func expectEOF[T any](msg *T, err error) error {
	// Many programs compare without errors.Is, so the error must not be wrapped.
	if err != io.EOF { //nolint:errorlint
		return fmt.Errorf("got %v, %v after the last message", msg, err)
	}
	return nil
}

// metadataService reports the metadata of each call.
type metadataService struct {
	sensorspb.DRPCSensorsUnimplementedServer
	got chan map[string]string
}

func (s *metadataService) report(ctx context.Context) {
	metadata, _ := drpcmetadata.Get(ctx)
	s.got <- metadata
}

func (s *metadataService) Describe(ctx context.Context, _ *sensorspb.DescribeRequest) (*sensorspb.Summary, error) {
	s.report(ctx)
	return new(sensorspb.Summary), nil
}

func (s *metadataService) Record(stream sensorspb.DRPCSensors_RecordStream) error {
	s.report(stream.Context())
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return stream.SendAndClose(new(sensorspb.RecordResponse))
		} else if err != nil {
			return err
		}
	}
}

func (s *metadataService) History(_ *sensorspb.HistoryRequest, stream sensorspb.DRPCSensors_HistoryStream) error {
	s.report(stream.Context())
	return nil
}

func (s *metadataService) Check(stream sensorspb.DRPCSensors_CheckStream) error {
	s.report(stream.Context())
	return nil
}

func TestMetadata(t *testing.T) {
	srv := &metadataService{got: make(chan map[string]string, 1)}
	client := sensorspb.NewDRPCSensorsClient(dial(t, newMux(t, srv)))

	for _, want := range []map[string]string{
		{"key": "value"},
		nil, // what an earlier call sent must not stick
		{"": "", "empty": "", "unicode": "größe", "bytes": "\x00\xff\n", "long": strings.Repeat("x", 10_000)},
		nil,
	} {
		ctx := deadline(t)
		if want != nil {
			ctx = drpcmetadata.AddPairs(ctx, want)
		}
		for shape, call := range shapeCalls(client) {
			if err := call(ctx); err != nil {
				t.Errorf("%s: %v", shape, err)
				continue
			}
			if got := <-srv.got; !maps.Equal(got, want) {
				t.Errorf("%s: got metadata %.200q, want %.200q", shape, got, want)
			}
		}
	}
}

// shapeCalls returns for each shape a call that sends little, does not care
// about what it receives, and returns the error that the call ends with.
func shapeCalls(client sensorspb.DRPCSensorsClient) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"unary": func(ctx context.Context) error {
			_, err := client.Describe(ctx, new(sensorspb.DescribeRequest))
			return err
		},
		"client stream": func(ctx context.Context) error {
			stream, err := client.Record(ctx)
			if err != nil {
				return err
			}
			// The server may have ended the call before this is sent.
			if err := stream.Send(new(sensorspb.Reading)); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			_, err = stream.CloseAndRecv()
			return err
		},
		"server stream": func(ctx context.Context) error {
			stream, err := client.History(ctx, new(sensorspb.HistoryRequest))
			if err != nil {
				return err
			}
			if _, err = stream.Recv(); !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		},
		"bidirectional stream": func(ctx context.Context) error {
			stream, err := client.Check(ctx)
			if err != nil {
				return err
			}
			if err := stream.CloseSend(); err != nil {
				return err
			}
			if _, err = stream.Recv(); !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		},
	}
}

// expectError fails the test if the error is not the one that the server sent.
func expectError(t *testing.T, err error, code uint64, message string) {
	t.Helper()
	if err == nil || drpcerr.Code(err) != code || !strings.Contains(err.Error(), message) {
		t.Errorf("got error %v with code %d, want %q with code %d", err, drpcerr.Code(err), message, code)
	}
}

func TestErrors(t *testing.T) {
	ctx := deadline(t)
	conn := dial(t, newMux(t, new(sensors.Service)))
	client := sensorspb.NewDRPCSensorsClient(conn)

	_, err := client.Describe(ctx, &sensorspb.DescribeRequest{Sensor: "none"})
	expectError(t, err, sensors.CodeNotFound, `no readings of sensor "none"`)

	err = record(ctx, client, "")
	if err != nil {
		t.Errorf("record of nothing: %v", err)
	}
	recording, err := client.Record(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, reading := range []*sensorspb.Reading{newReading("some", 1), {Sensor: "some", Value: math.NaN()}} {
		if err := recording.Send(reading); err != nil {
			t.Fatal(err)
		}
	}
	_, err = recording.CloseAndRecv()
	expectError(t, err, sensors.CodeInvalid, `reading of sensor "some" is not a number`)
	// A call that has failed is over on either side.
	if err := recording.Send(newReading("some", 2)); err == nil {
		t.Error("a call that failed goes on")
	}

	history, err := client.History(ctx, &sensorspb.HistoryRequest{Sensor: "none"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = history.Recv()
	expectError(t, err, sensors.CodeNotFound, `no readings of sensor "none"`)

	history, err = client.History(ctx, &sensorspb.HistoryRequest{Sensor: "some", Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = history.Recv()
	expectError(t, err, sensors.CodeInvalid, "limit -1 is negative")

	checking, err := client.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := checking.Send(new(sensorspb.Reading)); err != nil {
		t.Fatal(err)
	}
	_, err = checking.Recv()
	expectError(t, err, sensors.CodeInvalid, "reading names no sensor")

	// None of it was an error of the connection, nor undid what went before.
	out, err := client.Describe(ctx, &sensorspb.DescribeRequest{Sensor: "some"})
	if err != nil {
		t.Fatal(err)
	}
	if err := expect(out, &sensorspb.Summary{
		Site: sensors.DefaultSite, Sensor: "some", Count: 1, Min: 1, Max: 1, Mean: 1,
	}); err != nil {
		t.Error(err)
	}
	select {
	case <-conn.Closed():
		t.Error("the connection is closed")
	default:
	}
}

func TestUnimplemented(t *testing.T) {
	client := sensorspb.NewDRPCSensorsClient(dial(t, newMux(t, new(sensorspb.DRPCSensorsUnimplementedServer))))
	for shape, call := range shapeCalls(client) {
		t.Run(shape, func(t *testing.T) {
			expectError(t, call(deadline(t)), drpcerr.Unimplemented, "Unimplemented")
		})
	}
}

// TestEOF looks at the end of streams, from either side.
func TestEOF(t *testing.T) {
	ctx := deadline(t)
	client := sensorspb.NewDRPCSensorsClient(dial(t, newMux(t, new(sensors.Service))))
	if err := record(ctx, client, "some", 1, 2, 3); err != nil {
		t.Fatal(err)
	}

	history, err := client.History(ctx, &sensorspb.HistoryRequest{Sensor: "some", Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []float64{2, 3} {
		reading, err := history.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if err := expect(reading, newReading("some", value)); err != nil {
			t.Error(err)
		}
	}
	for range 2 { // it stays at its end
		if err := expectEOF(history.Recv()); err != nil {
			t.Error(err)
		}
	}
	if err := history.Close(); err != nil {
		t.Errorf("close after the end: %v", err)
	}

	// The service ends a Check with nil when its side of the stream does, so
	// this looks at the server's io.EOF too.
	check, err := client.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// One side may end before the other has received anything.
	if err := errors.Join(check.Send(newReading("some", 2)), check.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if err := check.Send(newReading("some", 2)); err == nil {
		t.Error("sent after CloseSend")
	}
	if verdict, err := check.Recv(); err != nil || verdict.GetLevel() != sensorspb.Verdict_LEVEL_NORMAL {
		t.Errorf("got %v, %v", verdict, err)
	}
	if err := expectEOF(check.Recv()); err != nil {
		t.Error(err)
	}
}

// watchedService tells how its Check calls ended.
type watchedService struct {
	sensors.Service
	ended chan error
}

func (s *watchedService) Check(stream sensorspb.DRPCSensors_CheckStream) error {
	err := s.Service.Check(stream)
	if err != nil {
		<-stream.Context().Done() // canceled with the client's, or the test hangs here
	}
	s.ended <- err
	return err
}

// TestCancel cancels one of many streams, which must be all that ends.
func TestCancel(t *testing.T) {
	ctx := deadline(t)
	srv := &watchedService{ended: make(chan error, 1)}
	conn := dial(t, newMux(t, srv))
	client := sensorspb.NewDRPCSensorsClient(conn)

	roundTrip := func(stream sensorspb.DRPCSensors_CheckClient) error {
		if err := stream.Send(newReading("some", 1)); err != nil {
			return err
		}
		_, err := stream.Recv()
		return err
	}

	var streams []sensorspb.DRPCSensors_CheckClient
	var cancels []context.CancelFunc
	for range 10 {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := client.Check(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := roundTrip(stream); err != nil {
			t.Fatal(err)
		}
		streams, cancels = append(streams, stream), append(cancels, cancel)
	}

	const victim = 4
	cancels[victim]()
	if _, err := streams[victim].Recv(); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled stream: got %v, want %v", err, context.Canceled)
	}
	if err := <-srv.ended; err == nil {
		t.Error("the server took the cancellation for the end of the stream")
	}

	for i, stream := range streams {
		if i == victim {
			continue
		}
		if err := roundTrip(stream); err != nil {
			t.Errorf("stream %d: %v", i, err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Errorf("stream %d: %v", i, err)
		}
		if err := expectEOF(stream.Recv()); err != nil {
			t.Errorf("stream %d: %v", i, err)
		}
		if err := <-srv.ended; err != nil {
			t.Errorf("stream %d ended on the server with %v", i, err)
		}
	}
	if err := record(ctx, client, "some", 1); err != nil {
		t.Errorf("call after the cancellation: %v", err)
	}
	select {
	case <-conn.Closed():
		t.Error("the connection is closed")
	default:
	}
}

// hastyService answers without having looked at what it is sent.
type hastyService struct{ sensors.Service }

func (*hastyService) Record(stream sensorspb.DRPCSensors_RecordStream) error {
	return stream.SendAndClose(&sensorspb.RecordResponse{Site: "hasty"})
}

// TestUnreadRequests sends more than the server reads. The sender must neither
// wait for good, nor miss the answer.
func TestUnreadRequests(t *testing.T) {
	ctx := deadline(t)
	client := sensorspb.NewDRPCSensorsClient(dial(t, newMux(t, new(hastyService))))
	large := newReading(strings.Repeat("x", 64<<10), 1)

	recording, err := client.Record(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		err := recording.Send(large)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := recording.CloseAndRecv(); err != nil || out.GetSite() != "hasty" {
		t.Errorf("got %v, %v", out, err)
	}
	if err := recording.Close(); err != nil {
		t.Error(err)
	}
}

// TestUnreadResponses leaves the messages of a stream unread while it uses
// others. They are many times what the server may send before any is read, so it
// is held in the middle of them, and nobody else is.
func TestUnreadResponses(t *testing.T) {
	ctx := deadline(t)
	client := sensorspb.NewDRPCSensorsClient(dial(t, newMux(t, new(sensors.Service))))
	large := strings.Repeat("x", 64<<10)
	values := make([]float64, 512) // 32 MiB of readings
	for i := range values {
		values[i] = float64(i)
	}

	if err := record(ctx, client, large, values...); err != nil {
		t.Fatal(err)
	}
	history, err := client.History(ctx, &sensorspb.HistoryRequest{Sensor: large})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := record(ctx, client, "some", values...); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Describe(ctx, &sensorspb.DescribeRequest{Sensor: large}); err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range values {
		reading, err := history.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(reading, newReading(large, value)) {
			t.Fatalf("received something else than reading %v", value)
		}
	}
	if err := expectEOF(history.Recv()); err != nil {
		t.Error(err)
	}
}

// TestServerStops cancels the context of Serve while calls go on.
func TestServerStops(t *testing.T) {
	ctx, cancel := context.WithCancel(deadline(t))
	server := drpcserver.New(newMux(t, new(sensors.Service)))
	served := make(chan error, 1)
	nc := connect(t, func(_ context.Context, lis net.Listener) error {
		err := server.Serve(ctx, lis)
		served <- err
		return err
	})
	conn := drpcconn.New(nc)
	client := sensorspb.NewDRPCSensorsClient(conn)

	stream, err := client.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(newReading("some", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}

	cancel()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("stream ended with %v", err)
	}
	<-conn.Closed()
	_ = conn.Close()
}

// post makes an HTTP request and returns the status and the body of the answer.
func post(t *testing.T, url, contentType, site string, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(deadline(t), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Drpc-Metadata", sensors.SiteKey+"="+site)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, data
}

// TestHTTP serves one mux over DRPC and over HTTP.
func TestHTTP(t *testing.T) {
	mux := newMux(t, new(sensors.Service))
	client := sensorspb.NewDRPCSensorsClient(dial(t, mux))
	server := httptest.NewServer(drpchttp.New(mux))
	defer server.Close()
	const prefix = "/braid.examples.sensors.Sensors/"

	if err := record(atSite(deadline(t), "home"), client, "attic", 20, 22); err != nil {
		t.Fatal(err)
	}

	t.Run("unary", func(t *testing.T) {
		status, body := post(t, server.URL+prefix+"Describe", "application/json", "home", []byte(`{"sensor": "attic"}`))
		var got sensorspb.Summary
		if err := protojson.Unmarshal(body, &got); err != nil || status != http.StatusOK {
			t.Fatalf("status %d, error %v, body %s", status, err, body)
		}
		if err := expect(&got, &sensorspb.Summary{
			Site: "home", Sensor: "attic", Count: 2, Min: 20, Max: 22, Mean: 21,
		}); err != nil {
			t.Error(err)
		}
	})

	t.Run("error", func(t *testing.T) {
		status, body := post(t, server.URL+prefix+"Describe", "application/json", "office", []byte(`{"sensor": "attic"}`))
		var got struct{ Code, Msg string }
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		if status != http.StatusInternalServerError || got.Code != "drpcerr(5)" || got.Msg != `no readings of sensor "attic"` {
			t.Errorf("got status %d with %s", status, body)
		}
	})

	t.Run("unknown method", func(t *testing.T) {
		status, body := post(t, server.URL+prefix+"Missing", "application/json", "home", []byte(`{}`))
		if status == http.StatusOK || !bytes.Contains(body, []byte("unknown rpc")) {
			t.Errorf("got status %d with %s", status, body)
		}
	})

	t.Run("server stream", func(t *testing.T) {
		// The frames of grpc-web are a byte of flags, four bytes of length and
		// the data.
		request := []byte(`{"sensor": "attic"}`)
		request = append([]byte{0, 0, 0, 0, byte(len(request))}, request...)
		status, body := post(t, server.URL+prefix+"History", "application/grpc-web+json", "home", request)
		if status != http.StatusOK {
			t.Fatalf("status %d, body %q", status, body)
		}
		for _, value := range []float64{20, 22} {
			n := int(body[4])
			var got sensorspb.Reading
			if err := protojson.Unmarshal(body[5:5+n], &got); err != nil {
				t.Fatal(err)
			}
			if err := expect(&got, newReading("attic", value)); err != nil {
				t.Error(err)
			}
			body = body[5+n:]
		}
		if !bytes.Contains(body, []byte("grpc-status: 0")) {
			t.Errorf("the stream ends with %q", body)
		}
	})
}
