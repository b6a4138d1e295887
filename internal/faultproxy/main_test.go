package faultproxy

import (
	"testing"

	"braid/internal/drpctest"
)

func TestMain(m *testing.M) {
	RunIfAsked()
	drpctest.Main(m)
}
