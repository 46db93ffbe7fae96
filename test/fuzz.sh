#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target for TIME, such as 30s, one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
for_each=${1:-30s}
grep -rlE --include='*_test.go' --exclude-dir=.patched '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -d' ' -f2); do
		echo "== $dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$for_each" -fuzzminimizetime 5x "$dir"
	done
done
