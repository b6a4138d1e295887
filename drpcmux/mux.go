// Package drpcmux dispatches calls to the services that were registered for
// them. The API is that of storj.io/drpc/drpcmux, and it depends on nothing
// but storj.io/drpc: a Mux also serves drpchttp or stock's drpcserver.
package drpcmux

import (
	"reflect"

	"github.com/zeebo/errs"

	"storj.io/drpc"
)

// Mux is a drpc.Handler for the services registered with it. Register must not
// be called while calls are being handled; everything else may be concurrent.
type Mux struct {
	rpcs map[string]*method
}

var (
	_ drpc.Mux     = (*Mux)(nil)
	_ drpc.Handler = (*Mux)(nil)
)

// method is one registered rpc.
type method struct {
	srv      any
	enc      drpc.Encoding
	receiver drpc.Receiver
	in       reflect.Type // of the request, without its pointer; nil where the client streams
	unary    bool         // it takes one request and gives one answer, and no stream

	handle func(drpc.Stream) error // handles a call
}

// direct is a stream that knows more of unary calls than others.
type direct interface {
	// Self returns the stream itself, and not what may be wrapped around it.
	Self() drpc.Stream

	// Lend returns what may be kept of it when HandleRPC has returned.
	Lend() drpc.Stream

	// Reply is MsgSend for the last message.
	Reply(msg drpc.Message, enc drpc.Encoding) error
}

// New returns an empty Mux.
func New() *Mux { return &Mux{rpcs: make(map[string]*method)} }

var (
	streamType  = reflect.TypeFor[drpc.Stream]()
	messageType = reflect.TypeFor[drpc.Message]()
)

// Register makes the Mux dispatch the rpcs of the description to srv. A name
// that is registered already is replaced. The error says which method of the
// description cannot be served; nothing is registered then.
func (m *Mux) Register(srv any, desc drpc.Description) error {
	methods := make(map[string]*method, desc.NumMethods())
	for i := range desc.NumMethods() {
		rpc, enc, receiver, expr, ok := desc.Method(i)
		if !ok {
			return errs.New("description has no method %d of %d", i, desc.NumMethods())
		}
		in, err := requestType(expr)
		if err != nil {
			return errs.New("rpc %q: %v", rpc, err)
		}
		unary := in != nil && reflect.TypeOf(expr).NumOut() == 2
		m := &method{srv: srv, enc: enc, receiver: receiver, in: in, unary: unary}
		m.handle = m.handler()
		methods[rpc] = m
	}
	for rpc, method := range methods {
		m.rpcs[rpc] = method
	}
	return nil
}

// requestType tells from a method expression of the generated server interface
// what the handler takes before it is called. Its shapes are, by arguments after
// the receiver and by results:
//
//	unary          (ctx, *In) (*Out, error)
//	server stream  (*In, Stream) error
//	client stream  (Stream) error
//	both           (Stream) error
func requestType(expr any) (reflect.Type, error) {
	t := reflect.TypeOf(expr)
	if t == nil || t.Kind() != reflect.Func {
		return nil, errs.New("not a method expression: %v", t)
	}
	var in reflect.Type
	switch {
	case t.NumIn() == 3 && t.NumOut() == 2:
		in = t.In(2)
	case t.NumIn() == 3 && t.NumOut() == 1:
		in = t.In(1)
	case t.NumIn() == 2 && t.NumOut() == 1:
		if !t.In(1).Implements(streamType) {
			return nil, errs.New("argument is not a stream: %v", t.In(1))
		}
		return nil, nil
	default:
		return nil, errs.New("unknown kind of method: %v", t)
	}
	if in.Kind() != reflect.Pointer || !in.Implements(messageType) {
		return nil, errs.New("request is not a pointer to a message: %v", in)
	}
	return in.Elem(), nil
}

// Lookup returns what HandleRPC does for an rpc, and nil for a name that is not registered.
// unary says that it takes one request and gives one answer: then its handler is given no
// stream, and none is kept when handle has returned.
//
// braid's server calls it in place of HandleRPC, and before it counts a call, so that
// neither handlers nor counters see a name of the client's invention.
func (m *Mux) Lookup(rpc string) (handle func(drpc.Stream) error, unary bool) {
	method := m.rpcs[rpc]
	if method == nil {
		return nil, false
	}
	return method.handle, method.unary
}

// Self returns the Mux. A type that embeds it has this method, too; by its result
// it is told from the Mux itself, and the server calls its HandleRPC. One that has a Self of
// its own says that its Lookup does what its HandleRPC does.
func (m *Mux) Self() drpc.Handler { return m }

// HandleRPC handles one call. For a name that is not registered the error is a
// drpc.ProtocolError.
func (m *Mux) HandleRPC(stream drpc.Stream, rpc string) error {
	method := m.rpcs[rpc]
	if method == nil {
		return drpc.ProtocolError.New("unknown rpc: %q", rpc)
	}
	return method.handle(stream)
}

// handler returns what handles a call. A handler whose client streams may wait for long in
// there, and there may be many: little else should lie on its stack, so no method is called
// on the way.
func (m *method) handler() func(drpc.Stream) error {
	if m.in != nil {
		return m.handleRequest
	}
	return func(stream drpc.Stream) error {
		out, err := m.receiver(m.srv, stream.Context(), stream, stream)
		if err != nil {
			return errs.Wrap(err)
		}
		return m.answer(stream, out)
	}
}

// handleRequest handles a call that begins with the only message of the client.
func (m *method) handleRequest(stream drpc.Stream) error {
	in := reflect.New(m.in).Interface()
	if err := stream.MsgRecv(in, m.enc); err != nil {
		return errs.Wrap(err)
	}
	s, ok := stream.(direct)
	ok = ok && m.unary && s.Self() == stream
	given := stream
	if ok {
		given = s.Lend() // code that is generated uses its context only
	}
	out, err := m.receiver(m.srv, given.Context(), in, given)
	switch {
	case err != nil:
		return errs.Wrap(err)
	case ok && !isNil(out):
		return s.Reply(out, m.enc)
	default:
		return m.answer(stream, out)
	}
}

// answer sends what a handler has returned, or the end if that is nothing.
func (m *method) answer(stream drpc.Stream, out drpc.Message) error {
	if isNil(out) {
		return stream.CloseSend()
	}
	return stream.MsgSend(out, m.enc)
}

// isNil reports whether a handler returned no answer: generated code wraps a nil
// pointer into the interface.
func isNil(out drpc.Message) bool {
	v := reflect.ValueOf(out)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
