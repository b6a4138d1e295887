// Package wire is what a copying client and a copying server say to each
// other: the messages, their encoding, the description that a drpc mux
// registers, and typed ends for both sides.
//
// # Methods
//
//	/braid.copy.Files/Echo    unary          Echo in, Echo out
//	/braid.copy.Files/Await   unary          UploadID in, Outcome out, when the upload is over
//	/braid.copy.Files/Upload  client stream  header, chunks, end in; [ready,] receipt out
//	/braid.copy.Files/Chat    both ways      join and lines in; welcome and lines out
//
// # Encoding
//
// A message is one tag byte, which says what it is, and then its fields in the
// order in which they are declared, with nothing between them:
//
//	number        base 128 varint, low bits first, in its shortest form
//	bytes, text   their length as a number, then the bytes
//	identifier    16 bytes
//	SHA-256       32 bytes
//	yes or no     one byte, 1 or 0
//
// There is exactly one encoding of a message. A decoder refuses everything
// else, with an error that wraps [ErrMalformed]: an unknown tag, a field that
// is cut short, a number in a longer form than needed, a field over its limit,
// bytes after the last field. It never allocates for a length before the bytes
// of that length are there.
package wire
