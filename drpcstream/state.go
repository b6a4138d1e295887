package drpcstream

import "strconv"

// State is where a stream is in its life. docs/streams.md has the drawing.
type State uint32

const (
	// Init: made, and nothing sent. Leaves to Open when the Invoke is queued
	// (client) or has arrived (server), or to Closed.
	Init State = iota

	// Open: both sides may send.
	Open

	// ClientClosed: the client has said that it sends no more.
	ClientClosed

	// ServerClosed: the server has said that it sends no more.
	ServerClosed

	// Draining: the stream has ended, nothing is sent or accepted any more, and
	// what had arrived before is still being received.
	Draining

	// Closed: nothing is left to do. Final.
	Closed
)

var stateNames = [...]string{"Init", "Open", "ClientClosed", "ServerClosed", "Draining", "Closed"}

// String returns the name of the state.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// transitions[from] has the bit of each state that may follow.
var transitions = [...]uint32{
	Init:         1<<Open | 1<<Closed,
	Open:         1<<ClientClosed | 1<<ServerClosed | 1<<Draining | 1<<Closed,
	ClientClosed: 1<<Draining | 1<<Closed,
	ServerClosed: 1<<Draining | 1<<Closed,
	Draining:     1 << Closed,
	Closed:       0,
}

// CanBecome reports whether a stream may go from s to next in one step.
func (s State) CanBecome(next State) bool {
	return int(s) < len(transitions) && next <= Closed && transitions[s]&(1<<next) != 0
}

// State returns where the stream is now.
func (s *Stream) State() State { return State(s.state.Load()) }

// setState is the only place where the state changes. It refuses an illegal
// step by returning false.
func (s *Stream) setState(next State) bool {
	for {
		cur := State(s.state.Load())
		if !cur.CanBecome(next) {
			return false
		}
		if s.state.CompareAndSwap(uint32(cur), uint32(next)) {
			return true
		}
	}
}
