// Command results measures many RPC stacks on the same work and reports how they
// relate to braid: tables, plots, and a file that benchstat reads.
//
// Stacks are measured in turn, in one process, round after round, so that slow
// drifts of the machine meet all alike, and ratios are taken within rounds. It
// reports and does not judge: that braid misses an aim, or that a stack cannot do
// something, does not change the status. It ends with status 1 if something has
// failed, or if it was interrupted; it reports what there is even then.
//
// Usage:
//
//	go run ./bench/cmd/results                   # all: RESULTS.md and results/ in bench/
//	go run ./bench/cmd/results -quick            # some of it, printed, in two minutes
//	go run ./bench/cmd/results -run Upload -stacks braid,grpc
//	go run ./bench/cmd/results -list
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"braid/bench/internal/rig"
)

// The ways in which there is a report and yet not all of it.
var (
	errFailed      = errors.New("something has failed: see the report")
	errInterrupted = errors.New("interrupted: the report is incomplete")
)

func main() {
	rig.Main() // serves instead, if this process is the server of a measurement
	cfg, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		// A second signal ends the program at once.
		context.AfterFunc(ctx, stop)
		err = run(ctx, cfg, stacks{}, os.Stdout, os.Stderr)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "results:", err)
		os.Exit(1)
	}
}

// run measures what is asked for and reports.
func run(ctx context.Context, cfg config, m measurer, out io.Writer, terminal *os.File) error {
	p, err := newPlan(cfg, m)
	if err != nil {
		return err
	}
	if cfg.list {
		for _, t := range p.tasks {
			fmt.Fprintln(out, t.cell.Name())
		}
		return nil
	}
	// A folder that cannot be written is better found before all the work.
	if err := makeFolders(cfg.out); err != nil {
		return err
	}
	res := measureAll(ctx, cfg, m, p, newProgress(cfg, terminal))
	if err := write(out, cfg, res); err != nil {
		return err
	}
	switch {
	case res.Incomplete != "":
		return errInterrupted
	case res.Failed():
		return errFailed
	}
	return nil
}
