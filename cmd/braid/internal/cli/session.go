package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"braid/cmd/braid/internal/copier"
	"braid/cmd/braid/internal/endpoint"
	"braid/cmd/braid/internal/format"
	"braid/cmd/braid/internal/measure"
	"braid/cmd/braid/internal/progress"
	"braid/cmd/braid/internal/report"
	"braid/cmd/braid/internal/stall"
	"braid/cmd/braid/internal/tree"
	"braid/drpcconn"
)

const (
	// sampleEvery is how often the process is looked at for its peak.
	sampleEvery = 20 * time.Millisecond
	// restPatience is how long goroutines may take to end after the last
	// connection is closed.
	restPatience = 5 * time.Second
)

// session is a directory to copy, and what is noted about the copying.
type session struct {
	env
	load    loadFlags
	stall   *stall.Stall // nil: no stream is left unread
	root    *os.Root
	listing *tree.Listing
	before  measure.Process
}

// openSession lists a directory and says what of it will not be copied.
func openSession(ctx context.Context, e env, dir string, load loadFlags) (*session, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", format.Path(dir), why(err))
	}
	listing, err := tree.List(ctx, root)
	if err != nil {
		_ = root.Close()
		return nil, errors.New("nothing was copied yet") // it was interrupted
	}
	for _, s := range listing.Skipped {
		e.complain("skipped %s: %s", format.Path(s.Path), s.What)
	}
	for _, u := range listing.Unreadable {
		e.complain("cannot read %s: %v", format.Path(u.Path), why(u.Err))
	}
	return &session{env: e, load: load, root: root, listing: listing, before: measure.AtRest()}, nil
}

func (s *session) close() { _ = s.root.Close() }

// copy copies the directory over a connection, which it closes. The peak is of
// the process while it does.
func (s *session) copy(ctx context.Context, tr net.Conn) (*copier.Result, measure.Process, error) {
	peak := measure.WatchPeak(sampleEvery)
	defer peak.Stop()
	conn := drpcconn.New(tr)
	count := new(progress.Count)
	meter := progress.Start(s.stderr, count, progress.Total{
		Files: int64(len(s.listing.Files)), Bytes: s.listing.Size(), Waits: s.stall != nil,
	})
	res, err := copier.Run(ctx, conn, copier.Options{
		Root:    s.root,
		Files:   s.listing.Files,
		Uploads: s.load.uploads,
		Chunk:   int(s.load.chunk),
		Callers: s.load.callers,
		Talkers: s.load.talkers,
		Cancels: s.load.cancels,

		Stall:    s.stall,
		StallFor: s.load.stall,
		Note:     meter.Note,

		LeastCalls: s.load.leastCalls,
		LeastLines: s.load.leastLines,

		Count: count,
		Failed: func(path string, err error) {
			meter.Note("braid: cannot copy %s: %v", format.Path(path), why(err))
		},
	})
	meter.Stop()
	if err != nil {
		_ = conn.Close() // the first error says more
		soFar := fmt.Sprintf("%s of %s files were copied",
			format.Number(int64(len(res.Copied))), format.Number(int64(len(s.listing.Files))))
		if ctx.Err() != nil {
			return res, peak.Stop(), errors.New(soFar)
		}
		return res, peak.Stop(), fmt.Errorf("%w (%s)", err, soFar)
	}
	if err := conn.Close(); err != nil {
		return res, peak.Stop(), fmt.Errorf("the connection did not close: %w", err)
	}
	return res, peak.Stop(), nil
}

// newReport starts the report with what both ends of a copy can tell. All
// connections have to be closed.
func (s *session) newReport(tr net.Conn, res *copier.Result, during measure.Process) *report.Report {
	return &report.Report{
		Connection: endpoint.Describe(tr),
		Files:      len(s.listing.Files),
		Skipped:    len(s.listing.Skipped),
		Unreadable: len(s.listing.Unreadable),
		Result:     res,
		Before:     s.before,
		During:     during,
		After:      measure.AtRestBelow(s.before.Goroutines, restPatience),
	}
}

// finish writes the report and says whether all is well.
func (s *session) finish(rep *report.Report) error {
	if err := rep.Write(s.stdout); err != nil {
		return err
	}
	switch failed := rep.Result.Failed + rep.Unreadable; {
	case failed == 1:
		return errors.New("1 file or directory could not be copied")
	case failed > 1:
		return fmt.Errorf("%s files or directories could not be copied", format.Number(int64(failed)))
	case !rep.OK():
		return errors.New("not everything is as it should be")
	}
	return nil
}
