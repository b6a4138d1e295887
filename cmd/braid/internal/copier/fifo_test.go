//go:build unix

package copier

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestANamedPipeInThePlaceOfAFileDoesNotBlock(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.from, "small")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	res := r.run(t)
	if err := r.failed["small"]; res.Failed != 1 || err == nil || !strings.Contains(err.Error(), "no longer a regular file") {
		t.Errorf("failed %v", r.failed)
	}
}
