#!/usr/bin/env bash
# Runs each fuzz target of the library and of the command for the given time.
#
# Inputs are not minimized beyond one try: for programs of operations that takes
# longer than finding them.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}

# fuzz runs one target. It returns 75 where Go's fuzzer itself was late at the end of its
# time, which it reports as a failure without an input.
fuzz() {
	local out status=0
	out=$(mktemp)
	go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 1x "$1" 2>&1 | tee "$out" || status=$?
	if [ $status != 0 ] && grep -q '^ *context deadline exceeded$' "$out" && ! grep -q 'Failing input' "$out"; then
		status=75
	fi
	rm -f "$out"
	return $status
}

for package in $(go list ./... ./cmd/...); do
	targets=$(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
	for target in $targets; do
		echo "--- $package $target"
		status=0
		fuzz "$package" "$target" || status=$?
		if [ $status = 75 ]; then
			echo "--- $package $target, once more: the fuzzer was late"
			status=0
			fuzz "$package" "$target" || status=$?
		fi
		[ $status = 0 ] || exit $status
	done
done
