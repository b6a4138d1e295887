#!/usr/bin/env bash
# Runs each fuzz target of the library and of the command for the given time.
#
# Inputs are not minimized beyond one try: for programs of operations that takes
# longer than finding them.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}

for package in $(go list ./... ./cmd/...); do
	targets=$(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
	for target in $targets; do
		echo "--- $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$package"
	done
done
