package job

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"braid/bench/internal/blob"
)

// What runs beside the callers of Mixed: so many uploads, of messages of so many
// bytes.
const (
	BulkStreams = 8
	BulkSize    = 64 << 10
)

// mixed makes calls beside uploads that never pause: they begin when the job is
// made and end when it is closed. One unit is one call that has returned.
type mixed struct {
	group
	cancel context.CancelFunc
	stop   atomic.Bool // the uploads are to end
	bulk   sync.WaitGroup

	mu  sync.Mutex
	err error // the first failure of an upload; guarded by mu
}

// newMixed returns when every upload has sent its first message.
func newMixed(ctx context.Context, load Load) (Job, error) {
	m := &mixed{group: newGroup(ctx, load)}
	ctx, m.cancel = context.WithCancel(ctx)
	var begun sync.WaitGroup
	for i := range BulkStreams {
		s := &sender{load.Client, blob.New(BulkSize, uint64(i))}
		begun.Add(1)
		m.bulk.Go(func() { // ends with Close, with ctx, or when its stream fails
			begin := sync.OnceFunc(begun.Done)
			defer begin()
			m.fail(s.send(ctx, func(sent uint64) bool {
				if sent > 0 {
					begin()
				}
				return !m.stop.Load()
			}))
		})
	}
	begun.Wait()
	if err := m.failure(); err != nil {
		m.cancel()
		_ = m.Close() // the first error is what tells
		return nil, err
	}
	return m, nil
}

// Run implements Job.
func (m *mixed) Run(n int) error {
	return errors.Join(m.run(n, m.call), m.failure())
}

// Close ends the uploads, and waits until their tallies have come.
func (m *mixed) Close() error {
	defer m.cancel()
	m.stop.Store(true)
	m.bulk.Wait()
	return errors.Join(m.failure(), m.group.Close())
}

// fail keeps the first error.
func (m *mixed) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
	}
}

// failure returns the first error.
func (m *mixed) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}
