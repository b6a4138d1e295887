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

func TestDemoShowsThatStalledStreamsHoldUpNobody(t *testing.T) {
	dir, files := makeTree(t)
	into := filepath.Join(t.TempDir(), "into")
	got := braid(t, "demo", "--stall=1s", "--into", into, "--callers", "20", "--cancels", "5", "--chunk", "16KiB", dir)
	got.expect(t, 0,
		"stall: measuring for 1s before it begins\n",
		"stall: 2 streams that nobody reads are held after ",
		", 2 streams held after ",
		"5 of 5 canceled uploads",
	)
	compareTree(t, into, files)
	for _, row := range []string{
		`(?m)^stalled +2 +8,193 +8,194 +8\.0 MiB +8\.0 MiB$`,
		`(?m)^stalled +messages +bytes sent +within +then held for +arrived in the end$`,
		`(?m)^upload +\d\d +\d\d\.0 KiB +\S+ (µs|ms|s) +\S+ s +8\.0 MiB$`,
		`(?m)^download +\d\d +\d\d\.0 KiB +\S+ (µs|ms|s) +\S+ s +8\.0 MiB$`,
		`(?m)^calls before it +[\d,]+ +[\d.]+ (µs|ms|s) `,
		`(?m)^calls during it +[\d,]+ +[\d.]+ (µs|ms|s) `,
		`(?m)^chat during it +[\d,]+ +[\d.]+ (µs|ms|s) `,
		`(?m)^  during/before +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$`,
		`(?m)^ok      stalled upload: held after \d\d\.0 KiB; later 8\.0 MiB arrived, with one SHA-256$`,
		`(?m)^ok      stalled download: held after \d\d\.0 KiB; later 8\.0 MiB arrived, with one SHA-256$`,
		`(?m)^ok      [\d,]+ calls a second before the stall, [\d,]+ during it$`,
	} {
		if !regexp.MustCompile(row).MatchString(got.stdout) {
			t.Errorf("no row matches %s", row)
		}
	}
	for _, line := range strings.Split(got.stdout, "\n") {
		if len([]rune(line)) > 90 {
			t.Errorf("this line is long: %s", line)
		}
	}
	if t.Failed() {
		t.Errorf("stdout:\n%s", got.stdout)
	}
}

func TestStallGoesWithOneCallerAndNothingElse(t *testing.T) {
	got := braid(t, "demo", "--stall=500ms", "--callers", "1", "--talkers", "0", "--cancels", "0", t.TempDir())
	got.expect(t, 0, "calls during it", "stalled download: held after ")
	if strings.Contains(got.stdout, "chat during it") {
		t.Errorf("there is no chat:\n%s", got.stdout)
	}
}

func TestWithoutStallThereIsNoWordOfIt(t *testing.T) {
	got := braid(t, "demo", "--callers", "1", "--stall=0", t.TempDir())
	got.expect(t, 0)
	if all := got.stdout + got.stderr; strings.Contains(all, "stall") || strings.Contains(all, "held") {
		t.Errorf("there is:\n%s", all)
	}
}

func TestInterruptingAStalledDemoEndsItAndCleansUp(t *testing.T) {
	for _, moment := range []string{"stall: measuring for ", "stall: 2 streams that nobody reads are held"} {
		dir, temp := oneFile(t), t.TempDir()
		p := startIn(t, dir, temp, "demo", "--stall=2s", "--callers", "5")
		p.await(t, moment)
		p.signal(t, syscall.SIGINT)
		p.wait(t).expect(t, 130, "braid: interrupted: 0 of 1 files were copied\n")
		if entries, err := os.ReadDir(temp); err != nil || len(entries) > 0 {
			t.Errorf("it left %v, %v", entries, err)
		}
	}
}
