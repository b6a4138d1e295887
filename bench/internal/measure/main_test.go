package measure

import (
	"testing"

	"braid/bench/internal/rig"
	"braid/internal/drpctest"
)

func TestMain(m *testing.M) {
	rig.Main() // does not return if this is a server process
	drpctest.Main(m)
}
