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

// soon is how long an attacked server waits where it waits for a minute or so by default.
// It waits as long for honest clients, which have to be in time.
func soon() time.Duration {
	if drpctest.Race {
		return time.Second
	}
	return 400 * time.Millisecond
}
