package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"braid/cmd/braid/internal/endpoint"
	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/load/arrival"
	"braid/cmd/braid/internal/load/blob"
	"braid/cmd/braid/internal/load/run"
)

// The most and the least that the flags of bench accept. They keep a slip of the
// finger from eating the machine, and no use needs more.
const (
	mostBenchConns  = 10_000
	mostCount       = 1_000_000_000_000
	mostQueue       = 100_000_000
	mostBenchTime   = 24 * time.Hour
	leastBenchTime  = time.Millisecond
	leastTimeout    = time.Microsecond
	leastInterval   = 100 * time.Millisecond
	mostMethod      = 1 << 10 // as the library has it
	usualWarmup     = time.Second
	usualQueue      = 1_000_000
	leastRate       = 0.001
	mostRate        = 10_000_000
	mostConnStreams = 1000 // of the 1,024 that a server takes unless it is told otherwise
)

// benchFlags say what load to make.
type benchFlags struct {
	set *pflag.FlagSet // tells which were given

	work, client, arrival   string
	size                    size
	callers, streams, conns int
	duration, warmup        time.Duration
	timeout, interval       time.Duration
	count, maxErrors        int64
	rate                    float64
	queue                   int
	method, data, file, hdr string
	json                    bool
	trust                   endpoint.Trust
}

// add defines the flags.
func (f *benchFlags) add(flags *pflag.FlagSet) {
	f.set = flags
	f.size = 16
	flags.SortFlags = false
	flags.StringVar(&f.work, "work", "unary", "`kind` of work: unary, upload, download or ping-pong")
	flags.Var(&f.size, "size", "`bytes` of each message, such as 16, 1KiB or 4MiB, which is the most")
	flags.IntVar(&f.callers, "callers", 64, "this `many` callers call at the same time (unary)")
	flags.IntVar(&f.streams, "streams", 1, "this `many` streams are open at the same time (upload, download, ping-pong)")
	flags.IntVar(&f.conns, "conns", 1, "share this `many` connections evenly")
	flags.DurationVar(&f.duration, "duration", 10*time.Second, "begin calls for this `long`")
	flags.Int64Var(&f.count, "count", 0, "make this `many` calls (or messages, or round trips), instead of --duration")
	flags.DurationVar(&f.warmup, "warmup", usualWarmup, "do the same for this `long` before anything is measured; none with --count or --method, unless given")
	flags.DurationVar(&f.timeout, "timeout", 0, "a call, message or round trip that takes this `long` has failed; 0: none")
	flags.Float64Var(&f.rate, "rate", 0, "open loop: this many `calls` are due in each second, over all callers (unary, ping-pong); 0: closed loop")
	flags.StringVar(&f.arrival, "arrival", "constant", "with --rate, `how` calls are spread: constant or poisson")
	flags.IntVar(&f.queue, "queue", usualQueue, "with --rate, this `many` calls may be due and wait for a caller; others are not sent")
	flags.StringVar(&f.method, "method", "", "call this `rpc`, such as /package.Service/Method, in place of the echo (unary)")
	flags.StringVar(&f.data, "data", "", "the request of --method, as these `bytes`")
	flags.StringVar(&f.file, "data-file", "", "the request of --method, from this `file`; - is stdin")
	flags.StringVar(&f.client, "client", "braid", "`library` to call with: braid, or stock, which is storj.io/drpc with a pool that has a connection for each caller")
	flags.Int64Var(&f.maxErrors, "max-errors", 0, "end when this `many` calls have failed; 0: go on")
	flags.DurationVar(&f.interval, "interval", 0, "write a line to stderr every so `long`; on a terminal there is one anyway")
	flags.BoolVar(&f.json, "json", false, "write the result as JSON; see above for the fields")
	flags.StringVar(&f.hdr, "hdr", "", "write the percentile distribution of the latencies to this `file`, as HdrHistogram text (.hgrm), in milliseconds")
	addTrust(flags, &f.trust)
}

// workers returns how many callers or streams there are, and their flag.
func (f *benchFlags) workers() (n int, flag string) {
	if f.work == "unary" {
		return f.callers, "callers"
	}
	return f.streams, "streams"
}

// every returns how often it is shown how things are.
func (f *benchFlags) every() time.Duration {
	if f.interval > 0 {
		return f.interval
	}
	return benchEvery
}

// works, arrivals are the values of two flags.
var (
	works    = map[string]run.Work{"unary": run.Unary, "upload": run.Upload, "download": run.Download, "ping-pong": run.PingPong}
	arrivals = map[string]arrival.Process{"constant": arrival.Constant, "poisson": arrival.Poisson}
)

