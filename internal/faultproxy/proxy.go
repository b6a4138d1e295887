package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Proxy listens on a loopback port and connects whoever comes to its target. All
// methods may be called concurrently.
type Proxy struct {
	target string
	script func(n int) Script
	lis    net.Listener
	ctx    context.Context // ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the accepting goroutine and those of the links

	mu     sync.Mutex
	links  []*link // by number; nil until the target was reached; guarded by mu
	err    error   // the first that Close reports; guarded by mu
	closed bool    // guarded by mu
}

// New starts a proxy to a TCP address. script is asked what to do to connection
// n, counted from 0 in the order of acceptance; it may be called concurrently.
// Nil means that there are no faults.
func New(target string, script func(n int) Script) (*Proxy, error) {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return nil, fmt.Errorf("faultproxy: target: %w", err)
	}
	if script == nil {
		script = func(int) Script { return Script{} }
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{target: target, script: script, lis: lis}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the address to connect to.
func (p *Proxy) Addr() string { return p.lis.Addr().String() }

// Passed returns how many bytes of connection n were passed on in each
// direction: not those that have vanished, nor those on their way. It is 0 for a
// connection that there is not yet, and goes on to count after its end.
func (p *Proxy) Passed(n int) (toTarget, toClient int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < 0 || n >= len(p.links) || p.links[n] == nil {
		return 0, 0
	}
	return p.links[n].toTarget.passed.Load(), p.links[n].toClient.passed.Load()
}

// Close ends all connections by RST and returns when nothing of the proxy is
// running any more. The error is the first thing that went wrong in the proxy
// itself: a script that is not valid, a target that could not be reached. Those
// connections were reset.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	links := p.links
	p.mu.Unlock()
	p.cancel()
	_ = p.lis.Close()
	for _, l := range links {
		if l != nil {
			l.reset()
		}
	}
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// accept ends when Close closes the listener.
func (p *Proxy) accept() {
	for n := 0; ; n++ {
		conn, err := p.lis.Accept()
		if err != nil {
			p.fail(fmt.Errorf("faultproxy: %w", err))
			return
		}
		p.wg.Go(func() { p.serve(n, conn.(*net.TCPConn)) })
	}
}

// serve runs one connection.
func (p *Proxy) serve(n int, client *net.TCPConn) {
	l, err := p.connect(n, client)
	if err != nil {
		p.fail(err) // first, so that who sees the reset finds the error
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	l.run()
}

// connect makes the link. Nothing is left behind if it fails.
func (p *Proxy) connect(n int, client *net.TCPConn) (*link, error) {
	script := p.script(n)
	if err := script.Validate(); err != nil {
		return nil, err
	}
	target, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	l := newLink(client, target.(*net.TCPConn), script)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = target.Close()
		return nil, errors.New("faultproxy: closed")
	}
	for len(p.links) <= n {
		p.links = append(p.links, nil)
	}
	p.links[n] = l
	return l, nil
}

// fail notes an error, unless it is due to Close.
func (p *Proxy) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && !p.closed {
		p.err = err
	}
}
