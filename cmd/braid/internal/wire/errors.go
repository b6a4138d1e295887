package wire

import "storj.io/drpc/drpcerr"

// Code says why a server refused something, so that a client need not read
// texts. It travels as the code of a drpc error. The numbers are part of the
// protocol.
type Code uint64

const (
	// BadPath means that the path does not name a place below the directory.
	BadPath Code = 1001
	// Exists means that there is such a file already.
	Exists Code = 1002
	// BadSum means that what arrived is not what was sent.
	BadSum Code = 1003
	// BadOrder means a message that is malformed or out of turn.
	BadOrder Code = 1004
	// StorageFailed means that the server could not write the file.
	StorageFailed Code = 1005
	// NotFound means that nothing is known by that name.
	NotFound Code = 1006
	// Full means that there is no room for one more.
	Full Code = 1007
)

// WithCode gives an error a code for its way to the client.
func WithCode(err error, code Code) error { return drpcerr.WithCode(err, uint64(code)) }

// CodeOf returns the code of an error, or 0.
func CodeOf(err error) Code { return Code(drpcerr.Code(err)) }
