package measure

import (
	"context"
	"fmt"
	"time"

	"braid/bench/internal/job"
)

// Work is an amount of work and the time it took.
type Work struct {
	Units int
	Took  time.Duration
}

// fitting returns how many units will take about as long as given.
func (w Work) fitting(long time.Duration) int {
	return max(1, int(float64(w.Units)*float64(long)/float64(max(w.Took, 1))))
}

// RunFor runs a job, n units at first, until that has taken most of the time
// given. It goes on after runs that were too short, so that a moment in which
// the machine was busy elsewhere does not make for a tiny sample. When the
// context is done first it returns its cause, and leaves the job running.
func RunFor(ctx context.Context, j job.Job, long time.Duration, n int) (Work, error) {
	var sum Work
	for {
		took, err := run(ctx, j, n)
		if err != nil {
			return Work{}, err
		}
		sum.Units += n
		sum.Took += took
		if sum.Took >= long*3/4 {
			return sum, nil
		}
		n = min(10*sum.Units, sum.fitting(long-sum.Took))
	}
}

// run does n units and says how long they took.
func run(ctx context.Context, j job.Job, n int) (time.Duration, error) {
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- j.Run(n) }() // ends with its work
	select {
	case err := <-done:
		return time.Since(start), err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %d units still running after %v",
			context.Cause(ctx), n, time.Since(start).Round(time.Millisecond))
	}
}
