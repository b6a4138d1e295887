package interop_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmetadata"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// TestMessageOverTheLimitCostsItsStream, with a code that says so, whichever side
// receives it, and never the connection (M39). Stock would hang up.
func TestMessageOverTheLimitCostsItsStream(t *testing.T) {
	const limit = 1 << 10
	small := options{MaximumBufferSize: limit}
	tests := map[string]struct {
		p              pair
		client, server options
	}{
		"stock client":             {pair{stock, braid}, options{}, small},
		"stock server":             {pair{braid, stock}, small, options{}},
		"braid, the server limits": {pair{braid, braid}, options{}, small},
		"braid, the client limits": {pair{braid, braid}, small, options{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// Small requests get an answer as large as they ask for.
			service := &drpctest.Service{UnaryFn: func(_ context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
				if in.String() == "large" {
					return drpctest.Text(large), nil
				}
				return in, nil
			}}
			addr := test.p.server.serve(t, service, test.server)
			c := test.p.client.dial(t, addr, test.client)
			request := large
			if test.client.MaximumBufferSize > 0 {
				request = "large"
			}
			for range 5 {
				got, err := drpctest.Call(bg, c, request)
				// A stock client whose stream ends while it is still sending
				// returns io.EOF and does not look for the reason.
				stillSending := test.p.client.name == "stock" && err == io.EOF //nolint:errorlint // it is io.EOF itself
				if drpcerr.Code(err) != drpcwire.CodeResourceExhausted && !stillSending {
					t.Errorf("got %s", answer(got, err))
				}
				echo(t, c, "next")
			}
		})
	}
}

// TestMetadataOverTheLimitCostsItsStream: a braid server takes 16 KiB of it, and
// says so. Stock has no limit below that of a message, which a braid client may
// use with it.
func TestMetadataOverTheLimitCostsItsStream(t *testing.T) {
	for _, size := range []int{20 << 10, 200 << 10, 2 << 20} {
		ctx := drpcmetadata.Add(context.Background(), "key", strings.Repeat("v", size))
		forEachPair(t, func(t *testing.T, p pair) {
			service := &drpctest.Service{UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
				if pairs, ok := drpcmetadata.Get(ctx); ok && len(pairs["key"]) == size {
					return drpctest.Text("all of it"), nil
				}
				return in, nil
			}}
			c := p.connect(t, service, options{})
			for range 5 {
				got, err := drpctest.Call(ctx, c, "x")
				refused := drpcerr.Code(err) == drpcwire.CodeResourceExhausted ||
					p.client.name == "stock" && err == io.EOF //nolint:errorlint // see above
				if p.server.name == "braid" && !refused || p.server.name == "stock" && got != "all of it" {
					t.Errorf("%d bytes: got %s", size, answer(got, err))
				}
				echo(t, c, "next")
			}
		})
	}
}
