package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestDemoCopiesATreeAndReports(t *testing.T) {
	dir, files := makeTree(t)
	into := filepath.Join(t.TempDir(), "into")
	got := braid(t, "demo", "--into", into, "--callers", "50", dir)
	got.expect(t, 0,
		"braid: skipped link: symbolic link\n",
		"braid: skipped nothing in it: empty directory\n",
		" 16 of 16 canceled uploads were noticed by the server",
		" 1 connection was accepted",
		" 0 other things",
	)
	compareTree(t, into, files)

	// The rows of the tables.
	for _, row := range []string{
		`(?m)^connection  one, 127\.0\.0\.1:\d+ to 127\.0\.0\.1:\d+, TCP$`,
		`(?m)^files +\d+ of \d+ copied, 0 failed, 2 skipped$`,
		`(?m)^size +[\d.]+ MiB in [\d.]+ m?s, `,
		`(?m)^ +streams  messages sent  received  bytes sent +received$`,
		`(?m)^uploads +1\d\d +`,
		`(?m)^canceled +16 `,
		`(?m)^calls +[\d,]+ `,
		`(?m)^chat +4 `,
		`(?m)^control +18 `,
		`(?m)^total `,
		`(?m)^latency +count +per second +p50 +p90 +p99 +p99\.9 +max$`,
		`(?m)^calls +[\d,]+ +[\d,]+ +[\d.]+ (µs|ms|s) +[\d.]+ (µs|ms|s) `,
		`(?m)^cancel noticed +16 `,
		`(?m)^process +before +during \(peak\) +after$`,
		`(?m)^goroutines +\d+ +[\d,]+ +\d+$`,
		`(?m)^heap +[\d.]+ [KM]iB +[\d.]+ [KM]iB +[\d.]+ [KM]iB$`,
		`(?m)^ok    `,
	} {
		if !regexp.MustCompile(row).MatchString(got.stdout) {
			t.Errorf("no row matches %s", row)
		}
	}
	if strings.Contains(got.stdout, "FAILED") || t.Failed() {
		t.Errorf("stdout:\n%s", got.stdout)
	}
}

func TestOutputThatIsNoTerminalGetsPlainLines(t *testing.T) {
	got := braid(t, "demo", "--callers", "1", t.TempDir())
	got.expect(t, 0, "0.0s  0 B of 0 B  0 of 0 files")
	if all := got.stdout + got.stderr; strings.ContainsAny(all, "\r\x1b█") {
		t.Errorf("there is a bar in %q", all)
	}
}

func TestDemoTakesTheCurrentDirectoryAndCleansUp(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startIn(t, dir, temp, "demo", "--callers", "2", "--talkers", "1", "--cancels", "3")
	p.wait(t).expect(t, 0, "1 of 1 copied")
	if left := readTree(t, temp); len(left) > 0 {
		t.Errorf("it left %d files", len(left))
	}
	p = startIn(t, dir, temp, "demo", "--keep", "--callers", "0", "--talkers", "0", "--cancels", "0")
	got := p.wait(t)
	got.expect(t, 0, "1 of 1 copied", "braid: the copy is in "+temp)
	if left := readTree(t, temp); len(left) != 1 {
		t.Errorf("it kept %d files", len(left))
	}
}

func TestDemoDoesNotMixItsCopyWithOtherFiles(t *testing.T) {
	dir, into := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(into, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	braid(t, "demo", "--into", into, dir).expect(t, 1, "is not empty")
}

func TestInterruptingTheDemoEndsItAndCleansUp(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	// Holes take no space, and more time to read than the signal needs.
	if err := os.WriteFile(filepath.Join(dir, "huge"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "huge"), 1<<36); err != nil {
		t.Fatal(err)
	}
	p := startIn(t, dir, temp, "demo", "--callers", "5")
	p.await(t, "   0.0s  0 B of 64.0 GiB")
	p.signal(t, syscall.SIGINT)
	p.wait(t).expect(t, 130, "braid: interrupted: 0 of 1 files were copied\n")
	if entries, err := os.ReadDir(temp); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}
