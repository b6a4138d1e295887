package interop_test

import (
	"bytes"
	"errors"
	"testing"

	"storj.io/drpc"

	"braid/internal/drpctest"
)

// appending is an encoding that must be used by MarshalAppend, as drpcenc does
// where an encoding has it.
type appending struct{ drpctest.Enc }

func (appending) Marshal(drpc.Message) ([]byte, error) { panic("Marshal was used") }

// plain is an encoding without MarshalAppend. It returns the same storage each
// time, which nobody may keep.
type plain struct{ buf *bytes.Buffer }

func (p plain) Marshal(msg drpc.Message) ([]byte, error) {
	p.buf.Reset()
	p.buf.Write(msg.(*drpctest.Msg).Data)
	return p.buf.Bytes(), nil
}

func (plain) Unmarshal(buf []byte, msg drpc.Message) error {
	return drpctest.Enc{}.Unmarshal(buf, msg)
}

// TestEncodingIsUsedAsStockUsesIt: appending where it can, and without keeping
// what Marshal returns where it cannot.
func TestEncodingIsUsedAsStockUsesIt(t *testing.T) {
	encodings := map[string]func() drpc.Encoding{
		"appending": func() drpc.Encoding { return appending{} },
		"plain":     func() drpc.Encoding { return plain{new(bytes.Buffer)} },
	}
	for name, enc := range encodings {
		t.Run(name, func(t *testing.T) {
			forEachPair(t, func(t *testing.T, p pair) {
				service := &drpctest.Service{BidiFn: func(stream drpc.Stream) error {
					enc := enc()
					for {
						var in drpctest.Msg
						if err := stream.MsgRecv(&in, enc); err != nil {
							return nil //nolint:nilerr // the end of the test
						}
						if err := stream.MsgSend(&in, enc); err != nil {
							return err
						}
					}
				}}
				c, enc := p.connect(t, service, options{}), enc()
				for _, text := range []string{"one", "", large, "two"} {
					var out drpctest.Msg
					if err := c.Invoke(bg, drpctest.Unary, enc, drpctest.Text(text), &out); err != nil || out.String() != text {
						t.Errorf("unary: got %s", answer(out.String(), err))
					}
				}
				stream := mustStream(t, bg, c, drpctest.Bidi)
				texts := []string{"one", "", large, "two"}
				sent := later(func() error {
					for _, text := range texts {
						if err := stream.MsgSend(drpctest.Text(text), enc); err != nil {
							return err
						}
					}
					return nil
				})
				for _, text := range texts {
					var out drpctest.Msg
					if err := stream.MsgRecv(&out, drpctest.Enc{}); err != nil || out.String() != text {
						t.Errorf("stream: got %s", answer(out.String(), err))
					}
				}
				must(t, await(t, sent, "the sends"))
			})
		})
	}
}

// TestRequestThatCannotBeEncodedHarmsNobody: stock has opened its stream by then
// and closes it without an Invoke, which stops a stock server's reader for good
// (W6). braid encodes first.
func TestRequestThatCannotBeEncodedHarmsNobody(t *testing.T) {
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			c := pair{braid, s}.connect(t, &drpctest.Service{}, options{})
			cannot := errors.New("cannot encode")
			for range 3 {
				var out drpctest.Msg
				err := c.Invoke(bg, drpctest.Unary, brokenEnc{cannot}, drpctest.Text("x"), &out)
				if !errors.Is(err, cannot) {
					t.Errorf("got %v", err)
				}
				echo(t, c, "next")
			}
		})
	}
}