// check refuses values that make no sense, by themselves or together.
func (f *benchFlags) check(addr string) error {
	if err := checkAddress("ADDR", addr); err != nil {
		return err
	}
	if _, ok := works[f.work]; !ok {
		return badUsage("--work has to be unary, upload, download or ping-pong, not %q", f.work)
	}
	if _, ok := arrivals[f.arrival]; !ok {
		return badUsage("--arrival has to be constant or poisson, not %q", f.arrival)
	}
	if f.client != "braid" && f.client != "stock" {
		return badUsage("--client has to be braid or stock, not %q", f.client)
	}
	if f.trust.ServerName != "" && f.trust.CAFile == "" {
		return badUsage("--tls-server-name needs --tls-ca")
	}
	for _, check := range []func() error{f.checkNumbers, f.checkTimes, f.checkRate, f.checkMethod, f.checkConns} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (f *benchFlags) checkNumbers() error {
	for _, n := range []struct {
		flag               string
		value, least, most int64
	}{
		{"size", int64(f.size), 0, blob.MaxSize},
		{"callers", int64(f.callers), 1, mostCallers},
		{"streams", int64(f.streams), 1, mostCallers},
		{"conns", int64(f.conns), 1, mostBenchConns},
		{"count", f.count, 1, mostCount},
		{"queue", int64(f.queue), 1, mostQueue},
		{"max-errors", f.maxErrors, 0, math.MaxInt64},
	} {
		if f.set.Changed(n.flag) && (n.value < n.least || n.value > n.most) {
			return badUsage("--%s has to be between %d and %d, not %d", n.flag, n.least, n.most, n.value)
		}
	}
	return nil
}

func (f *benchFlags) checkTimes() error {
	if f.set.Changed("duration") && f.set.Changed("count") {
		return badUsage("--duration and --count exclude each other: give the one that says when it is over")
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration // unless it is 0
		zero  bool          // is allowed
	}{
		{"duration", f.duration, leastBenchTime, false},
		{"warmup", f.warmup, leastBenchTime, true},
		{"timeout", f.timeout, leastTimeout, true},
		{"interval", f.interval, leastInterval, true},
	} {
		if d.zero && d.value == 0 {
			continue
		}
		if d.value < d.least || d.value > mostBenchTime {
			or := ""
			if d.zero {
				or = "0 or "
			}
			return badUsage("--%s has to be %sbetween %v and %v, not %v", d.flag, or, d.least, mostBenchTime, d.value)
		}
	}
	return nil
}

func (f *benchFlags) checkRate() error {
	if !f.set.Changed("rate") || f.rate == 0 {
		for _, flag := range []string{"arrival", "queue"} {
			if f.set.Changed(flag) {
				return badUsage("--%s needs --rate", flag)
			}
		}
		return nil
	}
	if !(f.rate >= leastRate && f.rate <= mostRate) { // nor is NaN
		return badUsage("--rate has to be 0 or between %v and %d a second, not %v", leastRate, mostRate, f.rate)
	}
	if f.work != "unary" && f.work != "ping-pong" {
		return badUsage("--rate is for unary and ping-pong: with %s the connection sets the pace", f.work)
	}
	return nil
}

func (f *benchFlags) checkMethod() error {
	if !f.set.Changed("method") {
		for _, flag := range []string{"data", "data-file"} {
			if f.set.Changed(flag) {
				return badUsage("--%s needs --method", flag)
			}
		}
		return nil
	}
	switch {
	case len(f.method) < 2 || !strings.HasPrefix(f.method, "/"):
		return badUsage("--method has to be the name of an rpc, such as /package.Service/Method, not %q", f.method)
	case len(f.method) > mostMethod:
		return badUsage("--method has %d bytes, and an rpc has at most %d", len(f.method), mostMethod)
	case f.work != "unary":
		return badUsage("--method is for unary calls: leave --work out")
	case f.set.Changed("size"):
		return badUsage("--size and --method exclude each other: the request is as large as --data makes it")
	case f.set.Changed("data") && f.set.Changed("data-file"):
		return badUsage("--data and --data-file exclude each other")
	case len(f.data) > blob.MaxSize:
		return badUsage("--data has %d bytes, and a message has at most %d", len(f.data), blob.MaxSize)
	}
	return nil
}

func (f *benchFlags) checkConns() error {
	n, flag := f.workers()
	for _, other := range []string{"callers", "streams"} {
		if other != flag && f.set.Changed(other) {
			return badUsage("--%s is not for %s: give --%s", other, f.work, flag)
		}
	}
	switch {
	case f.client == "stock" && f.set.Changed("conns"):
		return badUsage("--conns is not for --client stock, which has a connection for each of --%s", flag)
	case f.conns > n:
		return badUsage("--conns %d is more than there are --%s (%d): some would have nothing to do", f.conns, flag, n)
	case f.client == "braid" && f.work != "unary" && n > mostConnStreams*f.conns:
		return badUsage("--streams %d is too many for --conns %d: a connection takes %d, and others would wait for good", n, f.conns, mostConnStreams)
	}
	return nil
}

// options makes what the flags ask for, apart from the connections.
func (f *benchFlags) options() (run.Options, error) {
	n, _ := f.workers()
	opts := run.Options{
		Work: works[f.work], Size: int(f.size), Workers: n,
		Method: f.method, Data: []byte(f.data),
		Warmup: f.warmup, Duration: f.duration, Timeout: f.timeout, MaxFailed: f.maxErrors,
		Rate: f.rate, Arrivals: arrivals[f.arrival], Queue: f.queue, NewAlarm: arrival.NewAlarm,
	}
	if f.count > 0 {
		opts.Duration, opts.Count = 0, f.count
	}
	if !f.set.Changed("warmup") && (f.count > 0 || f.method != "") {
		opts.Warmup = 0 // which would be calls that nobody asked for
	}
	if f.file != "" {
		data, err := readRequest(f.file)
		if err != nil {
			return run.Options{}, err
		}
		opts.Data = data
	}
	return opts, nil
}

// readRequest reads a message from a file.
func readRequest(name string) ([]byte, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", format.Path(name), why(err))
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, blob.MaxSize+1))
	if err == nil && len(data) > blob.MaxSize {
		err = errors.New("it is larger than the 4 MiB that a message has at most")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use %s as a request: %w", format.Path(name), why(err))
	}
	return data, nil
}
