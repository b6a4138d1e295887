// Command minimal is a server and a client of it, in as little code as it takes.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"sync"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/examples/sensors/sensorspb"
)

type service struct {
	sensorspb.DRPCSensorsUnimplementedServer
}

func (service) Describe(_ context.Context, in *sensorspb.DescribeRequest) (*sensorspb.Summary, error) {
	return &sensorspb.Summary{Sensor: in.GetSensor(), Count: 1}, nil
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	mux := drpcmux.New()
	check(sensorspb.DRPCRegisterSensors(mux, new(service)))
	server := drpcserver.New(mux)
	go func() { check(server.Serve(ctx, lis)) }()

	nc, err := net.Dial("tcp", lis.Addr().String())
	check(err)
	conn := drpcconn.New(nc)
	defer conn.Close()
	client := sensorspb.NewDRPCSensorsClient(conn)

	var wg sync.WaitGroup
	for i := range 3 { // at the same time, over the one connection
		wg.Go(func() {
			out, err := client.Describe(ctx, &sensorspb.DescribeRequest{Sensor: fmt.Sprint("sensor ", i)})
			check(err)
			fmt.Println(out.GetSensor(), "has", out.GetCount(), "reading")
		})
	}
	wg.Wait()

	// Calls in progress would finish, as long as ctx lasts, and new ones are refused.
	check(server.Shutdown(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
