// Command client makes calls of all four shapes to the sensors server, at the
// same time and over one connection.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"

	"google.golang.org/protobuf/types/known/timestamppb"

	"storj.io/drpc/drpcmetadata"

	"braid/drpcconn"
	"braid/examples/sensors"
	"braid/examples/sensors/sensorspb"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("client: ")
	addr := flag.String("addr", "127.0.0.1:9080", "`address` of the server")
	site := flag.String("site", "home", "`site` that the sensors belong to")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	if err := run(ctx, os.Stdout, *addr, *site); err != nil {
		log.Fatal(err)
	}
}

// run makes the calls, and prints what came of them.
func run(ctx context.Context, w io.Writer, addr, site string) (err error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	conn := drpcconn.New(nc)
	defer func() { err = errors.Join(err, conn.Close()) }()

	client := sensorspb.NewDRPCSensorsClient(conn)
	ctx = drpcmetadata.Add(ctx, sensors.SiteKey, site)

	// The other calls need something to work on.
	line, err := record(ctx, client, "attic", 21, 23, 22)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	fmt.Fprintln(w, line)

	calls := []struct {
		name string
		do   func() (string, error)
	}{
		{"describe", func() (string, error) { return describe(ctx, client, "attic") }},
		{"record", func() (string, error) { return record(ctx, client, "cellar", 9, 11) }},
		{"history", func() (string, error) { return history(ctx, client, "attic", 2) }},
		{"check", func() (string, error) { return check(ctx, client, "attic", 20, 22, 24) }},
	}
	lines, errs := make([]string, len(calls)), make([]error, len(calls))
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(func() {
			if lines[i], errs[i] = call.do(); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", call.name, errs[i])
			}
		})
	}
	wg.Wait()

	for i, line := range lines {
		if errs[i] == nil {
			fmt.Fprintln(w, line)
		}
	}
	return errors.Join(errs...)
}

// describe makes a unary call: one request, one response.
func describe(ctx context.Context, client sensorspb.DRPCSensorsClient, sensor string) (string, error) {
	out, err := client.Describe(ctx, &sensorspb.DescribeRequest{Sensor: sensor})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("describe: %s/%s is between %g and %g, on average %g",
		out.GetSite(), out.GetSensor(), out.GetMin(), out.GetMax(), out.GetMean()), nil
}

// record makes a client streaming call: many requests, one response.
func record(ctx context.Context, client sensorspb.DRPCSensorsClient, sensor string, values ...float64) (_ string, err error) {
	stream, err := client.Record(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()

	for _, value := range values {
		err := stream.Send(reading(sensor, value))
		if errors.Is(err, io.EOF) {
			break // the call is over already, and CloseAndRecv tells how it ended
		}
		if err != nil {
			return "", err
		}
	}
	out, err := stream.CloseAndRecv()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("record: %d readings of %s/%s", out.GetCount(), out.GetSite(), sensor), nil
}

// history makes a server streaming call: one request, many responses.
func history(ctx context.Context, client sensorspb.DRPCSensorsClient, sensor string, limit int64) (_ string, err error) {
	stream, err := client.History(ctx, &sensorspb.HistoryRequest{Sensor: sensor, Limit: limit})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()

	var values []float64
	for {
		reading, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("history: %s was last at %v", sensor, values), nil
		}
		if err != nil {
			return "", err
		}
		values = append(values, reading.GetValue())
	}
}

// check makes a bidirectional streaming call: each side sends as it likes, and
// here the client waits for the response to each of its requests.
func check(ctx context.Context, client sensorspb.DRPCSensorsClient, sensor string, values ...float64) (_ string, err error) {
	stream, err := client.Check(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()

	line := "check: for " + sensor
	for _, value := range values {
		// As in record, io.EOF leaves it to the receiving side to tell more.
		if err := stream.Send(reading(sensor, value)); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		verdict, err := stream.Recv()
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" %g is %v", value, verdict.GetLevel())
	}
	return line, stream.CloseSend()
}

// reading returns a reading that was made just now.
func reading(sensor string, value float64) *sensorspb.Reading {
	return &sensorspb.Reading{Sensor: sensor, Time: timestamppb.Now(), Value: value}
}
