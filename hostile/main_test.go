package hostile_test

import (
	"testing"
	"time"

	"braid/internal/drpctest"
)

func TestMain(m *testing.M) {
	attackIfAsked()
	drpctest.Main(m)
}

// patience is how long anything may take that must happen. It is wide because the
// machine may be shared and the race detector on: what is looked for is what
// hangs, not what is slow.
const patience = 10 * time.Second
