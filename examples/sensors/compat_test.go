package sensors_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"storj.io/drpc"
	"storj.io/drpc/drpccache"
	"storj.io/drpc/drpcerr"

	stockconn "storj.io/drpc/drpcconn"
	stockmux "storj.io/drpc/drpcmux"
	stockserver "storj.io/drpc/drpcserver"

	"braid/drpcconn"
	"braid/drpcmux"
	"braid/drpcserver"
	"braid/examples/sensors"
	"braid/examples/sensors/sensorspb"
)

// conn is what the two libraries' connections have in common.
type conn interface {
	drpc.Conn
	Transport() drpc.Transport
}

// library is one of the two libraries.
type library struct {
	name  string
	dial  func(nc net.Conn) conn
	serve func(srv sensorspb.DRPCSensorsServer) func(ctx context.Context, lis net.Listener) error
}

// The two differ by nothing but the packages that the names stand for.
var libraries = []library{
	{
		name: "stock",
		dial: func(nc net.Conn) conn { return stockconn.New(nc) },
		serve: func(srv sensorspb.DRPCSensorsServer) func(ctx context.Context, lis net.Listener) error {
			mux := stockmux.New()
			if err := sensorspb.DRPCRegisterSensors(mux, srv); err != nil {
				panic(err)
			}
			return stockserver.New(mux).Serve
		},
	},
	{
		name: "braid",
		dial: func(nc net.Conn) conn { return drpcconn.New(nc) },
		serve: func(srv sensorspb.DRPCSensorsServer) func(ctx context.Context, lis net.Listener) error {
			mux := drpcmux.New()
			if err := sensorspb.DRPCRegisterSensors(mux, srv); err != nil {
				panic(err)
			}
			return drpcserver.New(mux).Serve
		},
	},
}

// scriptService adds to the service some methods that look at what the server
// passes to them.
type scriptService struct{ sensors.Service }

// Describe counts the calls made over the connection if it is asked to describe
// "calls", and waits to be canceled if it is asked to describe "patience".
func (s *scriptService) Describe(ctx context.Context, in *sensorspb.DescribeRequest) (*sensorspb.Summary, error) {
	switch in.GetSensor() {
	case "calls":
		calls := drpccache.FromContext(ctx).LoadOrCreate("calls", func() any { return new(atomic.Int64) })
		return &sensorspb.Summary{Count: calls.(*atomic.Int64).Add(1)}, nil
	case "patience":
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return s.Service.Describe(ctx, in)
	}
}

// script makes calls one after the other, and returns a line for each outcome.
func script(ctx context.Context, conn conn) []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	client := sensorspb.NewDRPCSensorsClient(conn)
	home := atSite(ctx, "home")

	describe := func(ctx context.Context, sensor string) {
		out, err := client.Describe(ctx, &sensorspb.DescribeRequest{Sensor: sensor})
		say("describe %.20q: %s", sensor, outcome(out, err))
	}
	recordAll := func(ctx context.Context, readings ...*sensorspb.Reading) {
		stream, err := client.Record(ctx)
		if err != nil {
			say("record: %s", outcome(nil, err))
			return
		}
		for _, reading := range readings {
			if err := stream.Send(reading); err != nil {
				say("record: send: %s", outcome(nil, err))
			}
		}
		out, err := stream.CloseAndRecv()
		say("record: %s", outcome(out, err))
		say("record: close: %s", outcome(nil, stream.Close()))
	}
	history := func(ctx context.Context, sensor string, limit int64, atMost int) {
		stream, err := client.History(ctx, &sensorspb.HistoryRequest{Sensor: sensor, Limit: limit})
		if err != nil {
			say("history: %s", outcome(nil, err))
			return
		}
		for range atMost {
			out, err := stream.Recv()
			say("history %q: %s", sensor, outcome(out, err))
		}
		say("history: close: %s", outcome(nil, stream.Close()))
		_, err = stream.Recv() // how this fails depends on what had arrived
		say("history: failed after close: %t", err != nil)
	}

	describe(home, "attic")
	recordAll(home)
	recordAll(home, newReading("attic", 21), newReading("attic", 23), newReading("attic", 22))
	recordAll(home, newReading("cellar", 9), newReading("", 10))
	describe(home, "attic")
	describe(home, "cellar")
	describe(ctx, "attic") // of another site
	describe(home, strings.Repeat("long ", 200_000))

	history(home, "attic", 0, 5) // beyond the end
	history(home, "attic", 2, 1) // not to the end
	history(home, "none", 0, 2)
	history(home, "attic", -1, 1)

	check, err := client.Check(home)
	if err != nil {
		say("check: %s", outcome(nil, err))
		return lines
	}
	for _, value := range []float64{20, 21, 24} {
		say("check: send: %s", outcome(nil, check.Send(newReading("attic", value))))
		out, err := check.Recv()
		say("check: %s", outcome(out, err))
	}
	say("check: close send: %s", outcome(nil, check.CloseSend()))
	say("check: send: %s", outcome(nil, check.Send(newReading("attic", 20))))
	out, err := check.Recv()
	say("check: %s", outcome(out, err))
	<-check.Context().Done()
	say("check: context: %s", outcome(nil, check.Context().Err()))

	for range 2 {
		describe(ctx, "calls")
	}

	_, enc, _, _, _ := sensorspb.DRPCSensorsDescription{}.Method(0)
	err = conn.Invoke(ctx, "/no.such.Service/Method", enc, new(sensorspb.Summary), new(sensorspb.Summary))
	say("unknown rpc: %s", outcome(nil, err))
	err = conn.Invoke(ctx, "", enc, new(sensorspb.Summary), new(sensorspb.Summary))
	say("empty rpc: %s", outcome(nil, err))

	canceled, cancel := context.WithCancel(ctx)
	cancel()
	describe(canceled, "attic")
	say("canceled stream: %s", func() string { _, err := client.Check(canceled); return outcome(nil, err) }())
	describe(home, "attic")
	return lines
}

