package drpcmux

import (
	"context"
	"strings"
	"testing"

	"storj.io/drpc"

	"braid/internal/drpctest"
)

// desc is a description with one method of this shape.
type desc struct{ expr any }

func (desc) NumMethods() int { return 1 }
func (d desc) Method(int) (string, drpc.Encoding, drpc.Receiver, any, bool) {
	return "/rpc", drpctest.Enc{}, nil, d.expr, d.expr != false
}

type shapes struct{}

func (shapes) unary(context.Context, *drpctest.Msg) (*drpctest.Msg, error) { return nil, nil }
func (shapes) down(*drpctest.Msg, drpc.Stream) error                       { return nil }
func (shapes) up(drpc.Stream) error                                        { return nil }
func (shapes) value(drpctest.Msg, drpc.Stream) error                       { return nil }
func (shapes) noStream(string) error                                       { return nil }
func (shapes) nothing()                                                    {}

func TestRegisterTakesTheShapesThatAreGenerated(t *testing.T) {
	for name, c := range map[string]struct {
		expr any
		want string // in the error
	}{
		"unary":           {shapes.unary, ""},
		"server stream":   {shapes.down, ""},
		"client stream":   {shapes.up, ""},
		"no pointer":      {shapes.value, "not a pointer"},
		"no stream":       {shapes.noStream, "not a stream"},
		"another shape":   {shapes.nothing, "unknown kind of method"},
		"not a function":  {7, "not a method expression"},
		"nil":             {nil, "not a method expression"},
		"no such method":  {false, "has no method 0 of 1"},
		"bound, not expr": {shapes{}.up, "unknown kind of method"},
	} {
		t.Run(name, func(t *testing.T) {
			m := New()
			err := m.Register(shapes{}, desc{c.expr})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if handle, _ := m.Lookup("/rpc"); (handle != nil) != (c.want == "") {
				t.Error("what failed is registered, or what did not is not")
			}
		})
	}
}

func TestAnUnknownNameIsAProtocolError(t *testing.T) {
	m := drpctest.Register(t, New(), &drpctest.Service{})
	if err := m.HandleRPC(nil, "/nothing"); !drpc.ProtocolError.Has(err) || !strings.Contains(err.Error(), `"/nothing"`) {
		t.Errorf("got %v", err)
	}
	if handle, _ := m.Lookup("/nothing"); handle != nil {
		t.Error("Lookup has a handler for it")
	}
}

func TestLookupTellsUnaryFromOthers(t *testing.T) {
	m := drpctest.Register(t, New(), &drpctest.Service{})
	for rpc, want := range map[string]bool{drpctest.Unary: true, drpctest.Bidi: false} {
		if handle, unary := m.Lookup(rpc); handle == nil || unary != want {
			t.Errorf("%s: unary is %v", rpc, unary)
		}
	}
}
