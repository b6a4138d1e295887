// Package drpcsignal holds the set-once primitives the rest of braid is built
// on: [Signal], an error that is set at most once and can be waited for, [Event],
// the same without an error, and [Chan], a channel that is allocated only when
// somebody needs it.
//
// The API of Signal and Chan is that of storj.io/drpc/drpcsignal. The zero value of each type is
// ready to use and must not be copied after first use.
package drpcsignal