// cancelScript cancels a call, which over stock ends the connection.
func cancelScript(ctx context.Context, conn conn) []string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := sensorspb.NewDRPCSensorsClient(conn).Check(ctx)
	if err != nil {
		return []string{outcome(nil, err)}
	}
	err = stream.Send(newReading("attic", 20))
	out, recvErr := stream.Recv()
	lines := []string{outcome(nil, err), outcome(out, recvErr)}

	cancel()
	out, err = stream.Recv()
	lines = append(lines, outcome(out, err))
	<-stream.Context().Done()
	err = stream.Send(newReading("attic", 20))
	// Stock says io.EOF, and leaves the reason to the receiving side. Braid says
	// the reason on either side.
	return append(lines, outcome(nil, stream.Context().Err()), fmt.Sprint("send failed: ", err != nil))
}

// timeoutScript makes a call that the server does not answer in time.
func timeoutScript(ctx context.Context, conn conn) []string {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	out, err := sensorspb.NewDRPCSensorsClient(conn).Describe(ctx, &sensorspb.DescribeRequest{Sensor: "patience"})
	return []string{outcome(out, err)}
}

// closeScript uses a connection that is closed.
func closeScript(ctx context.Context, conn conn) []string {
	client := sensorspb.NewDRPCSensorsClient(conn)
	stream, err := client.Check(ctx)
	lines := []string{outcome(nil, err)}
	lines = append(lines, outcome(nil, conn.Close()))
	<-conn.Closed()
	_, recvErr := stream.Recv()
	_, invokeErr := client.Describe(ctx, new(sensorspb.DescribeRequest))
	_, streamErr := client.Check(ctx)
	_, writeErr := conn.Transport().Write([]byte{0})
	return append(lines,
		failure(recvErr), failure(invokeErr), failure(streamErr),
		outcome(nil, conn.Close()),
		fmt.Sprint("transport is closed: ", errors.Is(writeErr, net.ErrClosed)),
	)
}

// failure describes an error that the two libraries word differently. What a
// program can depend on is that it is one, and not the end of a stream.
func failure(err error) string {
	return fmt.Sprint("failed: ", err != nil && !errors.Is(err, io.EOF))
}

// outcome describes the results of a call as far as a program can depend on
// them: all of a message and of an error that was sent by the server, and the
// kind of any other error.
func outcome(msg proto.Message, err error) string {
	switch {
	case err == nil && msg == nil:
		return "ok"
	case err == nil:
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
		return fmt.Sprintf("%T %.100x %v", msg, data, err)
	case err == io.EOF: //nolint:errorlint // programs compare like this
		return "EOF"
	case drpcerr.Code(err) != 0:
		return fmt.Sprintf("code %d: %.100v", drpcerr.Code(err), err)
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline exceeded"
	case drpc.ClosedError.Has(err):
		return "closed"
	default:
		return fmt.Sprintf("error: %.100v", err)
	}
}

