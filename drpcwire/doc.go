// Package drpcwire encodes and decodes the DRPC wire format.
//
// The format is described in docs/wire.md. A [Frame] is the unit on the wire; a
// [Packet] is the frames of one (stream, message) id up to the one that is
// marked done; an [Assembler] turns the first into the second for one stream.
//
// Everything here is a pure function of its input, except for the two ends of
// the wire: [Reader], which parses frames out of an io.Reader, and [MuxWriter],
// whose one goroutine writes what many streams have appended. [Writer] and
// Reader.ReadPacket serve programs written for storj.io/drpc/drpcwire, which
// know a single stream at a time.
package drpcwire
