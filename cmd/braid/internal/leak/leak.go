// Package leak makes the tests of a package fail if they leave goroutines
// behind.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"braid/cmd/braid/internal/measure"
)

// patience is how long goroutines that are just ending may take.
const patience = 10 * time.Second

// Main is for TestMain: it runs the tests and ends the process.
func Main(m interface{ Run() int }) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if after := measure.AtRestBelow(before, patience).Goroutines; code == 0 && after > before {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines before the tests, %d after:\n%s\n",
			before, after, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}
