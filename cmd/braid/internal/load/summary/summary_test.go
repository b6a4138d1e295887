package summary

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"braid/cmd/braid/internal/load/run"
)

// histogram makes one of values.
func histogram(values ...time.Duration) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, int64(time.Hour), 3)
	for _, v := range values {
		_ = h.RecordValue(int64(v)) // within the range
	}
	return h
}

// usual is a run of three calls.
func usual() *Summary {
	latency := histogram(80*time.Microsecond, 900*time.Microsecond, 1900*time.Microsecond)
	return &Summary{
		Setup: Setup{
			Options: run.Options{Size: 16, Workers: 2, Warmup: time.Second, Duration: 2 * time.Second},
			Address: "host:7000", Protocol: "TLS 1.3", Client: ClientBraid, Conns: 1, Shares: true,
			Versions: Versions{Braid: "v1", DRPC: "v2", Go: "go1", OS: "os", Arch: "arch", CPUs: 2},
		},
		Result: &run.Result{
			Measured: true, Elapsed: 2 * time.Second, OK: 3, Sent: 48, Received: 48,
			Latency: latency, Service: latency,
		},
	}
}

// open is usual with an open loop.
func open() *Summary {
	s := usual()
	s.Setup.Options.Rate, s.Setup.Options.Queue = 5, 7
	s.Result.Service = histogram(70*time.Microsecond, 80*time.Microsecond, 90*time.Microsecond)
	s.Result.Late = histogram(10*time.Microsecond, 820*time.Microsecond, 1810*time.Microsecond)
	s.Result.Open = &run.Open{Due: 10, NotSent: 7, GivenUp: 2, Behind: 2 * time.Second, BehindEnd: time.Second}
	return s
}

func text(t *testing.T, s *Summary) string {
	t.Helper()
	var b strings.Builder
	if err := s.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheTextOfAClosedLoop(t *testing.T) {
	s := usual()
	s.Result.Failed = 2
	s.Result.Errors = []run.ErrorCount{{Kind: run.Status, Code: 8, Count: 2, Text: "too \x1b[31m much"}}
	const want = `work     unary, 16 B each, 2 callers; closed loop
server   host:7000, 1 connection, TLS 1.3
client   braid, and so is the server: calls share a connection
ran      2.00 s, after a warm-up of 1.00 s
calls    3 ok, 2 failed
rate     1.5 calls a second
payload  48 B sent, 24 B/s; 48 B received, 24 B/s

        latency
mean     960 µs
p50      900 µs
p75      900 µs
p90     1.90 ms
p95     1.90 ms
p99     1.90 ms
p99.9   1.90 ms
p99.99  1.90 ms
max     1.90 ms
closed loop: who waits for an answer does not call meanwhile, so that a stall
of the server is seen by few calls; with --rate it is seen by all that were due

latency up to  calls
       100 µs      1  ################################################
       200 µs      0
       500 µs      0
      1.00 ms      1  ################################################
      2.00 ms      1  ################################################

failures  kind   code  one of them
2         error  8     too \x1b[31m much
`
	if got := text(t, s); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestTheTextOfAnOpenLoop(t *testing.T) {
	got := text(t, open())
	for _, want := range []string{
		"; open loop at 5 a second, constant\n",
		"calls    3 ok, 0 failed; of 10 due, 7 not sent\n",
		"rate     1.5 calls a second (5 were due)\n",
		"        latency  service time  sent late by\n",
		"p50      900 µs       80.1 µs        820 µs\n",
		"max     1.90 ms       90.0 µs       1.81 ms\n",
		"latency is from when a call was due, service time from when it was sent\n",
		"\nnote: 7 calls were due and never sent, 70 % of all: with 2 callers this rate was not reached.\n" +
			"They were behind by up to 2.00 s, and no latency has what was not sent;\n" +
			"2 were given up because 7 were due already (--queue)\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "closed loop") {
		t.Errorf("it is an open one:\n%s", got)
	}
}

func TestNotesTellWhatFiguresDoNotSay(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *Summary)
		want   string
	}{
		"busy at times": {func(s *Summary) {
			*s = *open()
			s.Result.Open = &run.Open{Due: 3, Behind: 20 * time.Millisecond}
		}, "note: all callers were busy at times: the latest was sent 20.0 ms after it was due"},
		"turns": {func(s *Summary) { s.Setup.Shares = false },
			"note: 2 callers took turns on 1 connection, because the server is not braid:\n--conns 2 gives each"},
		"method": {func(s *Summary) { s.Setup.Options.Method = "/a.B/C" }, "note: the answers were counted and not checked"},
		"stock and timeouts": {func(s *Summary) {
			s.Setup.Client = ClientStock
			s.Result.Errors = []run.ErrorCount{{Kind: run.Timeout, Count: 1}}
		}, "note: with storj.io/drpc a call that times out costs its connection"},
		"lost": {func(s *Summary) { s.Result.Ending = run.Lost },
			"ENDED EARLY  connection lost after 2.00 s; these are the figures so far\n"},
		"warm-up": {func(s *Summary) { s.Result.Ending, s.Result.Measured = run.Interrupted, false },
			"ENDED EARLY  interrupted after 2.00 s; these are the figures of the warm-up\n"},
		"unfinished": {func(s *Summary) { s.Result.Unfinished = 4 }, "3 ok, 0 failed, 4 unfinished\n"},
		"upload":     {func(s *Summary) { s.Setup.Options.Work = run.Upload }, "payload   48 B sent, 24 B/s\n"},
		"download":   {func(s *Summary) { s.Setup.Options.Work = run.Download }, "payload   48 B received, 24 B/s\n"},
		"send":       {func(s *Summary) { s.Setup.Options.Work = run.Upload }, "until the connection took it"},
		"next":       {func(s *Summary) { s.Setup.Options.Work = run.Download }, "until the next message was there"},
		"streams":    {func(s *Summary) { s.Setup.Options.Work = run.PingPong }, "ping-pong, 16 B each, 2 streams; "},
	} {
		s := usual()
		if strings.Contains(text(t, s), test.want) {
			t.Errorf("%s: it is always there", name)
		}
		test.change(s)
		if got := text(t, s); !strings.Contains(got, test.want) {
			t.Errorf("%s: %q is missing in:\n%s", name, test.want, got)
		}
	}
}

