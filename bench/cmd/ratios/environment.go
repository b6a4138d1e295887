package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// writeEnvironment says what was measured and on what machine.
func writeEnvironment(w io.Writer, cfg config) {
	fmt.Fprintf(w, "go:       %s %s/%s, GOMAXPROCS %d of %d CPUs\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.NumCPU())
	fmt.Fprintf(w, "cpu:      %s\n", cpuModel())
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if value, ok := os.LookupEnv(name); ok {
			fmt.Fprintf(w, "env:      %s=%s\n", name, value)
		}
	}
	a, b := sides()
	fmt.Fprintf(w, "compared: %s %s\n", a.Module, moduleVersion(a.Module))
	fmt.Fprintf(w, "against:  %s %s\n", b.Module, moduleVersion(b.Module))
	fmt.Fprintf(w, "rounds:   %d, each %s then %s, about %v a side\n", cfg.rounds, a.Name, b.Name, cfg.time)
}

// cpuModel returns the name of the CPU where the system tells it in a file.
func cpuModel() string {
	const unknown = "unknown"
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return unknown
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

// moduleVersion returns the version of a module that is linked in.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown version)"
	}
	for _, mod := range info.Deps {
		if mod.Path != path {
			continue
		}
		if mod.Replace != nil {
			return fmt.Sprintf("%s, replaced by %s %s", mod.Version, mod.Replace.Path, mod.Replace.Version)
		}
		return mod.Version
	}
	return "(unknown version)"
}
