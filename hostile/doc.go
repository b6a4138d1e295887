// Package hostile holds the tests that play a peer who means harm: raw bytes over
// TCP to a real server, which serves honest clients on other connections at the
// same time.
//
// There is nothing here to import. The attacker is a process of its own, the test
// binary started again, so that what it costs to attack is not taken from the
// server's scheduler and heap. docs/security.md has what came of each attack, as
// printed by
//
//	go test ./hostile -count=1 -v
package hostile
