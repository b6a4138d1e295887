package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"braid/bench/internal/figures"
	"braid/bench/internal/report"
)

// environment says what is measured, and on what machine.
func environment(cfg config) []report.Item {
	items := []report.Item{
		{Key: "goos", Value: runtime.GOOS},
		{Key: "goarch", Value: runtime.GOARCH},
		{Key: "pkg", Value: "braid/bench/cmd/results"},
		{Key: "cpu", Value: figures.CPUModel()},
		{Key: "cpus", Value: fmt.Sprint(runtime.NumCPU())},
		{Key: "gomaxprocs", Value: fmt.Sprint(runtime.GOMAXPROCS(0))},
		{Key: "kernel", Value: kernel()},
		{Key: "go", Value: runtime.Version()},
		{Key: "date", Value: time.Now().UTC().Format("2006-01-02 15:04 MST"), Passing: true},
		{Key: "command", Value: strings.Join(append([]string{"go run ./bench/cmd/results"}, cfg.args...), " "), Passing: true},
		{Key: "rounds", Value: fmt.Sprintf("%d, and %d of sweeps over callers and sizes", cfg.rounds, (cfg.rounds+1)/2), Passing: true},
		{Key: "time", Value: fmt.Sprintf("%v after %v of the same work, per stack, cell and round; ten times that with %d callers", cfg.time, cfg.warm, manyCallers), Passing: true},
	}
	if text := commit(); text != "" {
		items = append(items, report.Item{Key: "commit", Value: text, Passing: true})
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if value, ok := os.LookupEnv(name); ok {
			items = append(items, report.Item{Key: strings.ToLower(name), Value: value})
		}
	}
	return items
}

// kernel returns the version of the system where it tells it in a file.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// commit returns the commit of the folder that the program runs in, or "".
func commit() string {
	text, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
