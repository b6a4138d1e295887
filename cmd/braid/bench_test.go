package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"braid/cmd/braid/internal/load/blob"
	"braid/cmd/braid/internal/load/loadtest"
)

// stockBench serves the bench service with storj.io/drpc.
func stockBench(t *testing.T) string {
	t.Helper()
	return loadtest.Stock.Serve(t, func(m drpc.Mux) error { return m.Register(blob.Service{}, blob.Description{}) })
}

// outcome is what tests look at of the JSON.
type outcome struct {
	Ended    string
	Measured bool
	Elapsed  float64 `json:"elapsed_s"`
	Options  struct {
		Loop      string
		SizeBytes int `json:"size_bytes"`
		Workers   int
		Conns     int
		Client    string
		Warmup    float64 `json:"warmup_s"`
	}
	Server struct {
		Protocol string
		Shares   bool `json:"calls_share_connections"`
	}
	Operations struct {
		OK, Failed, Unfinished, Due int64
		NotSent                     int64 `json:"not_sent"`
	}
	Payload struct {
		Sent     int64 `json:"sent_bytes"`
		Received int64 `json:"received_bytes"`
	}
	Latency, Late struct{ Count int64 }
	Errors        []struct {
		Kind  string
		Code  uint64
		Count int64
		Text  string
	}
}

// readOutcome reads the JSON that is all of stdout.
func readOutcome(t *testing.T, got result) (o outcome) {
	t.Helper()
	if err := json.Unmarshal([]byte(got.stdout), &o); err != nil {
		t.Fatalf("%v in:\n%s\n%s", err, got.stdout, got.stderr)
	}
	return o
}

func TestBenchMeasuresEveryWorkBetweenAllEnds(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir())
	for peer, addr := range map[string]string{"braid": addr, "stock": stockBench(t)} {
		for _, client := range []string{"braid", "stock"} {
			for _, work := range []string{"unary", "upload", "download", "ping-pong"} {
				t.Run(fmt.Sprintf("%s/%s/%s", peer, client, work), func(t *testing.T) {
					args := []string{"bench", "--json", "--work", work, "--client", client, "--count", "200", "--size", "1KiB"}
					workers, conns := "--streams", 1
					if work == "unary" {
						workers = "--callers"
					}
					args = append(args, workers, "3")
					switch {
					case client == "stock":
						conns = 3
					case peer == "stock":
						args, conns = append(args, "--conns", "3"), 3
					}
					got := braid(t, append(args, addr)...)
					got.expect(t, 0)
					o := readOutcome(t, got)
					if o.Operations.OK != 200 || o.Operations.Failed+o.Operations.Unfinished != 0 || o.Latency.Count != 200 ||
						o.Ended != "completed" || !o.Measured || o.Options.Warmup != 0 || got.stderr != "" {
						t.Errorf("%s%s", got.stdout, got.stderr)
					}
					if o.Options.Conns != conns || o.Options.Workers != 3 || o.Server.Shares != (client == "braid" && peer == "braid") {
						t.Errorf("%+v, %+v", o.Options, o.Server)
					}
					if bytes := o.Payload.Sent + o.Payload.Received; bytes != 200<<10 && bytes != 400<<10 {
						t.Errorf("%d bytes", bytes)
					}
				})
			}
		}
	}
	stop(t, server).expect(t, 0, "stored 0 files")
}

func TestBenchWritesItsResultAndNothingElse(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir())
	got := braid(t, "bench", "--callers", "8", "--conns", "2", "--warmup", "50ms", "--duration", "200ms", addr)
	got.expect(t, 0, "unary, 16 B each, 8 callers; closed loop\n", addr+", 2 connections, TCP\n",
		" ms, after a warm-up of 50.0 ms\n", " ok, 0 failed\n", "\np99.99 ", "closed loop: ")
	if got.stderr != "" || strings.Contains(got.stdout, "note:") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", got.stdout, got.stderr)
	}

	got = braid(t, "bench", "--rate", "200", "--arrival", "poisson", "--warmup", "0", "--duration", "500ms", "--json", addr)
	got.expect(t, 0)
	o := readOutcome(t, got)
	if n := o.Operations; o.Options.Loop != "open" || n.OK != n.Due || n.NotSent != 0 || n.Due < 60 || n.Due > 150 {
		t.Errorf("%s", got.stdout)
	}
	stop(t, server).expect(t, 0)
}

func TestBenchShowsHowItGoesWhereItIsAsked(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir())
	got := braid(t, "bench", "--interval", "100ms", "--warmup", "1s", "--duration", "1s", "--json", addr)
	got.expect(t, 0, "s of warm-up  ", "s left  ", "/s, p50 ", ", p99 ")
	readOutcome(t, got)
	if strings.ContainsAny(got.stderr, "\r\x1b") {
		t.Errorf("there are control characters in %q", got.stderr)
	}
	stop(t, server).expect(t, 0)
}

