// Package rig starts the server of a stack, over one of several transports, and
// connects to it.
package rig

import (
	"context"
	"errors"
	"fmt"
	"net"

	"braid/bench/internal/link"
	"braid/bench/internal/stack"
)

// Config says what is started.
type Config struct {
	// Transport is what lies below the stack. Empty means TCP.
	Transport Transport
	// Setup is what the stack has to be ready for.
	Setup stack.Setup
	// Link is a slow link in between, if it is one. It needs the transport TCP.
	Link link.Link
}

// Rig is a running server and the client that talks to it.
type Rig struct {
	client stack.Client
	server server
	dialed keeper
	proxy  *link.Proxy // nil without a link
}

// Counts is what a server has counted.
type Counts struct {
	// Conns is how many connections it has accepted.
	Conns int `json:"conns"`
	// Received is how many bytes of payload its upload handlers have read.
	Received int64 `json:"received"`
}

// server is a server, wherever it runs. Its methods may be called concurrently.
type server interface {
	addr() string
	// separate reports whether the server is a process of its own.
	separate() bool
	counts() (Counts, error)
	footprint() (Footprint, error)
	// close ends the server and waits until it has ended.
	close() error
	// kill takes its connections away. It may be called while close waits.
	kill()
}

// Start serves with the stack, connects, and compares every byte of the answer
// to a first call. The context bounds the start, and the rig lives without it.
func Start(ctx context.Context, st stack.Stack, cfg Config) (_ *Rig, err error) {
	if err := cfg.check(st); err != nil {
		return nil, err
	}
	r := new(Rig)
	if cfg.Transport == Processes {
		r.server, err = startChild(ctx, st, cfg.Setup)
	} else {
		r.server, err = startLocal(st, cfg)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Kill()
			if r.client != nil {
				// It would dial again. What is broken may never return.
				go func() { _ = r.client.Close() }()
			}
			if r.Separate() {
				_ = r.server.close() // it has been killed
			}
		}
	}()
	addr := r.server.addr()
	if cfg.Link.Enabled() {
		if r.proxy, err = link.Listen(addr, cfg.Link); err != nil {
			return nil, err
		}
		addr = r.proxy.Addr().String()
	}
	dial := func(ctx context.Context) (net.Conn, error) { return r.dial(ctx, addr, cfg) }
	if cfg.Setup.Conns > 0 {
		var many *stack.Many
		if many, err = stack.NewMany(ctx, st, dial, cfg.Setup); err == nil {
			r.client = many
		}
	} else {
		r.client, err = st.Client(ctx, dial, cfg.Setup)
	}
	if err != nil {
		return nil, fmt.Errorf("stack %s: %w", st.Name, err)
	}
	if err := stack.FirstCall(ctx, r.client); err != nil {
		return nil, fmt.Errorf("stack %s: %w", st.Name, err)
	}
	return r, nil
}

// check refuses what does not go together.
func (cfg Config) check(st stack.Stack) error {
	if err := cfg.Transport.Check(st); err != nil {
		return err
	}
	if cfg.Link.Enabled() && cfg.Transport != TCP && cfg.Transport != "" {
		return fmt.Errorf("a link needs the transport %s, not %s", TCP, cfg.Transport)
	}
	return nil
}

// dial makes a connection of the transport.
func (r *Rig) dial(ctx context.Context, addr string, cfg Config) (net.Conn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	r.dialed.keep(raw)
	if err := bound(raw, cfg.Link); err != nil {
		return nil, err
	}
	if cfg.Transport == TLS {
		return clientTLS(ctx, raw)
	}
	return raw, nil
}

// Client returns what all callers call through.
func (r *Rig) Client() stack.Client { return r.client }

// Note returns what a reader of the figures has to know about the client, or "".
func (r *Rig) Note() string {
	if noter, ok := r.client.(stack.Noter); ok {
		return noter.Note()
	}
	return ""
}

// Separate reports whether the server is a process of its own.
func (r *Rig) Separate() bool { return r.server.separate() }

// Counts returns what the server has counted so far.
func (r *Rig) Counts() (Counts, error) { return r.server.counts() }

// Footprint collects garbage, and returns what this process holds then, and what
// the server does, which is the same if it is not Separate.
func (r *Rig) Footprint() (here, server Footprint, err error) {
	here = takeFootprint()
	if !r.Separate() {
		return here, here, nil
	}
	server, err = r.server.footprint()
	return here, server, err
}

// Close ends the connections and the server, and waits for both.
func (r *Rig) Close() error {
	err := errors.Join(r.client.Close(), r.server.close())
	if r.proxy != nil {
		err = errors.Join(err, r.proxy.Close())
	}
	return err
}

// Kill takes the sockets away from both sides and waits for nothing of the
// stack. It may be called while Close waits.
func (r *Rig) Kill() {
	r.server.kill()
	r.dialed.close()
	if r.proxy != nil {
		_ = r.proxy.Close() // Close may have done so
	}
}
