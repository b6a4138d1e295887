package interop_test

import (
	"fmt"
	"testing"

	"braid/drpcmanager"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// TestStockServerIsSentNothingItDoesNotKnow watches the bytes of a braid client
// through the whole script: kinds that stock knows, and one announcement where
// it is known to be harmless (M4, W4, W6).
func TestStockServerIsSentNothingItDoesNotKnow(t *testing.T) {
	for mode, announcements := range map[drpcmanager.Multiplex]int{
		drpcmanager.MultiplexAuto:  1,
		drpcmanager.MultiplexNever: 0,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			tap := new(tap)
			playPair(t, pair{braid, stock}, options{Multiplex: mode}, tap)
			if len(tap.clients) != 1 {
				t.Errorf("%d connections for one script", len(tap.clients))
			}
			for _, r := range tap.clients {
				checkClientBytes(t, r.writes(), announcements)
			}
		})
	}
}

// TestStockClientIsSentNothingItDoesNotKnow watches the bytes of a braid server:
// only kinds that stock knows, ids that stock takes, and nothing at all before
// the first Invoke (M4, W6).
func TestStockClientIsSentNothingItDoesNotKnow(t *testing.T) {
	for _, soft := range []bool{false, true} {
		t.Run(fmt.Sprintf("SoftCancel=%v", soft), func(t *testing.T) {
			tap := new(tap)
			playPair(t, pair{stock, braid}, options{SoftCancel: soft}, tap)
			for _, r := range tap.servers {
				checkServerBytes(t, r)
			}
		})
	}
}

// TestBraidAnswersBraidBeforeAnythingElse watches the bytes of two ends that
// come to know each other: one announcement each, the server's first of all
// that it sends, and the acknowledgement of the client.
func TestBraidAnswersBraidBeforeAnythingElse(t *testing.T) {
	tap := new(tap)
	playPair(t, pair{braid, braid}, options{}, tap)
	if len(tap.clients) != 1 || len(tap.servers) != 1 {
		t.Fatalf("%d and %d connections for one script", len(tap.clients), len(tap.servers))
	}
	for i, r := range []*recorder{tap.clients[0], tap.servers[0]} {
		frames := parse(t, r.writes())
		count := 0
		for _, fr := range frames {
			if fr.Kind != drpcwire.KindSettings {
				continue
			}
			count++
			s, err := drpcwire.ParseSettings(fr.Data)
			if knows := s.Flags&drpcwire.FlagKnowsPeer != 0; err != nil || knows != (count == 2) {
				t.Errorf("end %d, settings %d: %+v, %v", i, count, s, err)
			}
		}
		if count != 2-i {
			t.Errorf("end %d has sent settings %d times", i, count)
		}
		if i == 1 && frames[0].Kind != drpcwire.KindSettings {
			t.Errorf("the server has sent %v first", drpctest.Describe(frames[0].Frame))
		}
	}
}
