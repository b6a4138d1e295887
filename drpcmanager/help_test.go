package drpcmanager_test

import (
	"storj.io/drpc/drpcerr"

	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

func resourceExhausted(err error) bool {
	return err != nil && drpcerr.Code(err) == drpcwire.CodeResourceExhausted
}

// answerAtOnce is a handler that runs on the reader itself.
func answerAtOnce(s *drpcstream.Stream, _ string) {
	_ = drpctest.Send(s, "at once")
	_ = s.Return(nil)
}
