package drpctest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main runs the tests of a package and fails if a goroutine of this module
// outlives them:
//
//	func TestMain(m *testing.M) { drpctest.Main(m) }
func Main(m *testing.M) {
	code := m.Run()
	if leaked := Leaked(); code == 0 && len(leaked) > 0 {
		fmt.Fprintf(os.Stderr, "%d leaked goroutines:\n\n%s\n", len(leaked), strings.Join(leaked, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// Leaked returns the stacks of the goroutines, other than the caller's, that are
// running code of this module. A goroutine that is about to end gets some time
// to do so: nothing tells from outside that one has really gone.
func Leaked() []string {
	var leaked []string
	poll(5*time.Second, func() bool {
		leaked = running()
		return len(leaked) == 0
	})
	return leaked
}

// Eventually waits for a condition that nothing signals, and reports whether it came
// to hold. It gives up after ten seconds: what is looked for is what hangs, not what
// is slow.
func Eventually(holds func() bool) bool { return poll(10*time.Second, holds) }

func poll(patience time.Duration, holds func() bool) bool {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if holds() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Stacks returns what all goroutines do, the caller's first.
func Stacks() string {
	buf := make([]byte, 16<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

func running() (stacks []string) {
	for i, stack := range strings.Split(Stacks(), "\n\n") {
		if i > 0 && strings.Contains(stack, "braid/") { // the first is the caller
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
