package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"braid/drpcmux"
	"braid/drpcserver"
	"braid/examples/sensors"
	"braid/examples/sensors/sensorspb"
)

func Example_run() {
	ctx, cancel := context.WithCancel(context.Background())
	mux := drpcmux.New()
	if err := sensorspb.DRPCRegisterSensors(mux, new(sensors.Service)); err != nil {
		fmt.Println(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
	}
	served := make(chan error, 1)
	go func() { served <- drpcserver.New(mux).Serve(ctx, lis) }()

	if err := run(ctx, os.Stdout, lis.Addr().String(), "home"); err != nil {
		fmt.Println(err)
	}

	cancel()
	if err := <-served; err != nil {
		fmt.Println(err)
	}
	// Output:
	// record: 3 readings of home/attic
	// describe: home/attic is between 21 and 23, on average 22
	// record: 2 readings of home/cellar
	// history: attic was last at [23 22]
	// check: for attic 20 is LEVEL_LOW 22 is LEVEL_NORMAL 24 is LEVEL_HIGH
}
