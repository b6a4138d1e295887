package drpcstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcstats"

	"braid/drpcsignal"
	"braid/drpcwire"
)

// Stream is one call on a connection. It implements drpc.Stream.
//
// Sending (MsgSend, RawWrite, RawFlush, CloseSend) and receiving (MsgRecv,
// RawRecv) may happen at the same time. Concurrent sends are done one after
// the other, and concurrent receives too; but messages may be encoded at the same time,
// unless under ManualFlush. Close, SendError, SendCancel and Cancel
// may be called at any time; they wait for neither peer nor application, and wake all
// who wait.
type Stream struct {
	// Set once, before the stream is shared.
	parent context.Context // of the stream's own
	id     uint64
	cfg    *Config
	stats  *drpcstats.Stats // counts message bytes; may be nil

	ctx atomic.Pointer[streamCtx] // made with mu held, when it is first used or has a deadline of its own

	write sync.Mutex // held while one sender sends, but for what leaves at once
	read  sync.Mutex // held while one receiver receives
	recv  ring       // messages that have arrived

	// Guarded by taking, which the connection's reader holds while it takes a frame;
	// nobody waits for it. So is peerDone.
	taking sync.Mutex
	asm    drpcwire.Assembler

	// mu guards the steps of the stream's life and the order of its frames: a
	// message id is taken and its frame queued within one hold of mu. Nothing
	// blocks under it. It is taken before the ring's and the writer's locks.
	mu        sync.Mutex
	lastMsg   uint64        // last message id used for sending
	sendErr   error         // why nothing more may be sent; nil while it may
	out       outflow       // credit for sending
	credited  chan struct{} // the token for wantCredit; made by the sender, which alone receives from it
	gathered  *[]byte       // frames that are held back under ManualFlush; made for the first
	stopWatch func() bool   // ends the watch over the parent context; nil if there is none
	timer     *time.Timer   // server: ends the stream when the client's deadline has passed

	// Flags, side by side as each would take a word elsewhere. All but the first two are
	// guarded by mu.
	replies    bool   // a Reply may end it, see EndWithReply; owned by the handler
	peerDone   bool   // the peer's CloseSend has come; guarded by taking
	wantCredit bool   // the sender is parked for credit; cleared by who sends the token
	recvClosed bool   // the peer sends no more messages
	sending    bool   // a message is being sent that may take more than one frame
	timed      bool   // the timer may be running
	ctxEnded   bool   // the context has ended, whether it was asked for or not
	ctxEnd     ctxEnd // how it has or will; ctxLives: it is canceled

	state     atomic.Uint32 // a State; see setState
	holders   atomic.Int32  // see Release
	returned  atomic.Uint32 // handlerRuns and so on; see CountReturn
	manual    atomic.Bool   // ManualFlush is on
	holding   atomic.Bool   // gathered is not empty
	flushSoon atomic.Bool   // a receive wants it to be sent by who holds write

	sendTimeout atomic.Int64 // time.Durations; see SetSendTimeout
	recvTimeout atomic.Int64

	sendDone drpcsignal.Event // with sendErr, for senders that are parked
	term     drpcsignal.Event // the stream has ended
	left     drpcsignal.Event // its connection knows that, after term; see awaitEnd
	fin      drpcsignal.Event // the stream is Closed, after left

	lane drpcwire.Lane // the stream's account with the writer
}

var _ drpc.Stream = (*Stream)(nil)

// New returns a stream in state Init. Values and deadline of its context come
// from ctx; whether the end of ctx is watched is up to Watch. stats may be nil.
func New(ctx context.Context, cfg *Config, stats *drpcstats.Stats) *Stream {
	s := cfg.unused().Get().(*Stream)
	s.parent, s.cfg, s.stats = ctx, cfg, stats
	s.manual.Store(cfg.Options.ManualFlush)
	s.holders.Store(1)
	s.recv.keep = int32(min(max(cfg.Options.MaximumBufferSize, 0), math.MaxInt32))
	s.recv.flow.budget, s.recv.flow.owner = cfg.Budget, s
	return s
}

// Call is what a client sends to open a stream.
type Call struct {
	RPC      string
	Metadata []byte    // encoded; not sent if empty
	Settings []byte    // announces braid; not sent if empty
	Deadline time.Time // of the call; not sent if zero or if the peer is not known

	// Unary says that Message is all that the client will send: it goes out
	// with the Invoke, and the sending side is closed.
	Unary   bool
	Message []byte
}

// Size returns the number of bytes the call takes in the writer, at most.
func (c *Call) Size() int {
	return 6*drpcwire.Size(drpcwire.Frame{}) + maxTimeoutLen +
		len(c.RPC) + len(c.Metadata) + len(c.Settings) + len(c.Message)
}

// maxTimeoutLen is the most bytes that the data of a KindTimeout packet has.
const maxTimeoutLen = 10

// Opening is what the first frames of streams are put together in, one stream after another:
// on a caller's stack they would take a good part of it. The zero value is ready.
type Opening struct {
	frames [6]drpcwire.Frame
	n      int
}

// add adds a frame. Inlined, it would take room for each on the caller's stack.
//
//go:noinline
func (o *Opening) add(stream uint64, kind drpcwire.Kind, control bool, data []byte) {
	fr := &o.frames[o.n]
	o.n++
	fr.ID = drpcwire.ID{Stream: stream, Message: uint64(o.n)}
	fr.Kind, fr.Control, fr.Done, fr.Data = kind, control, true, data
}

