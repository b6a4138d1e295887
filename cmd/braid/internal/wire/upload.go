package wire

import (
	"encoding/binary"
	"io/fs"
)

// UploadStep says which of its messages an upload has come to.
type UploadStep uint8

const (
	// Header is the first message of a client: what is to come.
	Header UploadStep = UploadStep(tagHeader)
	// Chunk is a piece of the file.
	Chunk UploadStep = UploadStep(tagChunk)
	// End is the last message of a client: what was sent.
	End UploadStep = UploadStep(tagEnd)
	// Ready is an answer that a client can ask for in its header: the upload
	// has begun, and Await knows of it.
	Ready UploadStep = UploadStep(tagReady)
	// Receipt is the last answer: the file is stored.
	Receipt UploadStep = UploadStep(tagReceipt)
)

// UploadFrame is what a client sends on an Upload stream. Only the fields of
// its step are sent.
type UploadFrame struct {
	Step UploadStep

	// Header: who it is, and where the file goes, as a path with slashes
	// below the server's directory. The size is what the client expects and
	// commits to nothing; End counts.
	ID        UploadID
	Path      string
	Perm      fs.FileMode // permission bits only
	WantReady bool

	// Chunk: at least one byte, at most MaxChunk.
	Data []byte

	// Header and End: size of the file in bytes. End: its digest.
	Size int64
	Sum  Sum
}

func (m *UploadFrame) check() error {
	switch m.Step {
	case Header:
		if m.Perm&^fs.ModePerm != 0 {
			return malformed("%v is more than permission bits", m.Perm)
		}
		if err := positive("the size", m.Size); err != nil {
			return err
		}
		return limit("the path", len(m.Path), MaxPath)
	case Chunk:
		if len(m.Data) == 0 {
			return malformed("the chunk is empty")
		}
		return limit("the chunk", len(m.Data), MaxChunk)
	case End:
		return positive("the size", m.Size)
	}
	return malformed("step %d is not one of an upload", m.Step)
}

func (m *UploadFrame) appendTo(buf []byte) []byte {
	buf = append(buf, byte(m.Step))
	switch m.Step {
	case Header:
		buf = append(buf, m.ID[:]...)
		buf = appendBytes(buf, m.Path)
		buf = binary.AppendUvarint(buf, uint64(m.Perm))
		buf = binary.AppendUvarint(buf, uint64(m.Size))
		buf = appendFlag(buf, m.WantReady)
	case Chunk:
		buf = appendBytes(buf, m.Data)
	case End:
		buf = binary.AppendUvarint(buf, uint64(m.Size))
		buf = append(buf, m.Sum[:]...)
	}
	return buf
}

// parse keeps the memory of Data, so that one frame serves a whole upload.
func (m *UploadFrame) parse(t tag, d *decoder) bool {
	*m = UploadFrame{Step: UploadStep(t), Data: m.Data[:0]}
	switch m.Step {
	case Header:
		d.fixed("the identifier", m.ID[:])
		m.Path = string(d.bytes("the path", MaxPath))
		m.Perm = fs.FileMode(min(d.number("the permissions"), uint64(fs.ModeType)))
		m.Size = d.size("the size")
		m.WantReady = d.flag("the wish for an answer")
	case Chunk:
		m.Data = append(m.Data, d.bytes("the chunk", MaxChunk)...)
	case End:
		m.Size = d.size("the size")
		d.fixed("the digest", m.Sum[:])
	default:
		return false
	}
	return true
}

// UploadReply is what a server sends on an Upload stream.
type UploadReply struct {
	Step UploadStep

	// Receipt: what the server wrote, as read back from its disk.
	Size int64
	Sum  Sum
}

func (m *UploadReply) check() error {
	switch m.Step {
	case Ready:
		return nil
	case Receipt:
		return positive("the size", m.Size)
	}
	return malformed("step %d is not an answer to an upload", m.Step)
}

func (m *UploadReply) appendTo(buf []byte) []byte {
	buf = append(buf, byte(m.Step))
	if m.Step == Receipt {
		buf = binary.AppendUvarint(buf, uint64(m.Size))
		buf = append(buf, m.Sum[:]...)
	}
	return buf
}

func (m *UploadReply) parse(t tag, d *decoder) bool {
	*m = UploadReply{Step: UploadStep(t)}
	switch m.Step {
	case Ready:
	case Receipt:
		m.Size = d.size("the size")
		d.fixed("the digest", m.Sum[:])
	default:
		return false
	}
	return true
}
