// Package simulation runs whole connections under random histories: two managers,
// client and server, over a simulated link in a bubble of testing/synctest, where
// minutes of traffic take milliseconds.
//
// A seed decides everything but the order in which goroutines run that are ready at
// the same instant: the link and its faults, the options of both ends, what the
// streams send, how fast they receive, and who ends what and when. In a third of the
// histories all durations are multiples of 10 ms, so that much coincides.
//
//	go test ./internal/simulation                                     # 1,000 histories
//	go test ./internal/simulation -sim.seeds=10000 -sim.first=1000
//	go test ./internal/simulation -run TestHistories -sim.seed=17     # one, with a log
//
// What must hold, as far as a history allows it:
//
//   - What is received in a direction of a stream is what was sent, in order, whole,
//     and all of it at a regular end. Nothing is received of a message whose send
//     has failed.
//   - What a connection's windows have grown by is charged to its budget, to the
//     byte, whenever nothing moves; it never exceeds the budget by more than a
//     message; a peer never has more credit than the window; in the end nothing is
//     charged. What an end has received was consumed or dropped, and what one end
//     has sent the other has received, or it came late.
//   - No more handlers run than may, and none in the end.
//   - A blocked call returns within a second of virtual time after its stream, its
//     context or its connection has ended.
//   - Closing leaves no goroutine: the bubble would not end.
//   - A stream ends with the outcome that docs/streams.md has for what has ended
//     it, on both sides, and keeps to it. What nobody has ended ends regularly,
//     whatever happens to other streams.
//   - Without a fault of the link the connection lives, honest peers waste none of
//     the patience that Limits.IdleFrames stands for, and everybody gets on: a
//     history that takes ten minutes of virtual time is stuck.
package simulation_test