// Open gives the stream its id and queues the Invoke and what goes with it, to
// leave in one write. It returns drpcwire.ErrFull, and may be called again,
// when there is no room in the writer now.
func (s *Stream) Open(id uint64, call *Call, o *Opening) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	storage := slices.Grow(s.asm.Storage(), len(call.RPC)+maxTimeoutLen)
	o.n = 0
	if len(call.Metadata) > 0 {
		o.add(id, drpcwire.KindInvokeMetadata, false, call.Metadata)
	}
	name := append(storage, call.RPC...)
	if !call.Deadline.IsZero() && s.cfg.Owner.PeerKnown() {
		timeout := drpcwire.AppendTimeout(name[len(name):], time.Until(call.Deadline)) // behind it
		o.add(id, drpcwire.KindTimeout, true, timeout)
	}
	o.add(id, drpcwire.KindInvoke, false, name)
	if len(call.Settings) > 0 {
		o.add(id, drpcwire.KindSettings, true, call.Settings)
	}
	head := o.n
	if call.Unary {
		o.add(id, drpcwire.KindMessage, false, call.Message)
		o.add(id, drpcwire.KindCloseSend, false, nil)
	}
	err := s.cfg.Writer.TryOpen(&s.lane, o.frames[:head], o.frames[head:o.n])
	clear(o.frames[:o.n]) // the data is the caller's
	if err != nil {
		return err
	}
	s.asm.Use(storage)
	s.id, s.lastMsg = id, uint64(o.n)
	s.setState(Open)
	s.startFlowLocked(s.cfg.Owner.Windows())
	if call.Unary {
		s.out.spend(len(call.Message))
		s.stats.AddWritten(uint64(len(call.Message)))
		s.sendClosedLocked()
	}
	return nil
}

// Lane returns the stream's account with the writer, for a caller that waits
// for room before it calls Open again.
func (s *Stream) Lane() *drpcwire.Lane { return &s.lane }

// Accept gives the stream, on the server, the id of the Invoke that has arrived,
// and the assembler that has read it: message ids go on from there. A deadline that
// is not zero ends the stream when it has passed.
func (s *Stream) Accept(id uint64, asm drpcwire.Assembler, deadline time.Time) {
	if storage := s.asm.Storage(); cap(storage) > cap(asm.Storage()) {
		asm.Use(storage)
	}
	s.id, s.asm = id, asm
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setState(Open)
	s.startFlowLocked(s.cfg.Owner.Windows())
	if !deadline.IsZero() {
		s.makeContextLocked(deadline)
		s.Retain()
		s.timed = true
		if left := time.Until(deadline); s.timer != nil {
			s.timer.Reset(left)
		} else {
			s.timer = time.AfterFunc(left, s.deadlinePassed)
		}
	}
}

// deadlinePassed is called by the timer.
func (s *Stream) deadlinePassed() {
	s.Cancel(context.DeadlineExceeded)
	s.Release()
}

// Watch ends the stream by cancellation when its context ends, without anybody
// waiting for it. Without Watch, only a receive notices that end.
func (s *Stream) Watch() {
	parent := s.parent
	if parent.Done() == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.State() == Closed {
		return // nobody would end the watch
	}
	s.Retain()
	s.stopWatch = context.AfterFunc(parent, s.parentEnded)
}

// parentEnded is called when the watched context has ended.
func (s *Stream) parentEnded() {
	s.Cancel(s.parent.Err())
	s.Release()
}

// String returns a readable form of the stream: its id and state.
func (s *Stream) String() string {
	side := "cli"
	if s.cfg.Server {
		side = "srv"
	}
	return fmt.Sprintf("<str s:%d k:%s %v>", s.id, side, s.State())
}

// ID returns the stream's id on the connection.
func (s *Stream) ID() uint64 { return s.id }

// Terminated returns a channel that is closed when the stream has ended:
// nothing more is sent or accepted. What had arrived may still be received.
func (s *Stream) Terminated() <-chan struct{} { return s.term.Signal() }

// IsTerminated reports whether the stream has ended.
func (s *Stream) IsTerminated() bool { return s.term.IsSet() }

// Live reports whether the stream has not ended. Unlike IsTerminated it waits for
// an end that is under way: a frame that tells the peer of it may be out already.
func (s *Stream) Live() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.term.IsSet()
}

// Draining returns a channel that is closed when either end of the connection has
// said that it takes no more streams: a server that shuts down, or a client. This
// stream goes on; one that lives for long does well to come to its end.
func (s *Stream) Draining() <-chan struct{} { return s.cfg.Owner.Draining() }

// Finished returns a channel that is closed when the stream is in state Closed.
func (s *Stream) Finished() <-chan struct{} { return s.fin.Signal() }

// IsFinished reports whether the stream is in state Closed.
func (s *Stream) IsFinished() bool { return s.fin.IsSet() }

// SetManualFlush turns Options.ManualFlush on or off for this stream, for the
// sends that begin afterwards. Turning it off sends nothing by itself: what was
// gathered leaves together with the next message.
func (s *Stream) SetManualFlush(manual bool) { s.manual.Store(manual) }

// parentErr returns the error of the context the stream was made with.
func (s *Stream) parentErr() error { return s.parent.Err() }

// preferParent replaces an error that merely says that the stream is over by
// the one of the stream's own context where that has ended: it is why the
// operation failed, whatever was noticed first.
func (s *Stream) preferParent(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		if perr := s.parentErr(); perr != nil {
			return perr
		}
	}
	return err
}
