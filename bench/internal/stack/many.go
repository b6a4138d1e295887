package stack

import (
	"context"
	"errors"
)

// Many is clients with a connection each. As a Client it is the first of them.
type Many struct {
	Client
	clients []Client
}

// NewMany makes as many clients as the setup says, each of which is ready for its
// share of the callers.
func NewMany(ctx context.Context, st Stack, dial Dial, setup Setup) (*Many, error) {
	m := new(Many)
	n := max(setup.Conns, 1)
	setup.Callers, setup.Conns = (setup.Callers+n-1)/n, 0
	for range n {
		client, err := st.Client(ctx, dial, setup)
		if err == nil {
			m.clients = append(m.clients, client)
			err = FirstCall(ctx, client)
		}
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	m.Client = m.clients[0]
	return m, nil
}

// Of returns the client that a caller calls through.
func (m *Many) Of(caller int) Client { return m.clients[caller%len(m.clients)] }

// Close implements Client.
func (m *Many) Close() error {
	var errs []error
	for _, client := range m.clients {
		errs = append(errs, client.Close())
	}
	return errors.Join(errs...)
}
