// Command ratios compares two stacks, braid and stock drpc unless told otherwise,
// by running the same work with one and the other in turn, round after round, and
// reports how the times relate within the rounds. Slow drifts of the machine,
// which spoil a comparison of two separate runs, then meet both sides alike.
//
// It reports and does not judge: unless -require is given, it ends with status
// 0 whatever the ratios are.
//
// Usage, from the module's directory:
//
//	go run ./cmd/ratios [-against grpc] [-rounds 8] [-time 300ms] [-run regexp] [-require]
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
)

// config is what the flags say.
type config struct {
	rounds  int
	time    time.Duration
	timeout time.Duration
	only    *regexp.Regexp
	list    bool

	// The names of the two stacks, and what lies below them.
	stack, against string
	transport      rig.Transport

	require bool
	quiet   bool
}

// errMissed says that a bar was missed while -require was given.
var errMissed = errors.New("a required ratio was missed")

func main() {
	rig.Main() // does not return if this is a server process
	cfg, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(cfg, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

// parse reads the flags.
func parse(args []string) (config, error) {
	var cfg config
	var only, transport string
	flags := flag.NewFlagSet("ratios", flag.ContinueOnError)
	flags.IntVar(&cfg.rounds, "rounds", 8, "how often each pair is run")
	flags.DurationVar(&cfg.time, "time", 300*time.Millisecond, "about how long one side of a round runs")
	flags.DurationVar(&cfg.timeout, "timeout", time.Minute, "give up when one side of a round takes this much longer than -time")
	flags.StringVar(&only, "run", "", "run only the pairs whose name matches this regular expression")
	flags.StringVar(&cfg.stack, "stack", "braid", "the stack that is measured")
	flags.StringVar(&cfg.against, "against", stock, "the stack that it is measured against; stock goes through its pool where there is more than one caller")
	flags.StringVar(&transport, "transport", string(rig.TCP), fmt.Sprintf("what lies below the stacks, one of %v", rig.Transports()))
	flags.BoolVar(&cfg.list, "list", false, "list the pairs and do nothing")
	flags.BoolVar(&cfg.require, "require", false, "fail if a pair that has a bar misses it")
	flags.BoolVar(&cfg.quiet, "q", false, "do not show progress")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if cfg.rounds < 1 || cfg.time <= 0 || cfg.timeout <= 0 {
		return config{}, errors.New("rounds, time and timeout have to be positive")
	}
	cfg.transport = rig.Transport(transport)
	var errs [3]error
	for i, name := range []string{cfg.stack, cfg.against} {
		var st stack.Stack
		if st, errs[i] = stack.Named(name); errs[i] == nil {
			errs[i] = cfg.transport.Check(st)
		}
	}
	cfg.only, errs[2] = regexp.Compile(only)
	return cfg, errors.Join(errs[:]...)
}

// run measures the pairs that are asked for and reports.
func run(cfg config, out, progress io.Writer) error {
	if cfg.quiet {
		progress = io.Discard
	}
	var pairs []pair
	for _, p := range cfg.allPairs() {
		if cfg.only.MatchString(p.name()) {
			pairs = append(pairs, p)
		}
	}
	if cfg.list {
		for _, p := range pairs {
			fmt.Fprintln(out, p.name())
		}
		return nil
	}
	if len(pairs) == 0 {
		return errors.New("no pair matches")
	}
	var results []result
	var skipped []string
	for _, p := range pairs {
		if why := cfg.supports(p); why != nil {
			skipped = append(skipped, fmt.Sprintf("%s: %v", p.name(), why))
			continue
		}
		fmt.Fprintln(progress, "running", p.name())
		res, err := measurePair(cfg, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name(), err)
		}
		results = append(results, res)
	}
	if err := report(out, cfg, results, skipped); err != nil {
		return err
	}
	if cfg.require && missed(results) {
		return errMissed
	}
	return nil
}
