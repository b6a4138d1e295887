package drpcmanager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcmetadata"
	"storj.io/drpc/drpcstats"

	"braid/drpcsignal"
	"braid/drpcstream"
	"braid/drpcwire"
)

// Manager is one end of one connection. All exported methods may be called
// concurrently.
//
// Two goroutines belong to it: the reader, which ends when the transport's Read
// fails, and the writer's drain. Whatever ends the connection goes through
// terminate, which makes both of them end; Close waits for them.
//
// Locks are taken in the order Manager, Stream, then the stream's queue or the
// writer. Nothing blocks while one is held, so no two ends of a connection can
// hold each other up through them.
type Manager struct {
	// Set once, at construction.
	tr     drpc.Transport
	wr     *drpcwire.MuxWriter
	opts   Options
	server bool
	ctx    context.Context // server: parent of the streams' contexts
	hooks  Hooks           // server
	config drpcstream.Config

	announcement []byte            // encoded Settings of this end
	metadata     map[string]string // server: what ctx has, shared by all streams

	// Owned by the reader.
	rd       *drpcwire.Reader
	ids      idWindow // server: ids that were opened
	held     held     // server: the last Invoke, while it is held back
	accepted bool     // server: there was a first Invoke
	strict   bool     // the peer knows of its credit and must keep to it
	starts   int      // server: of handlers, since the reader has last yielded for them

	current *drpcstream.Stream // which the last frame was for; held
	inRow   int                // frames that were for it, one after the other
	names   map[string]string  // server: some of the method names that were called

	idleFrames bucket     // frames that achieve nothing
	pings      pingsTaken // pings of the peer

	setups setups // server: Invokes that are incomplete; has a lock of its own

	mu      sync.Mutex
	streams map[uint64]*drpcstream.Stream // live; guarded by mu, like all below
	err     error                         // why the connection ended; nil while it lives
	closing bool                          // Close was called
	nextID  uint64                        // client: of the next stream
	opening drpcstream.Opening            // client: what opens a stream
	peer    peer                          // client: what is known of the other end
	turns   turns                         // client: who may open a stream
	drain   drain                         // how far a planned end has come
	idle    *time.Timer                   // server: for InactivityTimeout
	idledAt time.Time                     // server: since when no stream is live, if none is

	handlers   handlers    // server: those that run, and that may not yet
	frameTimer *time.Timer // for Limits.FrameTimeout; made when first needed

	known      atomic.Bool   // the peer has announced itself
	live       atomic.Int32  // number of streams; set with mu held
	peerLimit  atomic.Int64  // its largest message; 0 if it did not say
	ownWindow  atomic.Int64  // initial windows; 0 where credit is not in force
	peerWindow atomic.Int64  // set with mu held, like ownWindow
	opened     atomic.Uint64 // client: nextID
	lastTaken  atomic.Uint64 // server: the highest id that was accepted
	frameWatch atomic.Bool   // frameTimer runs
	late       late          // allowance for frames of streams that have ended

	budget *drpcstream.Budget // what the windows of the streams may grow by
	pinger pinger

	draining drpcsignal.Signal // set when either end takes no more streams

	term     drpcsignal.Signal // set with err
	ended    drpcsignal.Signal // set when terminate is through; its error is that of closing the transport
	readDone chan struct{}     // closed when the reader has returned
}

// Hooks is how a server takes part in its connections.
type Hooks struct {
	// Handle is called by the reader for each call that arrives. It must not
	// block, and must see to it that Stream.Return is called.
	Handle func(stream *drpcstream.Stream, rpc string)

	// Stats returns the counters for a call; nil means that none are kept.
	Stats func(rpc string) *drpcstats.Stats
}

// NewClient starts a connection whose streams are opened on this end.
func NewClient(tr drpc.Transport, opts Options) *Manager {
	m := &Manager{tr: tr, opts: opts, nextID: 1}
	m.turns.limit = 1
	if opts.Multiplex == MultiplexAlways {
		m.turns.limit = unlimited
	}
	return start(m)
}

// NewServer starts a connection whose streams are opened by the peer. Their
// contexts have the values and the deadline of ctx; the end of ctx itself is
// for the caller to watch.
func NewServer(ctx context.Context, tr drpc.Transport, opts Options, hooks Hooks) *Manager {
	m := &Manager{tr: tr, opts: opts, server: true, ctx: ctx, hooks: hooks}
	m.metadata, _ = drpcmetadata.Get(ctx)
	m.handlers.limit = opts.Limits.streams()
	return start(m)
}

