// Package drpcstream is one stream of a connection: its state, the queue of
// messages that have arrived for it, and what may be sent on it.
//
// Streams are made by braid's drpcmanager, which owns the connection; programs
// meet them as drpc.Stream. docs/streams.md has the states and the table of
// what each end of a stream gives to senders and receivers.
package drpcstream