func TestWhatIsDueAtAnEarlyEndIsNoFault(t *testing.T) {
	s := open()
	s.Result.Ending = run.Interrupted
	s.Result.Open = &run.Open{Due: 4, NotSent: 1, Behind: time.Millisecond}
	if got := text(t, s); strings.Contains(got, "note:") {
		t.Errorf("%s", got)
	}
}

func TestARunWithoutASingleCallIsWritten(t *testing.T) {
	s := open()
	empty := histogram()
	s.Result = &run.Result{Latency: empty, Service: empty, Late: empty, Open: &run.Open{}}
	if got := text(t, s); strings.Contains(got, "p50") || strings.Contains(got, "NaN") {
		t.Errorf("%s", got)
	}
	var b strings.Builder
	if err := errors.Join(s.WriteJSON(&b), s.WriteHDR(&b)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(b.String(), `"errors": []`) || !strings.Contains(b.String(), `"buckets": []`) {
		t.Errorf("%s", b.String())
	}
}

// The names are those that programs rely on: a change here is a change for them.
func TestTheJSONKeepsItsNames(t *testing.T) {
	s := open()
	s.Setup.Options.Method, s.Setup.Options.Data = "/a.B/C", []byte("hello")
	s.Result.Ending, s.Result.Cause = run.Lost, errors.New("cut")
	s.Result.Begin = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	s.Result.Errors = []run.ErrorCount{{Kind: run.Connection, Code: 0, Count: 2, Text: "gone"}}
	s.Result.Latency, s.Result.Service, s.Result.Late = histogram(100), histogram(), nil
	var b strings.Builder
	if err := s.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var compact strings.Builder
	for _, line := range strings.Split(b.String(), "\n") {
		compact.WriteString(strings.TrimSpace(line))
	}
	const none = `{"count": 0,"mean_ns": 0,"stddev_ns": 0,"min_ns": 0,"p50_ns": 0,"p75_ns": 0,"p90_ns": 0,"p95_ns": 0,` +
		`"p99_ns": 0,"p99_9_ns": 0,"p99_99_ns": 0,"max_ns": 0,"buckets": []}`
	const want = `{"schema": "braid-bench/1","began": "2026-01-02T03:04:05.000000006Z","elapsed_s": 2,` +
		`"ended": "connection lost","cause": "cut","measured": true,` +
		`"options": {"work": "unary","loop": "open","size_bytes": 5,"method": "/a.B/C","workers": 2,"conns": 1,` +
		`"client": "braid","duration_s": 2,"count": 0,"warmup_s": 1,"timeout_s": 0,"rate_per_s": 5,"arrival": "constant",` +
		`"queue": 7,"max_errors": 0},` +
		`"server": {"address": "host:7000","protocol": "TLS 1.3","calls_share_connections": true},` +
		`"versions": {"braid": "v1","drpc": "v2","go": "go1","os": "os","arch": "arch","cpus": 2},` +
		`"operations": {"ok": 3,"failed": 0,"unfinished": 0,"due": 10,"not_sent": 7,"given_up": 2},"ok_per_s": 1.5,` +
		`"payload": {"sent_bytes": 48,"received_bytes": 48,"sent_bytes_per_s": 24,"received_bytes_per_s": 24},` +
		`"latency": {"count": 1,"mean_ns": 100,"stddev_ns": 0,"min_ns": 100,"p50_ns": 100,"p75_ns": 100,"p90_ns": 100,` +
		`"p95_ns": 100,"p99_ns": 100,"p99_9_ns": 100,"p99_99_ns": 100,"max_ns": 100,"buckets": [{"le_ns": 100,"count": 1}]},` +
		`"service_time": ` + none + `,"sent_late": ` + none + `,"behind_max_ns": 2000000000,"behind_end_ns": 1000000000,` +
		`"errors": [{"kind": "connection","code": 0,"count": 2,"text": "gone"}]}`
	if compact.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", compact.String(), want)
	}
	if !json.Valid([]byte(b.String())) {
		t.Error("it is not JSON")
	}
}