func start(m *Manager) *Manager {
	m.streams = make(map[uint64]*drpcstream.Stream)
	m.readDone = make(chan struct{})
	m.rd = drpcwire.NewReaderWithOptions(m.tr, m.opts.Reader)
	m.rd.OnPartial(m.waitPartial)
	boundSocket(m.tr)
	m.wr = drpcwire.NewMuxWriter(m.tr, drpcwire.MuxWriterOptions{
		WrapError:    m.lostTransport,
		OnError:      m.writeFailed,
		WriteTimeout: m.opts.Limits.write(),
	})
	m.budget = drpcstream.NewBudget(int64(m.opts.Window.budget()), int64(m.opts.Window.maximum()))
	m.idleFrames = newBucket(m.opts.Limits.idleFrames(), m.opts.Limits.idlePerSecond())
	m.pinger.m, m.pinger.interval = m, m.opts.Keepalive.interval(m.server)
	m.pinger.timeout = m.opts.Keepalive.timeout()
	m.config = drpcstream.Config{
		Owner:     m,
		Writer:    m.wr,
		Transport: m.tr,
		Server:    m.server,
		Limit:     m.opts.Reader.Limit(),
		Budget:    m.budget,
		HoldSize:  m.opts.holdSize(),
		Options:   m.opts.Stream,

		QueueTimeout: m.opts.Limits.queue(),
	}
	m.announcement = drpcwire.AppendSettings(nil, m.opts.settings(m.server))
	m.setups.init(m)
	if err := m.opts.check(m.server); err != nil {
		m.terminate(m.lost(err))
	}
	if m.server && m.opts.InactivityTimeout > 0 {
		m.mu.Lock() // the timer may fire before the assignment
		m.idledAt = time.Now()
		m.idle = time.AfterFunc(m.opts.InactivityTimeout, m.inactive)
		m.mu.Unlock()
	}
	go m.read()
	return m
}

// String returns a readable form of the manager.
func (m *Manager) String() string { return fmt.Sprintf("<man %p>", m) }

// Transport returns the transport of the connection.
func (m *Manager) Transport() drpc.Transport { return m.tr }

// Closed returns a channel that is closed when the connection has ended.
func (m *Manager) Closed() <-chan struct{} { return m.term.Signal() }

// Err returns why the connection has ended, and nil while it lives.
func (m *Manager) Err() error { return m.term.Err() }

// HungUp reports whether the connection ended by the peer closing it between
// frames while no stream was open, which is how a client says goodbye.
func (m *Manager) HungUp() bool { return errors.Is(m.term.Err(), ErrHungUp) }

// PeerKnown reports whether the peer has announced itself as braid.
func (m *Manager) PeerKnown() bool { return m.known.Load() }

// PeerLimit returns the largest message the peer has said it accepts, in
// bytes; 0 if it has not said.
func (m *Manager) PeerLimit() int { return int(m.peerLimit.Load()) }

// Streams returns the number of streams that are live.
func (m *Manager) Streams() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.streams)
}

// Close ends the connection and returns the transport's error of closing. What
// was queued before is written first, as far as the peer takes it within a
// quarter of a second; open streams get a LostError. When Close returns, the
// transport is not used any more.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	if !m.wr.Empty() {
		stop := make(chan struct{})
		timer := time.AfterFunc(closeFlush, func() { close(stop) })
		_ = m.wr.Flush(stop) // an error means that there is no one to write to
		timer.Stop()
	}
	return m.CloseNow(ErrClosed)
}

// CloseNow is Close without the wait for what is queued. cause is what the
// LostError of the open streams gives.
func (m *Manager) CloseNow(cause error) error {
	m.terminate(m.lost(cause))
	<-m.readDone
	<-m.wr.Done()
	m.ended.Wait()
	return m.ended.Err()
}

// terminate ends the connection; only the first call has an effect. It is
// called from anywhere, the reader and the drain included, and so waits for
// neither of them.
func (m *Manager) terminate(err error) {
	m.mu.Lock()
	end := m.endLocked(err)
	m.mu.Unlock()
	end()
}

// inactive is called when InactivityTimeout has passed. If a stream has come
// meanwhile, its end starts the timer again, or has done so.
func (m *Manager) inactive() {
	end := func() {}
	m.mu.Lock()
	if len(m.streams) == 0 && time.Since(m.idledAt) >= m.opts.InactivityTimeout {
		end = m.endLocked(m.lost(context.DeadlineExceeded))
	}
	m.mu.Unlock()
	end()
}

