package job

import (
	"context"
	"errors"

	"braid/bench/internal/stack"
)

// ConnectionCallers is how many callers share the connections of Connections.
const ConnectionCallers = 1000

// connections makes calls over several connections at once.
type connections struct {
	group
	many *stack.Many
}

func newConnections(ctx context.Context, load Load) (Job, error) {
	many, ok := load.Client.(*stack.Many)
	if !ok {
		return nil, errors.New("there is one connection only")
	}
	load.Callers = ConnectionCallers
	return &connections{newGroup(ctx, load), many}, nil
}

// Run implements Job.
func (j *connections) Run(n int) error {
	return j.run(n, func(i int, c *caller) error {
		one := group{client: j.many.Of(i)}
		return one.call(i, c)
	})
}
