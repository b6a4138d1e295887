package link

import (
	"net"
	"sync"
	"time"
)

// Proxy accepts connections on loopback and carries each over a link of its
// own to its target.
type Proxy struct {
	lis    net.Listener
	target string
	link   Link

	wg sync.WaitGroup // the accept loop and everything it has started

	mu     sync.Mutex
	closed bool       // guarded by mu
	conns  []net.Conn // guarded by mu
}

// Listen starts a proxy to the TCP address given. Close ends it.
func Listen(target string, l Link) (*Proxy, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{lis: lis, target: target, link: l}
	p.wg.Add(1)
	go p.accept() // ends when the listener is closed
	return p, nil
}

// Addr returns where to connect to.
func (p *Proxy) Addr() net.Addr { return p.lis.Addr() }

// Close ends the proxy and its connections at once, without delivering what is
// on its way, and waits for its goroutines.
func (p *Proxy) Close() error {
	err := p.lis.Close()
	p.mu.Lock()
	p.closed = true
	for _, conn := range p.conns {
		_ = conn.Close() // all of them are given up
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

// accept carries connections until the listener is closed.
func (p *Proxy) accept() {
	defer p.wg.Done()
	for {
		near, err := p.lis.Accept()
		if err != nil {
			return
		}
		p.wg.Add(1)
		go p.carry(near) // ends with the connection or with Close
	}
}

// carry joins an accepted connection with one to the target.
func (p *Proxy) carry(near net.Conn) {
	defer p.wg.Done()
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = near.Close() // which tells the peer all there is to tell
		return
	}
	if !p.keep(near, far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.oneWay(far, near) })
	both.Go(func() { p.oneWay(near, far) })
	both.Wait()
	_ = near.Close()
	_ = far.Close()
}

// keep makes Close close the connections, and closes them if that is over.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, conns...)
	for _, conn := range conns {
		// The kernel would queue megabytes in front of the link, and their
		// waiting time would hide all that a stack does about its own.
		_ = conn.(*net.TCPConn).SetReadBuffer(socketBuffer) // a default is as good
		if p.closed {
			_ = conn.Close()
		}
	}
	return !p.closed
}

const (
	// socketBuffer is how much the kernel may hold in front of the link, in
	// bytes, of which it makes twice as much.
	socketBuffer = 64 << 10
	// chunk is how much is transmitted at once, in bytes.
	chunk = 16 << 10
	// ahead is how far transmission may run ahead of the clock. It makes up for
	// sleeps that take longer than they should, so that the rate is met.
	ahead = 2 * time.Millisecond
)

// oneWay carries bytes from one connection to the other until the end of the
// stream, which it passes on, or an error, which ends both directions.
func (p *Proxy) oneWay(to, from net.Conn) {
	q := newQueue(p.link.flight())
	var delivery sync.WaitGroup
	delivery.Go(func() { deliver(to, from, q) })
	defer delivery.Wait()
	defer q.end()
	var free time.Time // when the link has transmitted what it was given
	buf := make([]byte, chunk)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			now := time.Now()
			if free.Before(now) {
				free = now
			}
			free = free.Add(p.link.transmission(n))
			if !q.push(piece{data: append([]byte(nil), buf[:n]...), due: free.Add(p.link.Delay)}) {
				return
			}
			time.Sleep(time.Until(free.Add(-ahead)))
		}
		if err != nil {
			return
		}
	}
}

// deliver writes what is queued when it is due, and then ends the stream.
func deliver(to, from net.Conn, q *queue) {
	defer q.drop()
	for {
		next, ok := q.pop()
		if !ok {
			_ = to.(*net.TCPConn).CloseWrite() // fails where all is over anyway
			return
		}
		time.Sleep(time.Until(next.due))
		if _, err := to.Write(next.data); err != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}
