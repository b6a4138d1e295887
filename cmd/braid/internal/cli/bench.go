package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/load/live"
	"braid/cmd/braid/internal/load/run"
	"braid/cmd/braid/internal/load/summary"
	"braid/cmd/braid/internal/progress"
)

// benchCommand makes load on a server.
type benchCommand struct {
	env
	flags benchFlags
}

func newBench(e env) *cobra.Command {
	c := &benchCommand{env: e}
	cmd := &cobra.Command{
		Use:   "bench ADDR",
		Short: "Make load on a DRPC server and measure it",
		Long:  benchLong,
		Example: `  # 64 callers on one connection, for ten seconds:
  braid bench localhost:7000

  # What do callers see at 20,000 calls a second?
  braid bench --rate 20000 localhost:7000

  # Uploads: 8 streams of messages of 32 KiB, for half a minute:
  braid bench --work upload --streams 8 --size 32KiB --duration 30s localhost:7000

  # The same calls with storj.io/drpc as the client, a connection for each caller:
  braid bench --client stock localhost:7000

  # A method of any DRPC server, with an encoded message as the request:
  braid bench --method /sensors.Sensors/Describe --data-file request.pb localhost:9000

  # For a program, and for a plotter of HdrHistogram:
  braid bench --json --hdr latency.hgrm localhost:7000 > result.json`,
		Args: arguments(1, "ADDR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), args[0])
		},
	}
	c.flags.add(cmd.Flags())
	return cmd
}

const benchLong = `bench calls a DRPC server as fast as it can, or at a fixed rate, and tells how many
calls a second there were and how long they took. 'braid serve' has the methods that
it calls; with --method it calls one of any server, braid's or storj.io/drpc's.

Work (--work):
  unary      calls; each is answered with what it was sent
  upload     streams on which the client sends without a pause
  download   streams on which the server sends without a pause
  ping-pong  streams on which each message is sent back before the next one is sent

A call is counted once it is answered. Uploads count once the server has said how much
arrived. Every answer has to have the size and the number of its request; another one
is a failure ("wrong reply").

Closed loop: without --rate, a caller calls again when it has its answer. That finds
out how much a server can do. It does not tell what users see: while a server stalls,
nobody calls it, and a stall of a second is one slow call for each caller.

Open loop: with --rate, calls are due at times that do not depend on the server, and
latency counts from when a call was due. When all callers are busy, calls that are due
wait for one, and that wait is in their latency; so --callers is how many can be under
way at once. "service time" is from when a call was sent; "sent late by" is the
difference. Calls that are due at the end are sent for up to one more second. What is
never sent is counted as "not sent", and is in no latency.

What is under way at the end has 5 more seconds to finish, or --timeout, and is counted
as unfinished if it does not. With --count there is no such end: without --timeout, a
call that is never answered is waited for.

The request of --method is sent as it is: for a service of protocol buffers it has to
be an encoded message. Without --data it is empty, which is a message with all fields
unset. Answers are not looked at.

With --json the result is one JSON object. Durations end in _ns (nanoseconds) or _s
(seconds), sizes in _bytes. Fields may be added later, and keep their names:
  schema               "braid-bench/1"
  began, elapsed_s     when, and how long until the last operation was over
  ended, cause         "completed", "interrupted", "connection lost", "server shutting
                       down", "too many failed" or "no such method"; and why
  measured             false if it ended in its warm-up, which the figures are of then
  options              what was asked for: work, loop ("closed", "open"), size_bytes,
                       method, workers (callers or streams), conns, client, duration_s,
                       count, warmup_s, timeout_s, rate_per_s, arrival, queue, max_errors
  server               address, protocol, calls_share_connections
  versions             braid, drpc, go, os, arch, cpus
  operations           ok, failed, unfinished (at the end), due, not_sent, given_up (of
                       not_sent, because of --queue)
  ok_per_s             operations that were ok, by elapsed_s
  payload              sent_bytes, received_bytes, sent_bytes_per_s, received_bytes_per_s
  latency,             count, mean_ns, stddev_ns, min_ns, p50_ns, p75_ns, p90_ns, p95_ns,
  service_time,        p99_ns, p99_9_ns, p99_99_ns, max_ns, and buckets of le_ns and
  sent_late            count; of operations that were ok. sent_late is empty in a closed loop
  behind_max_ns,       how late calls were sent, or how long they had waited at the end,
  behind_end_ns        at most and at the end; 0 in a closed loop
  errors               kind, code (of DRPC; 0 is none), count, text (of one of them)

Kinds of errors: "error" (the server's answer, or a message that cannot be sent),
"timeout", "wrong reply", "unfinished" (at the end), "canceled" (by the server, or, with
--client stock, because of the connection), "connection", "refused" (by a server that is
shutting down), "unknown rpc".

It exits with 0 if no call failed; 1 if any did, or was unfinished, or if the connection
was lost; 2 if the arguments are wrong; and 130 if it was interrupted. The result goes to
stdout in each case, everything else to stderr.`

