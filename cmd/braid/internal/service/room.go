package service

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"braid/cmd/braid/internal/wire"
)

// The limits of the chat. A room exists while somebody is in it.
const (
	maxRooms   = 1024
	maxMembers = 64
	// queueLength is how many lines may wait for one member. Those who talk
	// wait when it is full: every line reaches everybody, and a member who
	// does not listen slows its own room down, and nothing else.
	queueLength = 64
)

// hub holds the rooms.
type hub struct {
	mu    sync.Mutex
	rooms map[string]map[string]*member // by room, by name
}

// member is one stream in a room.
type member struct {
	room, name string
	queue      chan wire.ChatFrame
	gone       chan struct{} // closed once the member has left
}

func newHub() *hub { return &hub{rooms: make(map[string]map[string]*member)} }

// join enters a room and puts the welcome in the member's queue.
func (h *hub) join(room, name string) (*member, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	members := h.rooms[room]
	switch {
	case members == nil && len(h.rooms) == maxRooms:
		return nil, wire.WithCode(errors.New("there are too many rooms"), wire.Full)
	case len(members) == maxMembers:
		return nil, wire.WithCode(fmt.Errorf("room %q is full", room), wire.Full)
	case members[name] != nil:
		return nil, wire.WithCode(fmt.Errorf("there is a %q in room %q", name, room), wire.Exists)
	case members == nil:
		members = make(map[string]*member)
		h.rooms[room] = members
	}
	m := &member{
		room:  room,
		name:  name,
		queue: make(chan wire.ChatFrame, queueLength),
		gone:  make(chan struct{}),
	}
	members[name] = m
	m.queue <- wire.ChatFrame{Event: wire.Welcome, Members: uint64(len(members))}
	return m, nil
}

// leave takes a member out of its room.
func (h *hub) leave(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.rooms[m.room], m.name)
	if len(h.rooms[m.room]) == 0 {
		delete(h.rooms, m.room)
	}
	close(m.gone)
}

// audience returns who is in a member's room, the member included.
func (h *hub) audience(m *member) []*member {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*member, 0, len(h.rooms[m.room]))
	for _, other := range h.rooms[m.room] {
		all = append(all, other)
	}
	return all
}

// say puts a line in the queue of everybody in the room, and waits where a
// queue is full. The lines of one author reach everybody in order, because one
// goroutine says them.
func (h *hub) say(ctx context.Context, m *member, line wire.ChatFrame) error {
	for _, to := range h.audience(m) {
		select {
		case to.queue <- line:
		case <-to.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
