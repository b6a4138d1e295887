package rig

import (
	"testing"

	"braid/internal/drpctest"
)

func TestMain(m *testing.M) {
	Main() // does not return if this is a server process
	drpctest.Main(m)
}
