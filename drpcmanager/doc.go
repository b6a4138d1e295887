// Package drpcmanager runs one connection: it reads the transport, gives each
// frame to its stream, and knows what the peer can do.
//
// A [Manager] has two goroutines, the reader and the writer's drain. It starts
// none for a stream. Programs use it through drpcconn and drpcserver and see its
// [Options] and its errors.
package drpcmanager
