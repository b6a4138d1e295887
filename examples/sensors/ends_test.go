package sensors_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"braid/drpcconn"
	"braid/drpcserver"
	"braid/examples/sensors"
	"braid/examples/sensors/sensorspb"
)

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
