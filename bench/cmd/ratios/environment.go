package main

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"braid/bench/internal/figures"
	"braid/bench/internal/stack"
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
	for i, name := range []string{cfg.stack, cfg.against} {
		fmt.Fprintf(w, "%s %s\n", []string{"compared:", "against: "}[i], versionOf(name))
	}
	fmt.Fprintf(w, "over:     %s\n", cfg.transport.Settings())
	fmt.Fprintf(w, "rounds:   %d, each %s then %s, about %v a side\n", cfg.rounds, cfg.stack, cfg.against, cfg.time)
}

// versionOf says where a stack comes from.
func versionOf(name string) string {
	st, err := stack.Named(name)
	if err != nil {
		return name
	}
	if st.Module == "" {
		return name
	}
	return st.Module + " " + figures.ModuleVersion(st.Module)
}
