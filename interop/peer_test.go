package interop_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"storj.io/drpc"

	"braid/drpcwire"
	"braid/internal/drpctest"
)

// side is one end under test, and the peer that the test drives against it.
type side struct {
	t    *testing.T
	end  *drpctest.End // of the side under test: it knows what was written
	peer *drpctest.Peer
	conn conn // of a client
}

// clientBubble runs a test in a bubble of its own, against a client.
func clientBubble(t *testing.T, s stack, o options, test func(t *testing.T, c side)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		test(t, side{t: t, end: a, conn: s.open(t, a, o), peer: drpctest.NewPeer(t, b)})
	})
}

// serverBubble is clientBubble against a server. Its handlers have ended when
// the test is over.
func serverBubble(t *testing.T, s stack, service *drpctest.Service, o options, test func(t *testing.T, c side)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := drpctest.Pipe()
		s.serveOne(t, bg, a, service, o)
		test(t, side{t: t, end: a, peer: drpctest.NewPeer(t, b)})
	})
}

// settings is a sentence for an announcement that says as little as it can.
func settings(id string) string { return id + ` Settings "\x01\x01" ctl` }

// frame waits for the next frame of the side under test.
func (c side) frame() drpcwire.Frame {
	c.t.Helper()
	sentence, ok := c.peer.Next()
	if !ok {
		c.t.Fatal("the connection has ended")
	}
	fr, err := drpctest.Parse(sentence)
	must(c.t, err)
	return fr
}

// expectSettings waits for an announcement with this id.
func (c side) expectSettings(stream, message uint64) {
	c.t.Helper()
	fr := c.frame()
	if fr.Kind != drpcwire.KindSettings || fr.ID != (drpcwire.ID{Stream: stream, Message: message}) {
		c.t.Fatalf("got %s\nwant settings s%d m%d", drpctest.Describe(fr), stream, message)
	}
	if _, err := drpcwire.ParseSettings(fr.Data); err != nil || !fr.Control || !fr.Done {
		c.t.Fatalf("bad settings %s: %v", drpctest.Describe(fr), err)
	}
}

// expectNothing waits until everything has come to rest, and fails if a frame
// has come that was not expected.
func (c side) expectNothing() {
	c.t.Helper()
	synctest.Wait()
	c.peer.ExpectNothing()
}

// kinds lists what one Write on the side's end was made of.
func (c side) kinds(write int) (kinds []drpcwire.Kind) {
	c.t.Helper()
	writes := c.end.Writes()
	if write >= len(writes) {
		c.t.Fatalf("%d writes, want more than %d", len(writes), write)
	}
	for _, fr := range parse(c.t, writes[write:write+1]) {
		kinds = append(kinds, fr.Kind)
	}
	return kinds
}

// silent fails if the side has written anything.
func (c side) silent() {
	c.t.Helper()
	synctest.Wait()
	if all := bytes.Join(c.end.Writes(), nil); len(all) > 0 {
		c.t.Fatalf("written: %q", all)
	}
}

// open opens a stream on the client.
func (c side) open(ctx context.Context) drpc.Stream {
	c.t.Helper()
	return mustStream(c.t, ctx, c.conn, "rpc")
}

// expectInAnyOrder waits for these frames, which handlers of several streams send.
func (c side) expectInAnyOrder(sentences ...string) {
	c.t.Helper()
	var got []string
	for range sentences {
		sentence, ok := c.peer.Next()
		if !ok {
			c.t.Fatalf("the connection ended after %q", got)
		}
		got = append(got, sentence)
	}
	slices.Sort(got)
	slices.Sort(sentences)
	if !slices.Equal(got, sentences) {
		c.t.Fatalf("got  %q\nwant %q", got, sentences)
	}
}