func TestTheDistributionIsWhatPlottersRead(t *testing.T) {
	s := usual()
	var values []time.Duration
	for i := range 1000 {
		values = append(values, time.Duration(i+1)*time.Millisecond)
	}
	s.Result.Latency = histogram(values...)
	var b strings.Builder
	if err := s.WriteHDR(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if fields := strings.Fields(lines[0]); strings.Join(fields, " ") != "Value Percentile TotalCount 1/(1-Percentile)" || lines[1] != "" {
		t.Errorf("it begins with %q", lines[:2])
	}
	found := false
	for _, line := range lines[2:] {
		// The median, in milliseconds.
		fields := strings.Fields(line)
		found = found || len(fields) == 4 && strings.HasPrefix(fields[0], "500.") && fields[1] == "0.500000" && fields[2] == "500"
	}
	if !found || !strings.Contains(b.String(), "#[Mean    =") || !strings.Contains(b.String(), "Total count    =         1000]") {
		t.Errorf("%s", b.String())
	}
}

func TestBucketsHaveAllValuesAndFewBars(t *testing.T) {
	var values []time.Duration
	for d := time.Duration(1); d < time.Hour; d = d*3/2 + 1 {
		values = append(values, d)
	}
	for _, h := range []*hdrhistogram.Histogram{
		histogram(), histogram(0), histogram(1), histogram(time.Hour), histogram(values...),
		histogram(100, 101, 200, 201), histogram(time.Microsecond, time.Minute),
	} {
		bars := buckets(h, mostBars)
		var sum, last int64
		for _, b := range bars {
			sum += b.count
			if b.le <= last {
				t.Errorf("%d comes after %d", b.le, last)
			}
			last = b.le
		}
		if sum != h.TotalCount() || len(bars) > mostBars {
			t.Errorf("%d of %d values in %d bars", sum, h.TotalCount(), len(bars))
		}
		if len(bars) > 0 && (bars[0].count == 0 || bars[len(bars)-1].count == 0) {
			t.Errorf("it begins or ends with nothing: %v", bars)
		}
	}
}

func TestRatesAreWrittenForPeople(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.001: "0.001", 0.5: "0.5", 1: "1", 1.54: "1.5", 99.9: "99.9", 100: "100", 123.4: "123", 1234567.8: "1,234,568",
	} {
		if got := rate(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	if got := percent(1, 0); got != "0 %" {
		t.Errorf("a share of nothing is %q", got)
	}
}
