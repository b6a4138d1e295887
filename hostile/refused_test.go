package hostile_test

import (
	"context"
	"strings"
	"testing"

	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmetadata"

	"braid/drpcconn"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// TestRefusedCallsDoNotCostTheConnection: a program with a mistake in it, that makes
// calls with more metadata than is taken, is no attacker. Its other calls go on.
func TestRefusedCallsDoNotCostTheConnection(t *testing.T) {
	tg := newTarget(t, nil)
	conn := drpcconn.New(drpctest.Dial(t, tg.addr))
	defer func() { _ = conn.Close() }()
	ctx := drpcmetadata.Add(context.Background(), "key", strings.Repeat("v", 17<<10))
	for i := range 3000 { // far more than frames that achieve nothing are allowed
		if _, err := drpctest.Call(ctx, conn, "x"); drpcerr.Code(err) != drpcwire.CodeResourceExhausted {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if _, err := drpctest.Call(context.Background(), conn, "x"); err != nil {
		t.Errorf("the call after the refused ones: %v", err)
	}
}
