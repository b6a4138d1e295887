package wire

import (
	"context"

	"storj.io/drpc"
)

// The streams of the service that does not read. A copying server does not have
// it: it is for a server and a client in one process, see package stall.
//
//	/braid.copy.Stall/Upload    client stream  chunks, end in; receipt out
//	/braid.copy.Stall/Download  both ways      nothing in; chunks, end out
const (
	stallUploadRPC   = "/braid.copy.Stall/Upload"
	stallDownloadRPC = "/braid.copy.Stall/Download"
)

// The two ends of a download: only the server sends.
type (
	DownloadClient = Stream[UploadFrame, UploadFrame]
	DownloadServer = Stream[UploadFrame, UploadFrame]
)

// StallServer is what package stall implements.
type StallServer interface {
	// Upload receives chunks, once it is told to.
	Upload(stream *UploadServer) error
	// Download sends chunks, whether they are read or not.
	Download(stream *DownloadServer) error
}

// StallDescription describes StallServer to a mux.
type StallDescription struct{}

var _ drpc.Description = StallDescription{}

// NumMethods returns the number of methods.
func (StallDescription) NumMethods() int { return 2 }

// Method returns the method with a number.
func (StallDescription) Method(n int) (rpc string, enc drpc.Encoding, recv drpc.Receiver, method any, ok bool) {
	switch n {
	case 0:
		return stallUploadRPC, Codec{}, func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, srv.(StallServer).Upload(&UploadServer{Stream: in1.(drpc.Stream)})
		}, StallServer.Upload, true
	case 1:
		return stallDownloadRPC, Codec{}, func(srv any, _ context.Context, in1, _ any) (drpc.Message, error) {
			return nil, srv.(StallServer).Download(&DownloadServer{Stream: in1.(drpc.Stream)})
		}, StallServer.Download, true
	}
	return "", nil, nil, nil, false
}

// StallUpload opens a stream for chunks that are not read. The end of ctx cancels it.
func (c *Client) StallUpload(ctx context.Context) (*UploadClient, error) {
	c.traffic.Streams.Add(1)
	stream, err := c.conn.NewStream(ctx, stallUploadRPC, c.codec)
	if err != nil {
		return nil, err
	}
	return &UploadClient{Stream: stream, codec: c.codec}, nil
}

// StallDownload opens a stream on which the server sends chunks at once, read or
// not. The end of ctx cancels it.
func (c *Client) StallDownload(ctx context.Context) (*DownloadClient, error) {
	c.traffic.Streams.Add(1)
	stream, err := c.conn.NewStream(ctx, stallDownloadRPC, c.codec)
	if err != nil {
		return nil, err
	}
	download := &DownloadClient{Stream: stream, codec: c.codec}
	return download, download.CloseSend()
}
