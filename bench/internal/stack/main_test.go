package stack

import (
	"testing"

	"braid/internal/drpctest"
)

func TestMain(m *testing.M) { drpctest.Main(m) }
