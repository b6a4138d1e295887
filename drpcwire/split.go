package drpcwire

// DefaultSplitSize is the most data put into one frame where nothing else was
// asked for: small enough that one frame delays another stream by little.
const DefaultSplitSize = 64 << 10

// SplitData cuts buf so that prefix has at most n bytes. Zero means
// DefaultSplitSize; negative means that buf is not cut but at the largest length
// a frame may have, 1 GiB.
func SplitData(buf []byte, n int) (prefix, suffix []byte) {
	if n == 0 {
		n = DefaultSplitSize
	}
	if n < 0 || n > maxFrameLength {
		n = maxFrameLength
	}
	if len(buf) <= n {
		return buf, nil
	}
	return buf[:n:n], buf[n:]
}

// SplitN calls cb with the frames of pkt in order, each with at most n bytes of
// data (see SplitData), and stops at the first error, which it returns.
func SplitN(pkt Packet, n int, cb func(fr Frame) error) error {
	fr := Frame{ID: pkt.ID, Kind: pkt.Kind, Control: pkt.Control}
	for {
		fr.Data, pkt.Data = SplitData(pkt.Data, n)
		fr.Done = len(pkt.Data) == 0
		if err := cb(fr); err != nil || fr.Done {
			return err
		}
	}
}
