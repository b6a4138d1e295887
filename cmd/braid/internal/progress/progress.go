// Package progress shows how a run is getting on: with a bar on a terminal, and
// with plain lines anywhere else.
package progress

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"braid/cmd/braid/internal/format"
)

// Count is what a run has done so far. The run counts, a [Meter] shows.
type Count struct {
	Files, Bytes atomic.Int64 // copied and verified; sent
	Calls, Lines atomic.Int64 // answered; heard
	Canceled     atomic.Int64 // streams

	// Streams that nobody reads, and what was sent on them before they were held.
	Held, HeldBytes atomic.Int64
}

// Total is what there is to do.
type Total struct {
	Files, Bytes int64

	// Waits tells that there is time in which nothing is copied, so that a
	// rate over all of it says nothing.
	Waits bool
}

// display shows one state of a run. Its methods are not called concurrently.
type display interface {
	show(c *Count)
	// note prints a line that stays.
	note(line string)
	// finish shows the last state and leaves the cursor on an empty line.
	finish(c *Count)
}

// Meter shows the progress of a run until it is stopped.
type Meter struct {
	count  *Count
	cancel context.CancelFunc
	ticker sync.WaitGroup

	mu      sync.Mutex
	display display // guarded by mu
}

// IsTerminal reports whether a writer is a terminal, so that a bar makes sense.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Start shows the progress on w, with a bar if w is a terminal.
func Start(w io.Writer, count *Count, total Total) *Meter {
	if IsTerminal(w) {
		return start(newBar(w, total), barEvery, count)
	}
	return start(newLines(w, total), lineEvery, count)
}

// How often the two kinds of display change.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = time.Second
)

func start(d display, every time.Duration, count *Count) *Meter {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Meter{count: count, cancel: cancel, display: d}
	d.show(count)
	m.ticker.Go(func() { m.run(ctx, every) })
	return m
}

func (m *Meter) run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.mu.Lock()
			m.display.show(m.count)
			m.mu.Unlock()
		}
	}
}

// Note prints a line without spoiling the bar. It can be called from any
// goroutine.
func (m *Meter) Note(text string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.display.note(format.Line(fmt.Sprintf(text, args...)))
}

// Stop shows the last state.
func (m *Meter) Stop() {
	m.cancel()
	m.ticker.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.display.finish(m.count)
}
