package job

import (
	"context"
	"errors"

	"braid/bench/internal/stack"
)

// IdleCallers is how many callers there are beside the streams of Idle.
const IdleCallers = 4

// idle makes calls beside streams that are open and do nothing: the handler of
// each has answered one message, and waits for the next.
type idle struct {
	group
	cancel  context.CancelFunc
	streams []stack.Stream
}

func newIdle(ctx context.Context, load Load) (Job, error) {
	streams := load.Callers
	load.Callers = IdleCallers
	j := &idle{group: newGroup(ctx, load), streams: make([]stack.Stream, 0, streams)}
	ctx, j.cancel = context.WithCancel(ctx)
	c := j.callers[0] // one for all, so that little but the streams is kept
	for range streams {
		stream, err := j.client.Open(ctx, stack.MethodPingPong)
		if err == nil {
			j.streams = append(j.streams, stream)
			err = c.exchange(stream)
		}
		if err != nil {
			j.cancel()
			_ = j.Close() // the first error is what tells
			return nil, err
		}
	}
	return j, nil
}

// Run implements Job.
func (j *idle) Run(n int) error { return j.run(n, j.call) }

// Close implements Job.
func (j *idle) Close() error {
	defer j.cancel()
	errs := make([]error, 0, len(j.streams))
	for _, stream := range j.streams {
		errs = append(errs, stream.Close())
	}
	return errors.Join(append(errs, j.group.Close())...)
}
