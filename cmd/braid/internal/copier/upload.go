package copier

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"braid/cmd/braid/internal/tree"
	"braid/cmd/braid/internal/wire"
)

// uploadFrom copies one file after the other, with one buffer.
func (r *run) uploadFrom(ctx context.Context, files <-chan tree.File) error {
	buf := make([]byte, r.opts.Chunk)
	for file := range files {
		begin := time.Now()
		size, err := r.upload(ctx, file, buf)
		if err == nil {
			r.uploads.latency.Add(time.Since(begin))
			r.done(file, size)
			continue
		}
		if r.isRefusal(err) {
			r.refuse()
			return nil
		}
		if fatal(ctx, err) {
			return fmt.Errorf("copying had to stop: %w", err)
		}
		r.opts.Failed(file.Path, err)
		r.mu.Lock()
		r.result.Failed++
		r.mu.Unlock()
	}
	return nil
}

// done takes down a file that was copied.
func (r *run) done(file tree.File, size int64) {
	r.opts.Count.Files.Add(1)
	file.Size = size
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Copied = append(r.result.Copied, file)
	r.result.Bytes += size
}

// upload copies one file and returns how many bytes it has.
func (r *run) upload(ctx context.Context, file tree.File, buf []byte) (int64, error) {
	f, err := openRegular(r.opts.Root, file.Path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()

	// If this end gives up, the stream has to end too, and the server must
	// not take what it has for the whole file.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.uploads.client.Upload(ctx)
	if err != nil {
		return 0, err
	}
	header := wire.UploadFrame{
		Step: wire.Header, ID: newUploadID(), Path: file.Path, Perm: file.Perm, Size: file.Size,
	}
	if err := send(stream, &header); err != nil {
		return 0, err
	}
	end, err := r.sendBody(stream, f, buf)
	if err != nil {
		return 0, err
	}
	return end.Size, confirm(stream, end)
}

// openRegular opens a file for reading. Something else may have taken its name
// since it was listed: a link is not followed out of the directory, and a named
// pipe does not block.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no longer a regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// sendBody sends the chunks and the end, which it returns.
func (r *run) sendBody(stream *wire.UploadClient, f io.Reader, buf []byte) (*wire.UploadFrame, error) {
	sum := sha256.New()
	chunk := wire.UploadFrame{Step: wire.Chunk}
	end := &wire.UploadFrame{Step: wire.End}
	for {
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			_, _ = sum.Write(buf[:n]) // never fails
			chunk.Data = buf[:n]
			if err := send(stream, &chunk); err != nil {
				return nil, err
			}
			end.Size += int64(n)
			r.opts.Count.Bytes.Add(int64(n))
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			sum.Sum(end.Sum[:0])
			return end, send(stream, end)
		case err != nil:
			return nil, err
		}
	}
}

// confirm waits for the receipt and compares it with what was sent.
func confirm(stream *wire.UploadClient, end *wire.UploadFrame) error {
	if err := stream.CloseSend(); err != nil {
		return reason(stream, err)
	}
	var reply wire.UploadReply
	if err := stream.Recv(&reply); err != nil {
		return ended(err)
	}
	switch {
	case reply.Step != wire.Receipt:
		return errors.New("the server answered something else than a receipt")
	case reply.Size != end.Size || reply.Sum != end.Sum:
		return fmt.Errorf("checksum mismatch: the server stored %d bytes with %v, %d with %v were sent",
			reply.Size, reply.Sum, end.Size, end.Sum)
	}
	return stream.Close()
}

// send sends a message. If the server has ended the stream, its reason is the
// error.
func send(stream *wire.UploadClient, frame *wire.UploadFrame) error {
	if err := stream.Send(frame); err != nil {
		return reason(stream, err)
	}
	return nil
}

// reason turns the io.EOF of a failed send into what the server had to say.
func reason(stream *wire.UploadClient, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	for {
		var reply wire.UploadReply
		if err := stream.Recv(&reply); err != nil {
			return ended(err)
		}
	}
}

// ended makes an io.EOF in place of an answer readable.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the server ended the upload without a receipt")
	}
	return err
}

func newUploadID() (id wire.UploadID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}
