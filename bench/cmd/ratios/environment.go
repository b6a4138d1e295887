package main

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"braid/bench/internal/figures"
)

// writeEnvironment says what was measured and on what machine.
func writeEnvironment(w io.Writer, cfg config) {
	fmt.Fprintf(w, "go:       %s %s/%s, GOMAXPROCS %d of %d CPUs\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.NumCPU())
	fmt.Fprintf(w, "cpu:      %s\n", figures.CPUModel())
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if value, ok := os.LookupEnv(name); ok {
			fmt.Fprintf(w, "env:      %s=%s\n", name, value)
		}
	}
	a, b := sides()
	fmt.Fprintf(w, "compared: %s %s\n", a.Module, figures.ModuleVersion(a.Module))
	fmt.Fprintf(w, "against:  %s %s\n", b.Module, figures.ModuleVersion(b.Module))
	fmt.Fprintf(w, "rounds:   %d, each %s then %s, about %v a side\n", cfg.rounds, a.Name, b.Name, cfg.time)
}
