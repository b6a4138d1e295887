package summary

import (
	"encoding/json"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"braid/cmd/braid/internal/format"
)

// schema names the form of the JSON. Fields may be added under the same name.
const schema = "braid-bench/1"

type document struct {
	Schema   string       `json:"schema"`
	Began    time.Time    `json:"began"`
	ElapsedS float64      `json:"elapsed_s"`
	Ended    string       `json:"ended"`
	Cause    string       `json:"cause,omitempty"`
	Measured bool         `json:"measured"`
	Options  options      `json:"options"`
	Server   server       `json:"server"`
	Versions versions     `json:"versions"`
	Counts   operationsOf `json:"operations"`
	Rate     float64      `json:"ok_per_s"`
	Payload  payload      `json:"payload"`
	Latency  distribution `json:"latency"`
	Service  distribution `json:"service_time"`
	Late     distribution `json:"sent_late"`
	BehindNS int64        `json:"behind_max_ns"`
	EndNS    int64        `json:"behind_end_ns"`
	Errors   []failure    `json:"errors"`
}

type options struct {
	Work      string  `json:"work"`
	Loop      string  `json:"loop"`
	SizeBytes int     `json:"size_bytes"`
	Method    string  `json:"method,omitempty"`
	Workers   int     `json:"workers"`
	Conns     int     `json:"conns"`
	Client    string  `json:"client"`
	DurationS float64 `json:"duration_s"`
	Count     int64   `json:"count"`
	WarmupS   float64 `json:"warmup_s"`
	TimeoutS  float64 `json:"timeout_s"`
	RatePerS  float64 `json:"rate_per_s"`
	Arrival   string  `json:"arrival,omitempty"`
	Queue     int     `json:"queue,omitempty"`
	MaxErrors int64   `json:"max_errors"`
}

type server struct {
	Address  string `json:"address"`
	Protocol string `json:"protocol"`
	Shares   bool   `json:"calls_share_connections"`
}

type versions struct {
	Braid string `json:"braid"`
	DRPC  string `json:"drpc"`
	Go    string `json:"go"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	CPUs  int    `json:"cpus"`
}

type operationsOf struct {
	OK         int64 `json:"ok"`
	Failed     int64 `json:"failed"`
	Unfinished int64 `json:"unfinished"`
	Due        int64 `json:"due"`
	NotSent    int64 `json:"not_sent"`
	GivenUp    int64 `json:"given_up"`
}

type payload struct {
	Sent         int64   `json:"sent_bytes"`
	Received     int64   `json:"received_bytes"`
	SentRate     float64 `json:"sent_bytes_per_s"`
	ReceivedRate float64 `json:"received_bytes_per_s"`
}

type distribution struct {
	Count   int64           `json:"count"`
	Mean    float64         `json:"mean_ns"`
	StdDev  float64         `json:"stddev_ns"`
	Min     int64           `json:"min_ns"`
	P50     int64           `json:"p50_ns"`
	P75     int64           `json:"p75_ns"`
	P90     int64           `json:"p90_ns"`
	P95     int64           `json:"p95_ns"`
	P99     int64           `json:"p99_ns"`
	P999    int64           `json:"p99_9_ns"`
	P9999   int64           `json:"p99_99_ns"`
	Max     int64           `json:"max_ns"`
	Buckets []distributionB `json:"buckets"`
}

type distributionB struct {
	LE    int64 `json:"le_ns"`
	Count int64 `json:"count"`
}

type failure struct {
	Kind  string `json:"kind"`
	Code  uint64 `json:"code"`
	Count int64  `json:"count"`
	Text  string `json:"text"`
}

// WriteJSON writes the summary for programs. The help of the command has the fields.
func (s *Summary) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(s.document())
}

func (s *Summary) document() document {
	res, set := s.Result, &s.Setup
	d := document{
		Schema: schema, Began: res.Begin.UTC(), ElapsedS: res.Elapsed.Seconds(),
		Ended: res.Ending.String(), Measured: res.Measured,
		Options:  s.options(),
		Server:   server{set.Address, set.Protocol, set.braid() && set.Shares},
		Versions: versions{set.Versions.Braid, set.Versions.DRPC, set.Versions.Go, set.Versions.OS, set.Versions.Arch, set.Versions.CPUs},
		Counts:   operationsOf{OK: res.OK, Failed: res.Failed, Unfinished: res.Unfinished},
		Rate:     perSecond(res.OK, res.Elapsed),
		Payload: payload{
			res.Sent, res.Received,
			perSecond(res.Sent, res.Elapsed), perSecond(res.Received, res.Elapsed),
		},
		Latency: distributionOf(res.Latency),
		Service: distributionOf(res.Service),
		Late:    distributionOf(res.Late),
		Errors:  []failure{}, // rather than null
	}
	if res.Cause != nil {
		d.Cause = format.Line(res.Cause.Error())
	}
	if o := res.Open; o != nil {
		d.Counts.Due, d.Counts.NotSent, d.Counts.GivenUp = o.Due, o.NotSent, o.GivenUp
		d.BehindNS, d.EndNS = int64(o.Behind), int64(o.BehindEnd)
	} else {
		d.Counts.Due = res.OK + res.Failed + res.Unfinished
	}
	for _, e := range res.Errors {
		d.Errors = append(d.Errors, failure{string(e.Kind), e.Code, e.Count, format.Line(e.Text)})
	}
	return d
}

func (s *Summary) options() options {
	opts := &s.Setup.Options
	o := options{
		Work: workName(opts.Work), Loop: "closed", SizeBytes: opts.Size, Method: opts.Method,
		Workers: opts.Workers, Conns: s.Setup.Conns, Client: s.Setup.Client,
		DurationS: opts.Duration.Seconds(), Count: opts.Count,
		WarmupS: opts.Warmup.Seconds(), TimeoutS: opts.Timeout.Seconds(),
		RatePerS: opts.Rate, MaxErrors: opts.MaxFailed,
	}
	if opts.Method != "" {
		o.SizeBytes = len(opts.Data)
	}
	if opts.Rate > 0 {
		o.Loop, o.Arrival, o.Queue = "open", arrivalName(opts.Arrivals), opts.Queue
	}
	return o
}

// distributionOf takes the figures out of a histogram. All are 0 if there is none.
func distributionOf(h *hdrhistogram.Histogram) distribution {
	d := distribution{Buckets: []distributionB{}}
	if h == nil || h.TotalCount() == 0 {
		return d
	}
	at := h.ValueAtPercentile
	d.Count, d.Mean, d.StdDev, d.Min, d.Max = h.TotalCount(), h.Mean(), h.StdDev(), h.Min(), h.Max()
	d.P50, d.P75, d.P90, d.P95 = at(50), at(75), at(90), at(95)
	d.P99, d.P999, d.P9999 = at(99), at(99.9), at(99.99)
	for _, b := range split(h, []int64{1, 2, 5}) {
		d.Buckets = append(d.Buckets, distributionB{b.le, b.count})
	}
	return d
}

// WriteHDR writes the distribution of the latencies in the text form of HdrHistogram
// (.hgrm), in milliseconds, which is what its plotters expect.
func (s *Summary) WriteHDR(w io.Writer) error {
	_, err := s.Result.Latency.PercentilesPrint(w, 5, float64(time.Millisecond))
	return err
}
