#!/bin/sh
# Regenerates the code of the examples' .proto files, with the plugins at the
# versions that the tools module pins. Needs nothing but Go.
set -eu
cd "$(dirname "$0")"

# The tools are not part of the workspace, so that what they depend on has no
# say in the versions that the library is built with.
GOWORK=off go build -C ../tools -o ../bin/ \
	braid/tools/genproto \
	google.golang.org/protobuf/cmd/protoc-gen-go \
	storj.io/drpc/cmd/protoc-gen-go-drpc

../bin/genproto \
	-plugin '../bin/protoc-gen-go paths=source_relative' \
	-plugin '../bin/protoc-gen-go-drpc paths=source_relative' \
	sensors/sensorspb/sensors.proto
