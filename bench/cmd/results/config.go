package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"braid/bench/internal/report"
)

// config is what the flags say.
type config struct {
	rounds  int
	time    time.Duration
	warm    time.Duration
	timeout time.Duration
	only    *regexp.Regexp
	stacks  []string // or none for all
	out     string   // folder to write into, or "" to print
	quick   bool
	list    bool
	quiet   bool
	args    []string // as they were given
}

// The bounds of what can be asked for: more than this is a slip of the hand.
const (
	maxRounds = 100
	maxTime   = time.Minute
)

// parse reads the flags. It says on usage how they are used, if they are not.
func parse(args []string, usage io.Writer) (config, error) {
	cfg := config{args: args}
	flags := flag.NewFlagSet("results", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.IntVar(&cfg.rounds, "rounds", 6, "how often each cell is measured; sweeps over callers and sizes have half as many")
	flags.DurationVar(&cfg.time, "time", 150*time.Millisecond, "about how long one stack is measured in a cell and round")
	flags.DurationVar(&cfg.warm, "warm", 40*time.Millisecond, "about how long it works before that")
	flags.DurationVar(&cfg.timeout, "timeout", time.Minute, "give up on a measurement that takes this much longer")
	only := flags.String("run", "", "measure only the cells whose name matches this regular expression; see -list")
	names := flags.String("stacks", "", "measure only these stacks, separated by commas; braid has to be one of them")
	flags.StringVar(&cfg.out, "out", "", "folder for RESULTS.md and results/ (default: bench/, or the terminal if only a part is measured)")
	flags.BoolVar(&cfg.quick, "quick", false, "measure a few cells briefly: 4 rounds of 50ms after 20ms, if not told otherwise")
	flags.BoolVar(&cfg.list, "list", false, "list the cells and do nothing")
	flags.BoolVar(&cfg.quiet, "q", false, "do not show progress")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if cfg.quick {
		cfg.hurry(given)
	}
	var errs [3]error
	cfg.only, errs[0] = regexp.Compile(*only)
	cfg.stacks, errs[1] = parseStacks(*names, given["stacks"])
	errs[2] = cfg.check()
	if err := errors.Join(errs[:]...); err != nil {
		return config{}, err
	}
	if part := cfg.quick || given["run"] || given["stacks"]; !part && cfg.out == "" && !cfg.list {
		return cfg, cfg.findOut(".")
	}
	return cfg, nil
}

// hurry sets what -quick implies and was not given.
func (cfg *config) hurry(given map[string]bool) {
	if !given["rounds"] {
		cfg.rounds = 4 // of fewer the test can say nothing
	}
	if !given["time"] {
		cfg.time = 50 * time.Millisecond
	}
	if !given["warm"] {
		cfg.warm = 20 * time.Millisecond
	}
}

// check refuses numbers that make no sense.
func (cfg *config) check() error {
	if cfg.rounds < 1 || cfg.rounds > maxRounds {
		return fmt.Errorf("rounds is %d, and has to be from 1 to %d", cfg.rounds, maxRounds)
	}
	if cfg.time <= 0 || cfg.time > maxTime {
		return fmt.Errorf("time is %v, and has to be above 0 and at most %v", cfg.time, maxTime)
	}
	if cfg.warm < 0 || cfg.warm > maxTime {
		return fmt.Errorf("warm is %v, and has to be from 0 to %v", cfg.warm, maxTime)
	}
	if cfg.timeout <= 0 {
		return fmt.Errorf("timeout is %v, and has to be above 0", cfg.timeout)
	}
	return nil
}

// parseStacks reads names of stacks. All ratios are to braid, so that it has to
// be one of them.
func parseStacks(s string, given bool) ([]string, error) {
	if !given {
		return nil, nil
	}
	var names []string
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			return nil, fmt.Errorf("stacks: there is an empty name in %q", s)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if !slices.Contains(names, report.Base) {
		return nil, fmt.Errorf("stacks: %q lacks %s, which all others are related to", s, report.Base)
	}
	return names, nil
}

// findOut looks for this module, as seen from a folder: its own, or the one
// above.
func (cfg *config) findOut(from string) error {
	for _, folder := range []string{filepath.Join(from, "bench"), from} {
		text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module braid/bench\n") {
			cfg.out = folder
			return nil
		}
	}
	return errors.New("there is no folder bench here: run from the root of the project, or say where to write with -out")
}
