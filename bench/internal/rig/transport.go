package rig

import (
	"fmt"

	"braid/bench/internal/stack"
)

// Transport is what lies below a stack.
type Transport string

// The transports.
const (
	TCP       Transport = "tcp"       // loopback TCP, both ends in this process
	TLS       Transport = "tls"       // TLS over that
	Processes Transport = "processes" // loopback TCP, the server in a process of its own
)

// Transports returns all transports.
func Transports() []Transport { return []Transport{TCP, TLS, Processes} }

// Check returns an error if the stack cannot be used with the transport, or if
// there is no such transport.
func (t Transport) Check(st stack.Stack) error {
	switch t {
	case "", TCP, TLS:
		return nil
	case Processes:
		// The other process knows stacks by their names.
		_, err := stack.Named(st.Name)
		return err
	}
	return fmt.Errorf("transport %q is none of %v", t, Transports())
}

// Settings says in words what the transport is.
func (t Transport) Settings() string {
	switch t {
	case TLS:
		return "TLS 1.3 of crypto/tls below the stack, ECDSA P-256, no client certificate, over loopback TCP with TCP_NODELAY, client and server in one process"
	case Processes:
		return "loopback TCP with TCP_NODELAY, the server in a process of its own with the same GOMAXPROCS"
	}
	return "loopback TCP with TCP_NODELAY, client and server in one process"
}
