#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target for TIME, such as 30s, one after another.
# fuzz.sh list: prints the folder and the name of each target.
set -euo pipefail
cd "$(dirname "$0")/.."
for_each=${1:-30s}

# The tests of the patches belong to the patched SSH library, which is another module.
targets() {
	grep -roE --include='*_test.go' --exclude-dir=.patched '^func Fuzz[A-Za-z0-9_]*' . | sort |
		sed -E 's|^\./patches/testdata/|.patched/crypto/ssh/|; s|/[^/]*:func | |'
}

if [ "$for_each" = list ]; then
	targets
	exit
fi
targets | while read -r dir target; do
	echo "== $dir $target"
	(
		cd "$dir"
		case $dir in .patched/*) export GOFLAGS= ;; esac
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$for_each" -fuzzminimizetime 5x .
	)
done
