// Command fairness shows how small calls fare beside bulk streams on the same
// connection: braid against grpc-go, in turn, in one process, round after round.
//
// Each cell has a server and a connection of its own, bulk streams that do what
// the mode says, and callers that make one small unary call after another:
//
//	upload    clients send as fast as they can, handlers read and discard
//	download  handlers send as fast as they can, clients read and discard
//	stalled   clients send until they are blocked, handlers never read
//
// A call that has not returned when -grace is over after the time that is
// measured makes its round "stalled". It reports and does not judge: the status
// is 0 unless a call or a stream has failed.
//
// Usage:
//
//	go run ./bench/cmd/fairness [-mode upload,stalled] [-streams 0,8] [-link 5ms,100M] [-json]
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"braid/bench/internal/beside"
	"braid/bench/internal/blob"
	"braid/bench/internal/link"
	"braid/bench/internal/stack"
)

// config is what the flags say.
type config struct {
	modes    []beside.Mode
	streams  []int // bulk streams, for the modes upload and download
	stalled  []int // bulk streams, for the mode stalled
	size     int   // of bulk messages, in bytes
	callers  int
	callSize int // of calls, in bytes
	warm     time.Duration
	time     time.Duration
	grace    time.Duration
	rounds   int
	link     link.Link
	json     bool
	quiet    bool
	stacks   []stack.Stack // the one measured, and the one it is measured against
}

// errFailed says that the report has failures in it.
var errFailed = errors.New("a round has failed")

func main() {
	cfg, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(cfg, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fairness:", err)
		os.Exit(1)
	}
}

// parse reads the flags.
func parse(args []string) (config, error) {
	cfg := config{stacks: []stack.Stack{stack.Braid(), stack.GRPC()}}
	flags := flag.NewFlagSet("fairness", flag.ContinueOnError)
	modes := flags.String("mode", "upload,download,stalled", "what the bulk streams do, one or more")
	streams := flags.String("streams", "0,1,8,64", "numbers of bulk streams that upload or download")
	stalled := flags.String("stalled", "1,8,1000", "numbers of bulk streams that are not read; 0 is always measured with them")
	slow := flags.String("link", "", "put a link with a one-way delay and a rate in between, as in 5ms,100M (bits per second)")
	flags.IntVar(&cfg.size, "size", 64<<10, "size of bulk messages, in bytes")
	flags.IntVar(&cfg.callers, "callers", 4, "callers, each of which makes one call after another")
	flags.IntVar(&cfg.callSize, "callsize", 16, "size of a call and of its answer, in bytes")
	flags.DurationVar(&cfg.warm, "warm", 500*time.Millisecond, "how long everything runs before it is measured")
	flags.DurationVar(&cfg.time, "time", 2*time.Second, "how long is measured")
	flags.DurationVar(&cfg.grace, "grace", 3*time.Second, "how long to wait then for calls, and for each other thing that may stall")
	flags.IntVar(&cfg.rounds, "rounds", 4, "how often each cell is measured")
	flags.BoolVar(&cfg.json, "json", false, "print JSON, with the figures of every round")
	flags.BoolVar(&cfg.quiet, "q", false, "do not show progress")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	var errs [4]error
	cfg.modes, errs[0] = parseModes(*modes)
	cfg.streams, errs[1] = parseCounts("streams", *streams)
	cfg.stalled, errs[2] = parseCounts("stalled", *stalled)
	if *slow != "" {
		cfg.link, errs[3] = link.Parse(*slow)
	}
	return cfg, errors.Join(append(errs[:], cfg.check())...)
}

// check refuses numbers that make no sense.
func (cfg config) check() error {
	if cfg.rounds < 1 || cfg.callers < 1 {
		return errors.New("rounds and callers have to be positive")
	}
	if cfg.time <= 0 || cfg.grace <= 0 || cfg.warm < 0 {
		return errors.New("time and grace have to be positive, and warm must not be negative")
	}
	for name, size := range map[string]int{"size": cfg.size, "callsize": cfg.callSize} {
		if size < blob.MinSize || size > beside.MaxSize {
			return fmt.Errorf("%s is %d, and has to be from %d to %d", name, size, blob.MinSize, beside.MaxSize)
		}
	}
	return nil
}

// parseModes reads names of modes.
func parseModes(s string) ([]beside.Mode, error) {
	var modes []beside.Mode
	for name := range strings.SplitSeq(s, ",") {
		mode := beside.Mode(strings.TrimSpace(name))
		if !slices.Contains(beside.Modes(), mode) {
			return nil, fmt.Errorf("mode %q is none of %v", name, beside.Modes())
		}
		if !slices.Contains(modes, mode) {
			modes = append(modes, mode)
		}
	}
	return modes, nil
}

// parseCounts reads numbers of streams, and sorts them.
func parseCounts(name, s string) ([]int, error) {
	const most = 100_000
	var counts []int
	for field := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 0 || n > most {
			return nil, fmt.Errorf("%s: %q is not a number from 0 to %d", name, field, most)
		}
		counts = append(counts, n)
	}
	slices.Sort(counts)
	return slices.Compact(counts), nil
}

// run measures everything and reports.
func run(cfg config, out, progress io.Writer) error {
	if cfg.quiet {
		progress = io.Discard
	}
	res := measureAll(cfg, progress)
	var err error
	if cfg.json {
		err = writeJSON(out, cfg, res)
	} else {
		err = writeText(out, cfg, res)
	}
	if err == nil && res.failed() {
		err = errFailed
	}
	return err
}
