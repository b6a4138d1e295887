//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// nobody is an unprivileged user, for tests that run as root.
const nobody = 65534

func TestUnreadableFilesAreNamedAndTheOthersCopied(t *testing.T) {
	dir, into := t.TempDir(), t.TempDir()
	// Whoever reads it has to be able to come there.
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"secret/inside", "unreadable", "fine", "also/fine"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"secret", "unreadable"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	// So that the directory can be removed.
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "secret"), 0o755) })

	server, addr := serve(t, "--into", into)
	p := startCommand(t, func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, binary, "copy", dir, addr)
		if os.Geteuid() == 0 { // to whom everything is readable
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		return cmd
	})
	p.wait(t).expect(t, 1,
		"braid: cannot read secret: permission denied\n",
		"braid: cannot copy unreadable: permission denied\n",
		"2 of 3 copied, 2 failed",
		"FAILED  2 of 4 files",
		"braid: 2 files or directories could not be copied\n",
	)
	stop(t, server).expect(t, 0)
	compareTree(t, into, map[string]file{"fine": {"x", 0o644}, "also/fine": {"x", 0o644}})
}
