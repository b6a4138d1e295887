package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"storj.io/drpc/drpcerr"
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