// endLocked makes err the end of the connection: no stream is opened from here
// on. It returns what is then to be done without the lock.
//
// The streams are ended before the transport is closed: no frame can leave once
// the writer is stopped, and closing may take long, as TLS wants to say goodbye
// to a peer that does not listen.
func (m *Manager) endLocked(err error) (unlocked func()) {
	if m.err != nil {
		return func() {}
	}
	m.err = err
	streams := m.liveLocked() // in place of the table
	clear(m.streams)
	release(streams)
	m.turns.end()
	m.handlers.waiting = nil
	m.checkIdleLocked()
	for _, timer := range []*time.Timer{m.idle, m.frameTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	return func() {
		m.wr.Stop(err)
		m.setups.stop()
		m.pinger.stop()
		m.term.Set(err)
		for _, s := range streams {
			s.Lost(err)
		}
		release(streams)
		m.ended.Set(m.tr.Close())
	}
}

// refusalLocked returns why no stream can be opened, or nil.
func (m *Manager) refusalLocked() error {
	switch {
	case m.err != nil && (m.drain.own || m.drain.peer):
		return m.lostDraining(m.err)
	case m.err != nil:
		return m.err
	case m.closing:
		return m.lost(ErrClosed)
	case m.drain.own:
		return errRefused("the connection is being shut down")
	case m.drain.peer:
		return errRefused("the peer takes no more calls")
	}
	return nil
}

// lostDraining makes the error of a call on a connection that took no more calls
// before it ended: it is refused, as just before the end.
func (m *Manager) lostDraining(err error) error {
	var lost *LostError
	if !errors.As(err, &lost) {
		return err
	}
	return m.lost(fmt.Errorf("%w: %w", lost.Cause, drpcstream.ErrRefused))
}

// stream returns the live stream of this id, to be released, or nil.
func (m *Manager) stream(id uint64) *drpcstream.Stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[id]
	if s != nil {
		s.Retain()
	}
	return s
}

// liveLocked returns all live streams, to be released.
func (m *Manager) liveLocked() []*drpcstream.Stream {
	streams := slices.Collect(maps.Values(m.streams))
	for _, s := range streams {
		s.Retain()
	}
	return streams
}

// release lets go of streams.
func release(streams []*drpcstream.Stream) {
	for _, s := range streams {
		s.Release()
	}
}

// addLocked makes a stream live.
func (m *Manager) addLocked(s *drpcstream.Stream) {
	s.Retain()
	m.streams[s.ID()] = s
	m.live.Store(int32(len(m.streams)))
	if m.idle != nil {
		m.idle.Stop()
	}
}

// StreamEnded implements drpcstream.Owner.
func (m *Manager) StreamEnded(s *drpcstream.Stream) {
	m.mu.Lock()
	removed, waited := m.streamEndedLocked(s)
	if m.server && len(m.handlers.waiting) == 0 && s.CountReturn() {
		// Returned need not do it. Where another handler is to be started, it has to:
		// only the goroutine of this one may do so.
		m.handlers.running--
		m.checkIdleLocked()
	}
	m.mu.Unlock()
	if waited {
		s.Cancel(context.Canceled) // nobody will ever receive what has come on it
	}
	if removed {
		s.Release()
	}
}

// streamEndedLocked takes a stream out of the table if it is there, and reports
// whether it was in line for its handler.
func (m *Manager) streamEndedLocked(s *drpcstream.Stream) (removed, waited bool) {
	live := len(m.streams)
	if delete(m.streams, s.ID()); len(m.streams) == live {
		return false, false // it was never opened, or its connection has ended
	}
	m.live.Store(int32(len(m.streams)))
	m.late.streamEnded(s, m.unsaidWindow())
	if m.server {
		waited = m.handlers.leave(s)
	} else {
		m.peer.streamEnded(s.ID())
		m.turns.release()
	}
	m.checkIdleLocked()
	if m.idle != nil && len(m.streams) == 0 && m.err == nil {
		m.idledAt = time.Now()
		m.idle.Reset(m.opts.InactivityTimeout)
	}
	return true, waited
}

// tellWhy tells a peer that is known what it has done wrong, as far as it listens.
func (m *Manager) tellWhy(err error) {
	if !m.known.Load() {
		return
	}
	m.goAway(err)
	stop := make(chan struct{})
	defer time.AfterFunc(closeFlush, func() { close(stop) }).Stop()
	_ = m.wr.Flush(stop) // an error means that there is no one to tell
}

// writeFailed is called when the writer has stopped by itself. Where the transport
// has failed, what the peer has sent before may still be there to be read: its last
// answers, and why it has closed.
func (m *Manager) writeFailed(err error) {
	if errors.Is(err, drpcwire.ErrOverflow) || errors.Is(err, drpcwire.ErrWriteTimeout) {
		m.terminate(err)
		return
	}
	timer := time.NewTimer(closeFlush)
	defer timer.Stop()
	select {
	case <-m.readDone: // it ends the connection by itself
	case <-m.term.Signal():
	case <-timer.C:
	}
	m.terminate(err)
}

// readError makes the error of a connection whose reading has failed. It tells a
// peer that says goodbye from one that vanishes.
func (m *Manager) readError(err error) error {
	if err != io.EOF || m.setups.count() > 0 { //nolint:errorlint // a clean end is io.EOF itself
		return m.lostTransport(err)
	}
	m.mu.Lock()
	streams, why, planned := m.liveLocked(), m.drain.why, m.drain.peer || m.drain.own
	m.mu.Unlock()
	defer release(streams)
	if why != nil {
		return m.lost(why)
	}
	// The peer may have hung up upon the last frame of a stream while the
	// goroutine that sent it is still on its way to take the stream out.
	if slices.ContainsFunc(streams, (*drpcstream.Stream).Live) {
		return m.lostTransport(err)
	}
	if planned {
		return m.lost(ErrShutdown)
	}
	return m.lost(ErrHungUp)
}