// TestImportPathsAreTheOnlyChange runs the same code with either library on
// either side of a connection. To the code, and to the other side, the one must
// be as good as the other.
func TestImportPathsAreTheOnlyChange(t *testing.T) {
	for name, script := range map[string]func(context.Context, conn) []string{
		"calls":   script,
		"cancel":  cancelScript,
		"timeout": timeoutScript,
		"close":   closeScript,
	} {
		t.Run(name, func(t *testing.T) {
			run := func(t *testing.T, client, server library) string {
				nc := connect(t, server.serve(new(scriptService)))
				conn := client.dial(nc)
				defer func() { _ = conn.Close() }()
				return strings.Join(script(deadline(t), conn), "\n")
			}
			stock := libraries[0]
			want := run(t, stock, stock)
			for _, client := range libraries {
				for _, server := range libraries {
					t.Run(client.name+" to "+server.name, func(t *testing.T) {
						if got := run(t, client, server); got != want {
							t.Errorf("got:\n%s\nwant:\n%s", got, want)
						}
					})
				}
			}
		})
	}
}

// TestProgramsWithOtherImports builds the example programs as they are, and with
// the import paths of braid replaced by those of stock, and has each client talk
// to each server.
func TestProgramsWithOtherImports(t *testing.T) {
	switch {
	case testing.Short():
		t.Skip("builds programs")
	case runtime.GOOS == "windows":
		t.Skip("cannot interrupt a process")
	}
	bin, err := buildPrograms()
	if err != nil {
		t.Fatal(err)
	}

	var want string
	for _, client := range libraries {
		for _, server := range libraries {
			t.Run(client.name+" to "+server.name, func(t *testing.T) {
				addr, httpURL := startServer(t, filepath.Join(bin, server.name, "server"))

				out, err := exec.CommandContext(t.Context(), filepath.Join(bin, client.name, "client"), "-addr", addr).CombinedOutput()
				if err != nil {
					t.Fatalf("client: %v\n%s", err, out)
				}
				if want == "" {
					want = string(out)
				}
				if string(out) != want {
					t.Errorf("got:\n%swant:\n%s", out, want)
				}

				status, body := post(t, httpURL+"/braid.examples.sensors.Sensors/Describe", "application/json", "home", []byte(`{"sensor": "cellar"}`))
				if status != http.StatusOK || !bytes.Contains(body, []byte(`"cellar"`)) {
					t.Errorf("HTTP: status %d, body %s", status, body)
				}
			})
		}
	}
}

// startServer runs the server program until the test is over, when it must stop
// as told by a Ctrl-C. It returns the addresses that it serves on.
func startServer(t *testing.T, path string) (addr, httpURL string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, "-addr", "127.0.0.1:0", "-http", "127.0.0.1:0")
	// The test's context is canceled before its cleanup, and must not kill it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	t.Cleanup(func() {
		var last string
		for lines.Scan() {
			last = lines.Text()
		}
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) || last != "server: stopped" {
			t.Errorf("server stopped with %v after logging %q", err, last)
		}
	})

	for addr == "" || httpURL == "" {
		if !lines.Scan() {
			t.Fatalf("server did not start: %v", lines.Err())
		}
		if s, ok := strings.CutPrefix(lines.Text(), "server: serving DRPC on "); ok {
			addr = s
		}
		if s, ok := strings.CutPrefix(lines.Text(), "server: serving HTTP on "); ok {
			httpURL = "http://" + s
		}
	}
	return addr, httpURL
}

// programsDir is where TestMain has the programs built.
var programsDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sensors")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programsDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// buildPrograms builds the programs, once, and returns the directory that has
// those of each library in a directory with its name.
var buildPrograms = sync.OnceValues(func() (string, error) {
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for _, program := range []string{"server", "client"} {
		source, err := filepath.Abs(filepath.Join(program, "main.go"))
		if err != nil {
			return "", err
		}
		text, err := os.ReadFile(source)
		if err != nil {
			return "", err
		}
		changed := bytes.ReplaceAll(text, []byte(`"braid/drpc`), []byte(`"storj.io/drpc/drpc`))
		if bytes.Equal(changed, text) {
			return "", fmt.Errorf("%s imports nothing of braid", source)
		}
		overlay.Replace[source] = filepath.Join(programsDir, program+".go")
		if err := os.WriteFile(overlay.Replace[source], changed, 0o666); err != nil {
			return "", err
		}
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	overlayFile := filepath.Join(programsDir, "overlay.json")
	if err := os.WriteFile(overlayFile, data, 0o666); err != nil {
		return "", err
	}

	for library, flags := range map[string][]string{
		"braid": nil,
		"stock": {"-overlay", overlayFile},
	} {
		args := append([]string{"build"}, flags...)
		args = append(args, "-o", filepath.Join(programsDir, library)+string(filepath.Separator), "./server", "./client")
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build for %s: %w\n%s", library, err, out)
		}
	}
	return programsDir, nil
})
