//go:build race

package main

// raceEnabled tells that the program is to be built with the race detector,
// because its tests are.
const raceEnabled = true
