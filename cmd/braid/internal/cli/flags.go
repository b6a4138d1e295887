package cli

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"braid/cmd/braid/internal/wire"
)

// The most that the flags accept. They keep a slip of the finger from eating
// the machine, and no use needs more.
const (
	mostUploads = 512
	mostCallers = 10_000
	mostTalkers = 64 // what the server lets into a room
	mostCancels = 10_000

	// Less than the least is all chance.
	leastStall, mostStall = 100 * time.Millisecond, 10 * time.Minute
	usualStall            = 2 * time.Second // of --stall without a value
)

// loadFlags say how to copy and what to do meanwhile.
type loadFlags struct {
	uploads, callers, talkers, cancels int
	chunk                              size

	// stall is how long is measured before and beside streams that nobody
	// reads. Zero: there are none.
	stall time.Duration

	// Not flags: what the defaults of the command are good for.
	leastCalls, leastLines int
}

// add defines the flags, with the values that are in f as defaults.
func (f *loadFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&f.uploads, "uploads", f.uploads, "copy this `many` files at once")
	flags.IntVar(&f.callers, "callers", f.callers, "let this `many` callers call without a pause meanwhile")
	flags.IntVar(&f.talkers, "talkers", f.talkers, "let this `many` chat meanwhile")
	flags.IntVar(&f.cancels, "cancels", f.cancels, "start this `many` more uploads and cancel them midway")
	flags.Var(&f.chunk, "chunk", "send files in pieces of this `size`, such as 32KiB, at most 1MiB")
}

// addStall defines the flag for streams that nobody reads.
func (f *loadFlags) addStall(flags *pflag.FlagSet) {
	flags.DurationVar(&f.stall, "stall", 0, "leave an upload and a download unread, and compare the calls of this `long` before that and during it")
	flags.Lookup("stall").NoOptDefVal = usualStall.String()
}

// checkStall refuses values of it that make no sense.
func (f *loadFlags) checkStall() error {
	switch {
	case f.stall == 0:
		return nil
	case f.stall < leastStall || f.stall > mostStall:
		return badUsage("--stall has to be between %v and %v, not %v", leastStall, mostStall, f.stall)
	case f.callers == 0:
		return badUsage("--stall compares calls: --callers has to be at least 1")
	}
	return nil
}

// check refuses values that make no sense.
func (f *loadFlags) check() error {
	for _, n := range []struct {
		flag               string
		value, least, most int
	}{
		{"uploads", f.uploads, 1, mostUploads},
		{"callers", f.callers, 0, mostCallers},
		{"talkers", f.talkers, 0, mostTalkers},
		{"cancels", f.cancels, 0, mostCancels},
		{"chunk", int(f.chunk), 1, wire.MaxChunk},
	} {
		if n.value < n.least || n.value > n.most {
			return badUsage("--%s has to be between %d and %d, not %d", n.flag, n.least, n.most, n.value)
		}
	}
	return nil
}

// size is a flag for a number of bytes.
type size int

var _ pflag.Value = (*size)(nil)

// Set parses a number with or without a unit. All units are binary.
func (s *size) Set(text string) error {
	digits := strings.TrimRight(text, "kKmMiIbB")
	unit, ok := map[string]int{
		"": 1, "b": 1,
		"k": 1 << 10, "kib": 1 << 10,
		"m": 1 << 20, "mib": 1 << 20,
	}[strings.ToLower(text[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 31)
	// The product has to fit the int of any machine.
	if !ok || err != nil || n*uint64(unit) > math.MaxInt32 {
		return fmt.Errorf("%q is not a size such as 32KiB", text)
	}
	*s = size(n) * size(unit)
	return nil
}

// String writes the size as Set takes it.
func (s *size) String() string {
	n := int(*s)
	switch {
	case n > 0 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + "MiB"
	case n > 0 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + "KiB"
	}
	return strconv.Itoa(n)
}

// Type names the kind of value in messages.
func (s *size) Type() string { return "size" }

// checkAddress refuses what cannot be an address, with or without a host.
func checkAddress(what, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return badUsage("%s has to be an address such as localhost:7000, not %q", what, addr)
	}
	if n, err := strconv.Atoi(port); err == nil && (n < 0 || n > 65535) {
		return badUsage("%s has the port %s, which is not between 0 and 65535", what, port)
	}
	return nil
}
