#!/bin/sh
# man.sh FOLDER: writes the man pages there, from the commands and from docs.
set -e
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
"${GO:-go}" test -count=1 -ldflags "-X=berth/cmd/berth.release=$VERSION" ./cmd/berth -run '^TestManPages$' -args -man="$folder" >/dev/null
