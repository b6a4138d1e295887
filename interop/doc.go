// Package interop holds the tests that run braid against storj.io/drpc itself,
// which is called stock in them: as the peer of a connection, as the reference
// for what a program gets to see, and as the packages around a connection that
// are used with braid's types.
//
// There is nothing here to import. The tests are named as statements; the ids
// in their comments (M1, W4, ...) are those of the list of behaviours that they
// show.
package interop
