package service

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"braid/cmd/braid/internal/wire"
)

// join sends a first message and returns the first answer.
func (r *rig) join(t *testing.T, first wire.ChatFrame) (*wire.ChatClient, wire.ChatFrame, error) {
	t.Helper()
	stream, err := r.client.Chat(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	if err := stream.Send(&first); err != nil {
		t.Fatal(err)
	}
	var frame wire.ChatFrame
	err = stream.Recv(&frame)
	return stream, frame, err
}

func TestALineReachesEverybodyInTheRoomAndNobodyElse(t *testing.T) {
	r := newRig(t)
	var streams []*wire.ChatClient
	for i, who := range []struct{ room, name string }{{"r", "a"}, {"r", "b"}, {"s", "a"}} {
		stream, welcome, err := r.join(t, wire.ChatFrame{Event: wire.Join, Room: who.room, Name: who.name})
		if err != nil || welcome.Event != wire.Welcome || welcome.Members != []uint64{1, 2, 1}[i] {
			t.Fatalf("%v, %v", welcome, err)
		}
		streams = append(streams, stream)
	}
	say := func(i int, text string) {
		t.Helper()
		if err := streams[i].Send(&wire.ChatFrame{Event: wire.Line, Number: 1, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(i int, name, text string) {
		t.Helper()
		var got wire.ChatFrame
		want := wire.ChatFrame{Event: wire.Heard, Name: name, Number: 1, Text: text}
		if err := streams[i].Recv(&got); err != nil || got != want {
			t.Fatalf("%v, %v, want %v", got, err, want)
		}
	}
	say(1, "in r")
	hear(0, "b", "in r")
	hear(1, "b", "in r")
	say(2, "in s")
	hear(2, "a", "in s") // and not what was said in r before
}

func TestWhoLeavesMakesRoom(t *testing.T) {
	r := newRig(t)
	first := wire.ChatFrame{Event: wire.Join, Room: "r", Name: "a"}
	stream, _, err := r.join(t, first)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.join(t, first); wire.CodeOf(err) != wire.Exists {
		t.Fatalf("the same name twice: %v", err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var frame wire.ChatFrame
	if err := stream.Recv(&frame); !errors.Is(err, io.EOF) {
		t.Fatalf("%v, %v", frame, err)
	}
	if _, welcome, err := r.join(t, first); err != nil || welcome.Members != 1 {
		t.Fatalf("%v, %v", welcome, err)
	}
}

func TestMessagesOutOfTurnEndTheChat(t *testing.T) {
	r := newRig(t)
	line := wire.ChatFrame{Event: wire.Line, Number: 1, Text: "x"}
	if _, _, err := r.join(t, line); wire.CodeOf(err) != wire.BadOrder {
		t.Errorf("a line before joining: %v", err)
	}
	join := wire.ChatFrame{Event: wire.Join, Room: "r", Name: "a"}
	stream, _, err := r.join(t, join)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&join); err != nil {
		t.Fatal(err)
	}
	var frame wire.ChatFrame
	if err := stream.Recv(&frame); wire.CodeOf(err) != wire.BadOrder {
		t.Errorf("joining twice: %v, %v", frame, err)
	}
}

func TestRoomsAndMembersAreLimited(t *testing.T) {
	h := newHub()
	for i := range maxMembers {
		if _, err := h.join("r", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.join("r", "one more"); wire.CodeOf(err) != wire.Full {
		t.Errorf("one more member: %v", err)
	}
	var last *member
	for i := range maxRooms - 1 {
		m, err := h.join(fmt.Sprint(i), "a")
		if err != nil {
			t.Fatal(err)
		}
		last = m
	}
	if _, err := h.join("one more", "a"); wire.CodeOf(err) != wire.Full {
		t.Errorf("one more room: %v", err)
	}
	h.leave(last)
	if _, err := h.join("one more", "a"); err != nil {
		t.Errorf("after a room has emptied: %v", err)
	}
}

func TestAMemberWhoDoesNotListenHoldsBackItsRoomUntilItLeaves(t *testing.T) {
	h := newHub()
	speaker, err := h.join("r", "speaker")
	if err != nil {
		t.Fatal(err)
	}
	deaf, err := h.join("r", "deaf")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan error)
	go func() {
		for range 2 * queueLength {
			for len(speaker.queue) > 0 { // this one does listen
				<-speaker.queue
			}
			if err := h.say(t.Context(), speaker, wire.ChatFrame{Event: wire.Heard}); err != nil {
				said <- err
				return
			}
		}
		said <- nil
	}()
	h.leave(deaf)
	if err := <-said; err != nil {
		t.Fatal(err)
	}
}