func (c *benchCommand) run(ctx context.Context, addr string) (err error) {
	if err := c.flags.check(addr); err != nil {
		return err
	}
	opts, err := c.flags.options()
	if err != nil {
		return err
	}
	hdr, err := c.createHDR()
	if err != nil {
		return err
	}
	if hdr != nil {
		defer func() { err = errors.Join(err, hdr.Close()) }()
	}
	conns, err := openBenchConns(ctx, addr, &c.flags)
	if err != nil {
		return explainBench(err)
	}
	defer conns.close()
	if err := c.checkShares(conns, &opts); err != nil {
		return err
	}
	opts.Conns = conns.conns
	show := c.display()
	if show != nil {
		opts.Watch, opts.Every = show.Show, c.flags.every()
	}
	res := run.New(opts).Run(ctx)
	if show != nil {
		show.Finish()
	}
	return c.finish(&summary.Summary{Result: res, Setup: summary.Setup{
		Options: opts, Address: addr, Protocol: conns.protocol, Client: conns.client,
		Conns: conns.count, Shares: conns.shares, Versions: versions(),
	}}, hdr)
}

// createHDR creates the file of --hdr, before there is something to lose.
func (c *benchCommand) createHDR() (*os.File, error) {
	if c.flags.hdr == "" {
		return nil, nil
	}
	f, err := os.Create(c.flags.hdr)
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", format.Path(c.flags.hdr), why(err))
	}
	return f, nil
}

// display returns what shows how the run is getting on, or nil.
func (c *benchCommand) display() live.Display {
	switch {
	case progress.IsTerminal(c.stderr):
		return live.Bar(c.stderr)
	case c.flags.interval > 0:
		return live.Lines(c.stderr)
	}
	return nil
}

// checkShares refuses streams that would wait for each other for good.
func (c *benchCommand) checkShares(conns *benchConns, opts *run.Options) error {
	if opts.Work == run.Unary || conns.shares || opts.Workers <= conns.count {
		return nil
	}
	return fmt.Errorf("the server is not braid, so that a connection carries one stream at a time: for %d streams give --conns %d or --client stock",
		opts.Workers, opts.Workers)
}

// finish writes the result, and says whether all is well.
func (c *benchCommand) finish(sum *summary.Summary, hdr *os.File) error {
	res := sum.Result
	if res.Ending == run.NoMethod {
		if c.flags.method == "" {
			return explainBench(res.Cause)
		}
		return fmt.Errorf("the server does not have the method %s (it says: %w)", c.flags.method, res.Cause)
	}
	write := sum.WriteText
	if c.flags.json {
		write = sum.WriteJSON
	}
	if err := write(c.stdout); err != nil {
		return err
	}
	if hdr != nil {
		if err := sum.WriteHDR(hdr); err != nil {
			return fmt.Errorf("cannot write %s: %w", format.Path(c.flags.hdr), why(err))
		}
	}
	return verdict(res)
}

// verdict is the error of a run that did not go as it should.
func verdict(res *run.Result) error {
	after := format.Duration(res.Elapsed)
	switch res.Ending {
	case run.Interrupted:
		return fmt.Errorf("the figures are those of %s", after)
	case run.Lost:
		return fmt.Errorf("the connection was lost after %s: %w", after, res.Cause)
	case run.Draining:
		return fmt.Errorf("the server takes no more calls after %s: it is shutting down", after)
	case run.TooManyFailed:
		return fmt.Errorf("gave up after %s: %s calls failed (--max-errors)", after, format.Number(res.Failed))
	}
	switch failed := res.Failed + res.Unfinished; {
	case res.OK == 0 && failed == 0:
		return errors.New("no call was made")
	case failed > 0:
		return fmt.Errorf("%s of %s calls failed or were unfinished", format.Number(failed), format.Number(res.OK+failed))
	}
	return nil
}

// explainBench says what to do about a server that cannot be measured.
func explainBench(err error) error {
	var none *run.NoServiceError
	if errors.As(err, &none) {
		return fmt.Errorf("%w; run 'braid serve' there, or call a method that it has: --method /package.Service/Method", err)
	}
	return err
}

// versions says what makes the load.
func versions() summary.Versions {
	v := summary.Versions{
		Braid: "unknown", DRPC: "unknown", Go: runtime.Version(),
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Braid = info.Main.Version
	for _, dep := range info.Deps {
		if dep.Path == "storj.io/drpc" {
			v.DRPC = dep.Version
		}
	}
	return v
}

// benchEvery is how often a terminal is told how things are.
const benchEvery = time.Second
