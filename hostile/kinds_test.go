package hostile_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"braid/drpcwire"
)

// TestEveryUnknownKindIsIgnoredOrEndsTheConnection: the control bit says which, in
// every place and at every length (T12).
func TestEveryUnknownKindIsIgnoredOrEndsTheConnection(t *testing.T) {
	tg := newTarget(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := &attacker{addr: tg.addr, ctx: ctx, rep: report{Errors: map[string]int{}, Kinds: map[string]int{}}}
	for kind := range drpcwire.Kind(64) {
		if 1 <= kind && kind <= drpcwire.KindTimeout {
			continue // these are known
		}
		for _, control := range []bool{true, false} {
			c := a.dial(true)
			if c == nil || !c.hello() {
				t.Fatal("no connection")
			}
			wrote, at := true, ""
			for _, stream := range []uint64{0, 1, 1 << 40} {
				for _, length := range []int{0, 1, 70 << 10} {
					for _, done := range []bool{true, false} {
						fr := frame(kind, stream, 0, strings.Repeat("u", length))
						fr.Control, fr.Done = control, done
						at = fmt.Sprint(fr)
						if wrote = c.write(c.appendCall(encode(fr))); !control {
							<-c.gone // it ends upon the first
							break
						}
					}
				}
			}
			c.bye()
			if c.isCut() == control || control && !wrote {
				t.Errorf("%s, control %v: ended %v", at, control, c.isCut())
			}
		}
	}
	if a.rep.Late > 0 {
		t.Errorf("%d honest calls were not answered", a.rep.Late)
	}
	if _, with, other := tg.logged("unknown kind", ""); with == 0 || other != "" {
		t.Errorf("the server says: %v", tg.lines)
	}
}
