// Package link is a slow link in user space: a TCP proxy that lets bytes
// through at a given rate and delivers them after a given delay, each way. It
// shows how stacks behave where the network, and not the CPU, is what is short.
//
// It is no model of packets: nothing is lost or reordered, and a full link
// pushes back at its sender instead of dropping.
package link

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Link says how slow a link is, in each of its two directions.
type Link struct {
	// Delay is the time between the end of a byte's transmission and its
	// delivery. A round trip takes it twice. Zero means none.
	Delay time.Duration
	// Rate is how much is let through, in bits per second. Zero means that
	// nothing holds bytes back.
	Rate float64
}

// The slowest and the longest link that Parse takes: beyond them a link stands
// still for as long as anybody measures.
const (
	minRate  = 1e5 // bits per second
	maxDelay = time.Minute
)

// Parse reads "delay,rate", as in "5ms,100M": a duration as time.ParseDuration
// takes it, and bits per second, with a factor k, M or G and with "bit/s" after
// it if wanted. A rate of 0 is no limit.
func Parse(s string) (Link, error) {
	before, after, ok := strings.Cut(s, ",")
	if !ok {
		return Link{}, fmt.Errorf("link %q is not delay,rate, as in 5ms,100M", s)
	}
	delay, err := time.ParseDuration(strings.TrimSpace(before))
	if err != nil {
		return Link{}, fmt.Errorf("link %q: delay: %w", s, err)
	}
	if delay < 0 || delay > maxDelay {
		return Link{}, fmt.Errorf("link %q: the delay has to be from 0 to %v", s, maxDelay)
	}
	rate, err := parseRate(strings.TrimSpace(after))
	if err != nil {
		return Link{}, fmt.Errorf("link %q: rate: %w", s, err)
	}
	return Link{Delay: delay, Rate: rate}, nil
}

// parseRate reads bits per second.
func parseRate(s string) (float64, error) {
	digits, factor := strings.TrimSuffix(s, "bit/s"), 1.0
	for suffix, f := range map[string]float64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if rest, ok := strings.CutSuffix(digits, suffix); ok {
			digits, factor = rest, f
			break
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of bits per second", s)
	}
	rate := n * factor
	if math.IsNaN(rate) || math.IsInf(rate, 0) || rate != 0 && rate < minRate {
		return 0, fmt.Errorf("%q is not 0 and not at least %v bits per second", s, minRate)
	}
	return rate, nil
}

// String returns the link in words.
func (l Link) String() string {
	rate := "any rate"
	if l.Rate > 0 {
		rate = fmt.Sprintf("%g Mbit/s", l.Rate/1e6)
	}
	return fmt.Sprintf("%v each way, %s", l.Delay, rate)
}

// Enabled reports whether the link does anything.
func (l Link) Enabled() bool { return l != Link{} }

// transmission returns how long n bytes occupy the link.
func (l Link) transmission(n int) time.Duration {
	if l.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(n) * 8 / l.Rate * float64(time.Second))
}

// flight returns how many bytes may be on their way in one direction: what the
// link holds when it is busy, and some room for a receiver that is late.
func (l Link) flight() int {
	const room, most = 1 << 20, 64 << 20
	if l.Rate <= 0 {
		return most
	}
	return int(min(room+2*l.Rate/8*l.Delay.Seconds(), most))
}

// SendBuffer returns how large the send buffers of the two ends should be, in
// bytes, and 0 if they are best left alone. A kernel lets them grow to about
// twice the bandwidth-delay product of a round trip. On loopback it starts with
// megabytes: on a slow link those would be seconds of waiting that belong
// neither to a link of that kind nor to what sends over it.
func (l Link) SendBuffer() int {
	const least, most = 64 << 10, 1 << 20
	want := 2 * l.Rate / 8 * 2 * l.Delay.Seconds()
	if l.Rate <= 0 || want > most {
		return 0
	}
	return max(int(want), least)
}
