// Package stall has two streams whose readers do not read: an upload that the
// server leaves alone, and a download that the client leaves alone. Their senders
// push until they are held. Later both are read to the end, to see that nothing
// was lost. Both ends are in one process, so that no client can ask a server
// elsewhere not to read.
package stall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"braid/cmd/braid/internal/wire"
)

const (
	// pieceSize is that of a message in bytes. It is small, so that little is
	// hidden in the message that a sender is held with.
	pieceSize = 1 << 10
	// pieces is how many messages there are on a stream: far more than are
	// taken of a stream that is not read.
	pieces = 8 << 10
	// quiet is how long a sender may make no progress before it counts as
	// held. It only decides when Begin returns.
	quiet = 100 * time.Millisecond
	// beginPatience is how long it may take until both are.
	beginPatience = 30 * time.Second
)

// Stall is the two streams, for one connection. It is registered with the server
// (wire.StallDescription); then the client's end calls Begin, and End or Cancel, from one goroutine.
type Stall struct {
	quiet    time.Duration // set by New
	released chan struct{} // closed when both readers may read

	upload, download sender

	// Owned by the client's end.
	cancel context.CancelFunc
	up     *wire.UploadClient
	down   *wire.DownloadClient
	pushed chan error // what came of sending the upload; has room for it
}

var _ wire.StallServer = (*Stall)(nil)

// New returns streams that are not open yet.
func New() *Stall {
	return &Stall{quiet: quiet, released: make(chan struct{}), cancel: func() {}}
}

// Held is what became of a stream.
type Held struct {
	Name string // upload or download

	// What was sent before it was held, and how long that took.
	Messages, Bytes int64
	Within          time.Duration
	// For is how long it was held then.
	For time.Duration

	Total int64 // bytes that arrived in the end
	Err   error // why they are not those that were sent, if so
}

// Upload is the handler that does not read.
func (s *Stall) Upload(stream *wire.UploadServer) error {
	select {
	case <-s.released:
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	size, sum, err := pull(stream.Recv)
	if err != nil {
		return err
	}
	return stream.Send(&wire.UploadReply{Step: wire.Receipt, Size: size, Sum: sum})
}

// Download is the handler whose client does not read.
func (s *Stall) Download(stream *wire.DownloadServer) error {
	return s.download.push(stream.Send)
}

// Begin opens the streams and returns once both senders are held. It fails if
// ctx ends, if a stream does, or if all that there is to send is taken without
// having been read. After an error, Cancel is still due.
func (s *Stall) Begin(ctx context.Context, client *wire.Client) error {
	stalled, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	var err error
	if s.up, err = client.StallUpload(stalled); err != nil {
		return err
	}
	pushed := make(chan error, 1)
	s.pushed = pushed
	// It ends when everything is sent or when the stream does; End and Cancel
	// wait for it.
	go func() { pushed <- s.sendUpload() }()
	if s.down, err = client.StallDownload(stalled); err != nil {
		return err
	}
	return s.awaitHeld(ctx)
}

// awaitHeld waits until both senders make no progress.
func (s *Stall) awaitHeld(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, beginPatience,
		fmt.Errorf("the streams that nobody reads were not held within %v", beginPatience))
	defer cancel()
	tick := time.NewTicker(quiet / 10)
	defer tick.Stop()
	for {
		up, down := s.upload.look(), s.download.look()
		switch {
		case up.messages == pieces || down.messages == pieces:
			return fmt.Errorf("a stream that nobody reads was not held: it took all of its %d messages", pieces)
		case up.over:
			err := <-s.pushed
			s.pushed = nil
			return fmt.Errorf("the stalled upload: %w", err)
		case down.over:
			_, _, err := pull(s.down.Recv)
			return fmt.Errorf("the stalled download: %w", err)
		case up.rests(s.quiet) && down.rests(s.quiet):
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Sent returns how many bytes have been sent on both streams.
func (s *Stall) Sent() int64 { return s.upload.look().bytes + s.download.look().bytes }

// End lets both streams be read, and returns what became of them. The error is
// that of a stream that could not be read to its end.
func (s *Stall) End() ([]Held, error) {
	defer s.Cancel()
	now := time.Now()
	up, down := s.upload.look().held("upload", now), s.download.look().held("download", now)
	close(s.released)

	size, sum, err := pull(s.down.Recv)
	if err != nil {
		return nil, fmt.Errorf("the stalled download: %w", err)
	}
	down.verify(size, sum, s.download.look().sum)

	if err := <-s.pushed; err != nil {
		return nil, fmt.Errorf("the stalled upload: %w", err)
	}
	s.pushed = nil
	var receipt wire.UploadReply
	if err := s.up.Recv(&receipt); err != nil {
		return nil, fmt.Errorf("the stalled upload: %w", err)
	}
	up.verify(receipt.Size, receipt.Sum, s.upload.look().sum)
	return []Held{up, down}, errors.Join(s.up.Close(), s.down.Close())
}

// Cancel ends the streams, read or not, and returns when nothing of the client's
// end is running any more. It can be called again.
func (s *Stall) Cancel() {
	s.cancel()
	if s.pushed != nil {
		<-s.pushed
		s.pushed = nil
	}
}

// sendUpload sends all of the upload.
func (s *Stall) sendUpload() error {
	err := s.upload.push(s.up.Send)
	if err == nil {
		err = s.up.CloseSend()
	}
	if errors.Is(err, io.EOF) { // the server has ended it: receiving tells why
		return s.up.Recv(new(wire.UploadReply))
	}
	return err
}

// verify notes what arrived, and that it is not what was sent, if so.
func (h *Held) verify(size int64, got, sent wire.Sum) {
	h.Total = size
	switch {
	case h.Messages >= pieces:
		h.Err = errors.New("it was not held")
	case size != pieces*pieceSize || got != sent:
		h.Err = fmt.Errorf("%d bytes with %v arrived, %d with %v were sent", size, got, pieces*pieceSize, sent)
	}
}

// sender is the sending end of one of the streams.
type sender struct {
	mu    sync.Mutex
	state progress // guarded by mu
}

// progress is how far a sender has come.
type progress struct {
	messages, bytes int64
	begin, last     time.Time // before the first message, after the last one
	over            bool      // everything was sent, or no more can be
	sum             wire.Sum  // of everything, once it was sent
}

func (s *sender) look() progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// change changes the state.
func (s *sender) change(f func(p *progress)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.state)
}

// rests reports whether a sender that has begun makes no progress.
func (p progress) rests(quiet time.Duration) bool {
	return p.messages > 0 && time.Since(p.last) >= quiet
}

// held says what became of a sender that is held until now.
func (p progress) held(name string, now time.Time) Held {
	return Held{
		Name: name, Messages: p.messages, Bytes: p.bytes,
		Within: p.last.Sub(p.begin), For: now.Sub(p.last),
	}
}
