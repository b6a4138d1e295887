package faultproxy

import (
	"io"
	"sync"
	"time"
)

// end is what a link needs of a *net.TCPConn.
type end interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetLinger(sec int) error
}

// link is one connection from a client through the proxy to the target.
type link struct {
	client, target     end
	toTarget, toClient *flow
	once               sync.Once
	done               chan struct{} // closed when the link has ended
}

func newLink(client, target end, script Script) *link {
	l := &link{client: client, target: target, done: make(chan struct{})}
	l.toTarget = newFlow(l, script.ToTarget, client, target)
	l.toClient = newFlow(l, script.ToClient, target, client)
	l.toTarget.back, l.toClient.back = l.toClient, l.toTarget
	return l
}

// run returns when both directions have ended, or the whole link by reset, and
// nothing of it is running any more.
func (l *link) run() {
	var takers, givers sync.WaitGroup
	for _, w := range []*flow{l.toTarget, l.toClient} {
		takers.Go(w.take) // ends with the direction, or when reset closes its src
		givers.Go(w.give) // ends after the taker's last item, or with done
	}
	givers.Wait()
	l.close()
	takers.Wait()
}

// close ends the link, and each connection by FIN where that has not been sent.
func (l *link) close() {
	l.once.Do(func() {
		close(l.done)
		_ = l.client.Close()
		_ = l.target.Close()
	})
}

// reset ends the link, and both connections by RST.
func (l *link) reset() {
	_ = l.client.SetLinger(0)
	_ = l.target.SetLinger(0)
	l.close()
}

// sleepUntil returns false if the link ends first.
func (l *link) sleepUntil(t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}