func TestBenchWritesADistribution(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir())
	file := filepath.Join(t.TempDir(), "latency.hgrm")
	braid(t, "bench", "--count", "500", "--hdr", file, addr).expect(t, 0, "500 ok")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "1/(1-Percentile)") || !strings.Contains(string(text), "Total count    =          500]") {
		t.Errorf("%v:\n%s", err, text)
	}
	braid(t, "bench", "--count", "5", "--hdr", t.TempDir(), addr).expect(t, 1, "cannot write ", "is a directory")
	stop(t, server).expect(t, 0)
}

func TestBenchOverTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "")
	server, addr := serve(t, "--into", t.TempDir(), "--tls-cert", cert, "--tls-key", key)
	plain, plainAddr := serve(t, "--into", t.TempDir())
	for _, client := range []string{"braid", "stock"} {
		bench := []string{"bench", "--client", client, "--callers", "2", "--count", "20"}
		braid(t, append(bench, "--tls-ca", ca.file, addr)...).expect(t, 0, ", TLS 1.3\n", "20 ok")
		braid(t, append(bench, "--tls-ca", newAuthority(t).file, addr)...).
			expect(t, 1, "cannot connect to "+addr, "certificate signed by unknown authority")
		braid(t, append(bench, "--tls-ca", ca.file, "--tls-server-name", "other.test", addr)...).
			expect(t, 1, "cannot connect to "+addr, "certificate")
		braid(t, append(bench, "--tls-ca", ca.file, plainAddr)...).
			expect(t, 1, "cannot connect to "+plainAddr, "does the server speak TLS?")
		braid(t, append(bench, addr)...).expect(t, 1, "the server does not speak DRPC here, or only over TLS")
	}
	stop(t, server).expect(t, 0)
	stop(t, plain).expect(t, 0)
}

func TestBenchWithoutAServerSaysSo(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{"braid", "stock"} {
		got := braid(t, "bench", "--client", client, addr)
		got.expect(t, 1, "braid: cannot connect to "+addr+": ", "connection refused")
		if got.stdout != "" {
			t.Errorf("%q", got.stdout)
		}
	}
}

func TestBenchOfAServerWithoutTheServiceSaysWhatToDo(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir(), "--bench=false")
	empty := loadtest.Stock.Serve(t, func(drpc.Mux) error { return nil })
	for _, addr := range []string{addr, empty} {
		for _, client := range []string{"braid", "stock"} {
			braid(t, "bench", "--client", client, addr).expect(t, 1,
				"the server does not have the bench service", "run 'braid serve' there, or call a method that it has: --method ")
			got := braid(t, "bench", "--client", client, "--method", "/no.Such/Method", addr)
			got.expect(t, 1, "the server does not have the method /no.Such/Method", "unknown rpc")
			if got.stdout != "" {
				t.Errorf("%q", got.stdout)
			}
		}
	}
	stop(t, server).expect(t, 0)
}

// foreign is a service that bench knows nothing of.
type foreign struct {
	mu   sync.Mutex
	seen map[string]int // requests; guarded by mu
}

func (f *foreign) Call(_ context.Context, in *blob.Message) (*blob.Message, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[string(in.Data)]++
	if string(in.Data) == "fail" {
		return nil, drpcerr.WithCode(errors.New("as you like"), 7)
	}
	return &blob.Message{Data: []byte("answer")}, nil
}

func (f *foreign) NumMethods() int { return 1 }

func (f *foreign) Method(n int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	return "/foreign.Service/Call", blob.Encoding{}, func(srv any, ctx context.Context, in, _ any) (drpc.Message, error) {
		return srv.(*foreign).Call(ctx, in.(*blob.Message))
	}, (*foreign).Call, n == 0
}

func TestBenchCallsAMethodOfAnyServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "request")
	if err := os.WriteFile(file, []byte("\x0a\x03abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, stack := range loadtest.Stacks {
		for _, client := range []string{"braid", "stock"} {
			f := &foreign{seen: make(map[string]int)}
			addr := stack.Serve(t, func(m drpc.Mux) error { return m.Register(f, f) })
			bench := []string{"bench", "--client", client, "--callers", "2", "--method", "/foreign.Service/Call"}
			braid(t, append(bench, "--count", "30", "--data", "hello", addr)...).expect(t, 0,
				"unary /foreign.Service/Call, 5 B each, 2 callers", "30 ok, 0 failed", "150 B sent", "180 B received", "counted and not checked")
			braid(t, append(bench, "--count", "20", "--data-file", file, addr)...).expect(t, 0, "20 ok", "100 B sent")
			braid(t, append(bench, "--count", "10", addr)...).expect(t, 0, "10 ok", "0 B sent")
			f.mu.Lock()
			if f.seen["hello"] != 30 || f.seen["\x0a\x03abc"] != 20 || f.seen[""] != 10 || len(f.seen) != 3 {
				t.Errorf("%s, %s: %v", stack, client, f.seen)
			}
			f.mu.Unlock()
			got := braid(t, append(bench, "--count", "40", "--data", "fail", "--json", addr)...)
			got.expect(t, 1, "braid: 40 of 40 calls failed or were unfinished")
			if o := readOutcome(t, got); len(o.Errors) != 1 || o.Errors[0].Kind != "error" || o.Errors[0].Code != 7 || o.Errors[0].Count != 40 || o.Errors[0].Text != "as you like" {
				t.Errorf("%s", got.stdout)
			}
			braid(t, append(bench, "--count", "4000", "--data", "fail", "--max-errors", "3", addr)...).
				expect(t, 1, "ENDED EARLY  too many failed after ", "braid: gave up after ", "(--max-errors)", "as you like")
		}
	}
	braid(t, "bench", "--method", "/a/b", "--data-file", file+"x", "localhost:1").expect(t, 1, "cannot read "+file+"x: no such file")
}

func TestARequestThatIsTooLargeIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "request")
	if err := os.WriteFile(file, make([]byte, blob.MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	braid(t, "bench", "--method", "/a/b", "--data-file", file, "localhost:1").expect(t, 1, "cannot use "+file+" as a request: it is larger than the 4 MiB")
	if err := os.Truncate(file, blob.MaxSize); err != nil {
		t.Fatal(err)
	}
	f := &foreign{seen: make(map[string]int)}
	addr := loadtest.Stock.Serve(t, func(m drpc.Mux) error { return m.Register(f, f) })
	braid(t, "bench", "--method", "/foreign.Service/Call", "--count", "1", "--callers", "1", "--data-file", file, addr).expect(t, 0, "4.0 MiB sent")
}

func TestBenchTakesTurnsWhereTheServerIsNotBraid(t *testing.T) {
	addr := stockBench(t)
	braid(t, "bench", "--callers", "5", "--count", "50", addr).expect(t, 0, "50 ok", "calls take turns",
		"note: 5 callers took turns on 1 connection", "--conns 5 gives each a connection")
	got := braid(t, "bench", "--work", "ping-pong", "--streams", "5", "--count", "50", addr)
	got.expect(t, 1, "carries one stream at a time: for 5 streams give --conns 5 or --client stock")
	if got.stdout != "" {
		t.Errorf("%q", got.stdout)
	}
}

// endless starts a bench that goes on until something happens to it, and waits until
// it has measured something.
func endless(t *testing.T, args ...string) *process {
	t.Helper()
	p := start(t, append([]string{"bench", "--warmup", "0", "--interval", "100ms", "--duration", "1h"}, args...)...)
	p.await(t, "0.")
	return p
}

func TestABenchWhoseServerDiesTellsWhatItMeasured(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--client", "stock"}, {"--rate", "500"}, {"--work", "upload"}, {"--work", "download"},
		{"--work", "ping-pong", "--streams", "3"}, {"--work", "ping-pong", "--client", "stock", "--streams", "3"},
	} {
		server, addr := serve(t, "--into", t.TempDir())
		p := endless(t, append(args, "--json", addr)...)
		server.signal(t, syscall.SIGKILL)
		got := p.wait(t)
		got.expect(t, 1, "braid: the connection was lost after ")
		o := readOutcome(t, got)
		found := false
		for _, e := range o.Errors {
			found = found || e.Kind == "connection"
		}
		if o.Ended != "connection lost" || o.Operations.OK == 0 || !found {
			t.Errorf("%v:\n%s", args, got.stdout)
		}
		server.wait(t)
	}
}

func TestABenchWhoseServerShutsDownSaysSo(t *testing.T) {
	for _, args := range [][]string{{}, {"--work", "upload"}, {"--work", "ping-pong", "--streams", "3"}} {
		server, addr := serve(t, "--into", t.TempDir(), "--drain", "1h")
		p := endless(t, append(args, addr)...)
		stop(t, server).expect(t, 0)
		p.wait(t).expect(t, 1, "ENDED EARLY  server shutting down after ", " ok, ", "it is shutting down\n")
	}
}

func TestAnInterruptedBenchTellsWhatItMeasured(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir())
	for _, args := range [][]string{
		{}, {"--client", "stock"}, {"--rate", "500"}, {"--work", "upload"}, {"--work", "download"}, {"--work", "ping-pong"},
	} {
		p := endless(t, append(args, addr)...)
		p.signal(t, syscall.SIGINT)
		got := p.wait(t)
		got.expect(t, 130, "ENDED EARLY  interrupted after ", "; these are the figures so far\n", " 0 failed", "braid: interrupted: the figures are those of ")
		if !strings.HasPrefix(got.stdout, "ENDED EARLY") {
			t.Errorf("it is not said first:\n%s", got.stdout)
		}
	}
	stop(t, server).expect(t, 0)
}

func TestBenchHelpHasEveryNameOfTheJSON(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir())
	var all map[string]any
	if err := json.Unmarshal([]byte(braid(t, "bench", "--count", "5", "--json", addr).stdout), &all); err != nil {
		t.Fatal(err)
	}
	stop(t, server).expect(t, 0)
	help := braid(t, "bench", "--help").stdout
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, value := range v {
				if !strings.Contains(help, name) {
					t.Errorf("the help does not have %s", name)
				}
				walk(value)
			}
		case []any:
			for _, value := range v {
				walk(value)
			}
		}
	}
	walk(all)
}
