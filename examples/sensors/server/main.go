// Command server serves the sensors service, over DRPC and, if it is told to,
// as JSON over HTTP:
//
//	go run braid/examples/sensors/server -http 127.0.0.1:9081 &
//	curl -H 'Content-Type: application/json' -H 'X-Drpc-Metadata: site=home' \
//	    -d '{"sensor": "attic"}' \
//	    http://127.0.0.1:9081/braid.examples.sensors.Sensors/Describe
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"

	"storj.io/drpc/drpchttp"

	"braid/drpcmux"
	"braid/drpcserver"
	"braid/examples/sensors"
	"braid/examples/sensors/sensorspb"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("server: ")
	addr := flag.String("addr", "127.0.0.1:9080", "`address` to serve DRPC on")
	httpAddr := flag.String("http", "", "`address` to serve JSON over HTTP on (default none)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	if err := run(ctx, *addr, *httpAddr); err != nil {
		log.Fatal(err)
	}
}

// run serves until the context is canceled.
func run(ctx context.Context, addr, httpAddr string) error {
	mux := drpcmux.New()
	if err := sensorspb.DRPCRegisterSensors(mux, new(sensors.Service)); err != nil {
		return err
	}

	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	log.Printf("serving DRPC on %s", lis.Addr())

	if httpAddr != "" {
		httpLis, err := net.Listen("tcp", httpAddr)
		if err != nil {
			return errors.Join(err, lis.Close())
		}
		log.Printf("serving HTTP on %s", httpLis.Addr())
		// The same mux serves both, so both see the same readings.
		server := &http.Server{Handler: drpchttp.New(mux)}
		defer func() { _ = server.Close() }()
		go func() {
			if err := server.Serve(httpLis); !errors.Is(err, http.ErrServerClosed) {
				log.Printf("HTTP: %v", err)
			}
		}()
	}

	// Serve closes the listener when the context is canceled, cancels the calls
	// that are being handled, and returns once they are over.
	if err := drpcserver.New(mux).Serve(ctx, lis); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	log.Print("stopped")
	return nil
}
