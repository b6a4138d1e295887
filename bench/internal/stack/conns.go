package stack

import (
	"context"
	"net"
	"sync"
)

// serveConns calls serve with every connection that the listener accepts, each
// on a goroutine of its own, until ctx is done. Then it closes the connections
// and waits for the goroutines.
func serveConns(ctx context.Context, lis net.Listener, serve func(net.Conn)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = lis.Close() })
	defer stop()
	for {
		conn, err := lis.Accept()
		if err != nil {
			_ = lis.Close() // where ctx has not closed it
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() { // ends when its connection does
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			serve(conn)
			_ = conn.Close() // serve may have closed it
		})
	}
}
