package stall

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	random "math/rand/v2"
	"time"

	"braid/cmd/braid/internal/wire"
)

// push sends all messages, of random bytes, so that none can be taken for another
// one, and their digest.
func (s *sender) push(send func(*wire.UploadFrame) error) error {
	defer s.change(func(p *progress) { p.over = true })
	s.change(func(p *progress) { p.begin = time.Now() })
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	source := random.NewChaCha8(seed)
	chunk := wire.UploadFrame{Step: wire.Chunk, Data: make([]byte, pieceSize)}
	sum := sha256.New()
	for range pieces {
		_, _ = source.Read(chunk.Data) // never fails
		_, _ = sum.Write(chunk.Data)   // never fails
		if err := send(&chunk); err != nil {
			return err
		}
		s.change(func(p *progress) {
			p.messages++
			p.bytes += pieceSize
			p.last = time.Now()
		})
	}
	end := wire.UploadFrame{Step: wire.End, Size: pieces * pieceSize}
	sum.Sum(end.Sum[:0])
	s.change(func(p *progress) { p.sum = end.Sum })
	return send(&end)
}

// pull receives all messages, and returns how many bytes there were in them, and
// their digest.
func pull(recv func(*wire.UploadFrame) error) (size int64, sum wire.Sum, err error) {
	hash := sha256.New()
	var frame wire.UploadFrame
	for {
		if err := recv(&frame); err != nil {
			return 0, sum, err
		}
		switch frame.Step {
		case wire.Chunk:
			size += int64(len(frame.Data))
			_, _ = hash.Write(frame.Data) // never fails
		case wire.End:
			hash.Sum(sum[:0])
			if size != frame.Size || sum != frame.Sum {
				return 0, sum, errors.New("what arrived is not what was sent")
			}
			return size, sum, nil
		default:
			return 0, sum, errors.New("a message is out of turn")
		}
	}
}
