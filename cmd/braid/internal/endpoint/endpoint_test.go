package endpoint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"braid/cmd/braid/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestTCPConnects(t *testing.T) {
	lis, err := Listen(t.Context(), "127.0.0.1:0", Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	conn, err := Dial(t.Context(), lis.Addr().String(), Trust{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := Describe(conn); !strings.HasPrefix(got, "one, 127.0.0.1:") || !strings.HasSuffix(got, ", TCP") {
		t.Errorf("it is described as %q", got)
	}
}

func TestErrorsNameWhatIsWrong(t *testing.T) {
	lis, err := Listen(t.Context(), "127.0.0.1:0", Certificate{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	addr := lis.Addr().String()

	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	dial := func(trust Trust) error {
		_, err := Dial(t.Context(), addr, trust)
		return err
	}
	listen := func(addr string, cert Certificate) error {
		_, err := Listen(t.Context(), addr, cert)
		return err
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"address in use":        {listen(addr, Certificate{}), "cannot listen on " + addr},
		"missing certificate":   {listen("127.0.0.1:0", Certificate{missing, missing}), "missing.pem"},
		"malformed certificate": {listen("127.0.0.1:0", Certificate{empty, empty}), "cannot use the certificate"},
		"missing CA":            {dial(Trust{CAFile: missing}), "missing.pem"},
		"malformed CA":          {dial(Trust{CAFile: empty}), "no certificate in PEM form"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, test.err, test.want)
		}
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, "127.0.0.1:1", Trust{}); err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		t.Fatal(err)
	}
}
