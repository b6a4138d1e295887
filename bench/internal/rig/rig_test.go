package rig

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/bench/internal/blob"
	"braid/bench/internal/link"
	"braid/bench/internal/stack"
)

// start starts a rig.
func start(t *testing.T, st stack.Stack, cfg Config) *Rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := Start(ctx, st, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCountsAreThoseOfTheServer(t *testing.T) {
	for _, transport := range Transports() {
		r := start(t, stack.Pool(), Config{Transport: transport, Setup: stack.Setup{Callers: 3, Size: 100}})
		stream, err := r.Client().Open(t.Context(), stack.MethodUpload)
		if err != nil {
			t.Fatal(err)
		}
		msg := blob.New(100, 1)
		for seq := range uint64(5) {
			msg.Stamp(0, seq)
			if err := stream.Send(msg); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(stream.CloseSend(), stream.Recv(msg), stream.Close()); err != nil {
			t.Fatal(err)
		}
		counts, err := r.Counts()
		if want := (Counts{Conns: 3, Received: 500}); err != nil || counts != want {
			t.Errorf("%s: %+v, %v, want %+v", transport, counts, err, want)
		}
		if got := r.Separate(); got != (transport == Processes) {
			t.Errorf("%s: separate: %v", transport, got)
		}
		here, server, err := r.Footprint()
		if err != nil || here.Goroutines < 1 || here.Bytes < 1 || server.Goroutines < 1 || server.Bytes < 1 {
			t.Errorf("%s: footprints %+v and %+v, %v", transport, here, server, err)
		}
		if same := here == server; same != (transport != Processes) {
			t.Errorf("%s: footprints %+v and %+v", transport, here, server)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

// recorded is a connection that keeps what is written to it.
type recorded struct {
	net.Conn
	mu      sync.Mutex
	written []byte // guarded by mu
}

func (c *recorded) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.written = append(c.written, p...)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func TestTLSEncryptsAndShowsNoStackThatItDoes(t *testing.T) {
	ours, theirs := net.Pipe()
	wire := &recorded{Conn: ours}
	server, err := serverTLS(theirs)
	if err != nil {
		t.Fatal(err)
	}
	echoed := make(chan error, 1)
	go func() { // ends with the connection
		_, err := io.Copy(server, server)
		echoed <- err
	}()
	client, err := clientTLS(t.Context(), wire)
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{client, server} {
		if _, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
			t.Error("a connection tells of its handshake")
		}
	}
	const text = "nobody is to read this"
	in := make([]byte, len(text))
	if _, err := io.WriteString(client, text); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, in); err != nil || string(in) != text {
		t.Errorf("%q, %v", in, err)
	}
	wire.mu.Lock()
	if len(wire.written) < len(text) || bytes.Contains(wire.written, []byte(text)) {
		t.Errorf("%d bytes were written, with the text among them", len(wire.written))
	}
	wire.mu.Unlock()
	_ = ours.Close()
	<-echoed
}

func TestAKilledRigEndsItsCallsAndItself(t *testing.T) {
	for _, transport := range Transports() {
		for _, st := range []stack.Stack{stack.Braid(), stack.GRPC(), stack.NetRPC(), stack.Floor()} {
			t.Run(string(transport)+"/"+st.Name, func(t *testing.T) {
				r := start(t, st, Config{Transport: transport, Setup: stack.Setup{Callers: 1, Size: 16}})
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					in, out := blob.New(16, 1), new(blob.Blob)
					for r.Client().Echo(t.Context(), in, out) == nil {
					}
				}()
				r.Kill()
				select {
				case <-ended:
				case <-time.After(20 * time.Second):
					t.Fatal("calls go on")
				}
				_ = r.Close() // whatever it says of what has been killed
			})
		}
	}
}

func TestWhatCannotBeStartedIsRefused(t *testing.T) {
	unknown := stack.Braid()
	unknown.Name = "unknown"
	broken := stack.Stack{
		Name: "broken",
		Serve: func(ctx context.Context, lis net.Listener, _ *stack.Service, _ stack.Setup) error {
			<-ctx.Done()
			return lis.Close()
		},
		Client: func(context.Context, stack.Dial, stack.Setup) (stack.Client, error) {
			return nil, errors.New("broken today")
		},
	}
	for want, start := range map[string]struct {
		stack.Stack
		Config
	}{
		`stack "unknown" is none of`:     {unknown, Config{Transport: Processes}},
		`transport "pigeons" is none of`: {stack.Braid(), Config{Transport: "pigeons"}},
		"a link needs the transport tcp": {stack.Braid(), Config{Transport: TLS, Link: link.Link{Delay: time.Second}}},
		"stack broken: broken today":     {broken, Config{}},
	} {
		if r, err := Start(t.Context(), start.Stack, start.Config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v, want %q", r, err, want)
		}
	}
}

func TestAServerProcessRefusesWhatItDoesNotUnderstand(t *testing.T) {
	order := `{"stack":"floor","setup":{"Callers":1}}`
	for _, test := range []struct{ order, in, want string }{
		{"not JSON", "", "order: invalid character"},
		{`{"stack":"unknown"}`, "", `stack "unknown" is none of`},
		{order, "riddle\n", `question "riddle"`},
	} {
		if err := serveChild(test.order, strings.NewReader(test.in), io.Discard); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.order, err, test.want)
		}
	}
}

func TestASlowLinkDelaysCalls(t *testing.T) {
	r := start(t, stack.Braid(), Config{Link: link.Link{Delay: 5 * time.Millisecond}})
	began := time.Now()
	if err := stack.FirstCall(t.Context(), r.Client()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 10*time.Millisecond {
		t.Errorf("a call took %v over a link of 5ms each way", took)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
