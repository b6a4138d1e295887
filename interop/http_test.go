package interop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpchttp"

	"braid/internal/drpctest"
)

// httpService answers with what it was told, and fails where it is told to.
func httpService() *drpctest.Service {
	fail := drpcerr.WithCode(errors.New("told to fail"), 7)
	return &drpctest.Service{
		UnaryFn: func(ctx context.Context, in *drpctest.Msg) (*drpctest.Msg, error) {
			switch in.String() {
			case "fail":
				return nil, fail
			case "nothing":
				return nil, nil
			case "metadata":
				return drpctest.Text(describeMetadata(ctx)), nil
			}
			return in, nil
		},
		DownFn: func(in *drpctest.Msg, stream drpc.Stream) error {
			for _, text := range []string{"a", "b"} {
				if err := drpctest.Send(stream, text); err != nil {
					return err
				}
			}
			if in.String() == "fail" {
				return fail
			}
			return nil
		},
	}
}

// TestMuxServesHTTP through drpchttp, with the answers that stock's mux gives.
func TestMuxServesHTTP(t *testing.T) {
	const grpcWeb = "application/grpc-web+proto"
	framed := func(text string) string { return fmt.Sprintf("\x00\x00\x00\x00%c%s", len(text), text) }
	requests := []struct{ name, rpc, contentType, body, want string }{
		{"json", drpctest.Unary, "application/json", `"aGVsbG8="`, `"aGVsbG8="`},
		{"protobuf", drpctest.Unary, "application/protobuf", "hello", "hello"},
		{"error", drpctest.Unary, "application/protobuf", "fail", "told to fail"},
		{"no answer", drpctest.Unary, "application/protobuf", "nothing", ""},
		{"metadata", drpctest.Unary, "application/protobuf", "metadata", `"k"="v="`},
		{"client stream", drpctest.Up, "application/protobuf", "up", "up"},
		{"unknown rpc", "/nobody/knows", "application/json", `""`, "unknown rpc"},
		{"grpc-web", drpctest.Unary, grpcWeb, framed("hello"), framed("hello")},
		{"grpc-web server stream", drpctest.Down, grpcWeb, framed("x"), framed("a") + framed("b")},
		{"grpc-web error", drpctest.Down, grpcWeb, framed("fail"), "grpc-status: 7"},
	}
	urls := make(map[string]string)
	for _, s := range stacks {
		web := httptest.NewServer(drpchttp.New(s.handler(t, httpService())))
		defer web.Close()
		urls[s.name] = web.URL
	}
	for _, request := range requests {
		t.Run(request.name, func(t *testing.T) {
			answers := make(map[string]string)
			for name, url := range urls {
				answers[name] = post(t, url+request.rpc, request.contentType, request.body)
			}
			if answers["braid"] != answers["stock"] {
				t.Errorf("braid %s\nstock %s", answers["braid"], answers["stock"])
			}
			if !strings.Contains(answers["braid"], request.want) {
				t.Errorf("got  %s\nwant %q in it", answers["braid"], request.want)
			}
		})
	}
}

// post returns what is essential of the response.
func post(t *testing.T, url, contentType, body string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Drpc-Metadata", "k=v%3D")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return fmt.Sprintf("%s, %s: %s", resp.Status, resp.Header.Get("Content-Type"), data)
}
