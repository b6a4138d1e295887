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
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		leaked := running()
		if len(leaked) == 0 || time.Now().After(deadline) {
			return leaked
		}
	}
}

func running() (stacks []string) {
	buf := make([]byte, 16<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(stack, "braid/") { // the first is the caller
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
