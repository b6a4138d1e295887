// Package sensorspb holds the messages and the service of sensors.proto, with
// the code that protoc-gen-go and storj.io/drpc's own protoc-gen-go-drpc make
// of them: braid has no generator of its own, and needs none.
package sensorspb
