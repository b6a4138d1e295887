package drpcstream_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// small is the window of both ends in most tests of credit: the smallest there is.
const small = drpcwire.MinWindow

// room is the largest message that fits into it in one frame.
const room = small - drpcwire.FrameCost

// constant are options of an end whose windows have this size and do not grow but
// for large messages, with this budget for those.
func constant(window, budget int) drpcmanager.Options {
	return drpcmanager.Options{Window: drpcmanager.Window{Initial: window, Maximum: window, Budget: budget}}
}

// announces is the Settings of a peer with this window; none if it is zero.
func announces(id drpcwire.ID, window, flags uint64) string {
	s := drpcwire.Settings{Version: drpcwire.Version, Window: window, Flags: flags}
	return drpctest.Describe(drpcwire.SettingsFrame(id, drpcwire.AppendSettings(nil, s)))
}

// credit is the sentence of a grant.
func credit(stream, n uint64) string { return drpctest.Describe(drpcwire.CreditFrame(stream, n)) }

// driven is a rig that knows how much the peer was sent.
type driven struct {
	*rig
	tb    testing.TB
	own   *drpctest.End
	taken int // frames that the test has looked at
}

// Expect is that of the peer.
func (d *driven) Expect(sentences ...string) {
	d.tb.Helper()
	d.taken += len(sentences)
	d.rig.Expect(sentences...)
}

// Next is that of the peer.
func (d *driven) Next() (string, bool) {
	d.tb.Helper()
	d.taken++
	return d.rig.Next()
}

// pending returns how many frames have come that the test has not looked at.
func (d *driven) pending() int {
	n := -d.taken
	for buf := bytes.Join(d.own.Writes(), nil); len(buf) > 0; {
		rem, fr, ok, err := drpcwire.ParseFrame(buf)
		if !ok || err != nil {
			d.tb.Fatalf("%d bytes are no frame: %v", len(buf), err)
		}
		if buf = rem; fr.Kind != drpcwire.KindPing && (fr.Kind != drpcwire.KindSettings || fr.ID.Stream != 0) {
			n++
		}
	}
	return n
}

// granted takes the grants that have come for a stream, and fails if something else
// has.
func (d *driven) granted(stream uint64) (grants []uint64) {
	d.tb.Helper()
	synctest.Wait()
	for d.pending() > 0 {
		got, _ := d.Next()
		fr, err := drpctest.Parse(got)
		n, ok := drpcwire.ParseCredit(fr.Data)
		if err != nil || fr.Kind != drpcwire.KindWindowUpdate || fr.ID.Stream != stream || !ok {
			d.tb.Fatalf("got %.80s, want a grant", got)
		}
		grants = append(grants, n)
	}
	return grants
}

// feed sends a message as a peer does that keeps to its credit, of which it has so
// much to begin with, and returns what is left. It gives up when nothing is granted.
func (d *driven) feed(stream, id uint64, size, credit int) (unsent, left int) {
	d.tb.Helper()
	for size > 0 {
		for _, n := range d.granted(stream) {
			credit += int(n)
		}
		n := min(size, credit-drpcwire.FrameCost)
		if n <= 0 {
			break
		}
		size -= n
		credit -= n + drpcwire.FrameCost
		d.Send(message(stream, id, n, size == 0))
		synctest.Wait()
	}
	return size, credit
}

// newDriven makes a rig of an end of a connection, and has it closed in the end.
func newDriven(t *testing.T, start func(tr *drpctest.End, r *rig) *drpcmanager.Manager) *driven {
	a, b := drpctest.Pipe()
	d := &driven{tb: t, own: a, rig: &rig{Peer: drpctest.NewPeer(t, b), cancel: func() {}}}
	d.man = start(a, d.rig)
	t.Cleanup(func() { _ = d.man.CloseNow(drpcmanager.ErrClosed) })
	return d
}

// newUnknown opens a stream to a peer that has not answered yet.
func newUnknown(t *testing.T, opts drpcmanager.Options) *driven {
	t.Helper()
	d := newDriven(t, func(tr *drpctest.End, _ *rig) *drpcmanager.Manager { return drpcmanager.NewClient(tr, opts) })
	d.stream = d.open(t)
	d.Expect(`s1 m1 Invoke "/rpc"`)
	_, _ = d.Next() // the announcement
	return d
}

// knownClient opens a stream to a peer that answers with this window, and can be
// driven from there. What the stream sends next has the id s1 m3.
func knownClient(t *testing.T, window uint64, opts drpcmanager.Options) *driven {
	t.Helper()
	d := newUnknown(t, opts)
	d.Send(announces(drpcwire.ID{Stream: 1, Message: 1}, window, 0))
	synctest.Wait()
	return d
}

// open opens one more stream.
func (r *rig) open(t *testing.T) *drpcstream.Stream {
	t.Helper()
	s, err := r.man.NewClientStream(t.Context(), "/rpc", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// knownServer accepts a stream of a peer that announces this window. What the
// stream sends next has the id s1 m2. The peer has not said that it knows the
// server.
func knownServer(t *testing.T, window uint64, opts drpcmanager.Options) *driven {
	t.Helper()
	d := newDriven(t, func(tr *drpctest.End, r *rig) *drpcmanager.Manager {
		return drpcmanager.NewServer(t.Context(), tr, opts, drpcmanager.Hooks{
			Handle: func(s *drpcstream.Stream, _ string) { r.stream = s },
		})
	})
	d.Send(`s1 m1 Invoke "/rpc"`, announces(drpcwire.ID{Stream: 1, Message: 2}, window, 0))
	_, _ = d.Next() // the answer
	synctest.Wait()
	return d
}

// async runs f, and returns how to ask whether it has returned, and with what.
func async(f func() error) (returned func() (bool, error)) {
	var done bool
	var err error
	go func() {
		err = f()
		done = true
	}()
	return func() (bool, error) {
		synctest.Wait()
		return done, err
	}
}

// write sends a message of n bytes, in the background.
func write(s *drpcstream.Stream, n int) (returned func() (bool, error)) {
	return async(func() error { return s.RawWrite(drpcwire.KindMessage, make([]byte, n)) })
}

// receive receives a message of n bytes, in the background.
func receive(s *drpcstream.Stream, n int) (returned func() (bool, error)) {
	return async(func() error {
		data, err := s.RawRecv()
		if err == nil && len(data) != n {
			err = errors.New("a message of another length")
		}
		return err
	})
}

// still fails if the operation has returned; succeeds, if it has not returned or failed.
func still(t *testing.T, returned func() (bool, error)) {
	t.Helper()
	if done, err := returned(); done {
		t.Fatalf("returned %v, must wait", err)
	}
}

func succeeds(t *testing.T, returned func() (bool, error)) {
	t.Helper()
	if done, err := returned(); !done || err != nil {
		t.Fatalf("returned %v with %v, want true and no error", done, err)
	}
}

// message is the sentence of a frame with n zero bytes.
func message(stream, id uint64, n int, done bool) string {
	return drpctest.Describe(drpcwire.Frame{
		ID: drpcwire.ID{Stream: stream, Message: id}, Kind: drpcwire.KindMessage, Data: make([]byte, n), Done: done,
	})
}

// fillWindow uses up the credit of a stream whose next message has this id.
func (d *driven) fillWindow(t *testing.T, s *drpcstream.Stream, id uint64) {
	t.Helper()
	succeeds(t, write(s, room))
	d.Expect(message(s.ID(), id, room, true))
}

// alive fails if the connection has ended.
func (d *driven) alive(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if err := d.man.Err(); err != nil {
		t.Fatalf("the connection has ended: %v", err)
	}
}
