#!/usr/bin/env bash
# clients.sh [CLIENT...]: programs and libraries that people have, by key and by
# password where they can: put, list, get and compare files of 0, 1, 33 thousand
# and 5 million bytes, then what the client is known for. Each client is a
# function of clients/*.sh; it works in $D on the disk, which it knows as $R, and
# gets into $O.
. "$(dirname "$0")/lib.sh"

# What is put: $S.
S=$work/source
mkdir -p "$S/tree/a/b" "$S/tree/c"
cd "$S"
: >zero
printf x >one
head -c 33333 /dev/urandom >mid
head -c 5000000 /dev/urandom >big
cp mid "with space"
cp one ümlaut-日本.txt
for i in 1 2 3; do
	cp mid tree/a/f$i
	cp one tree/a/b/g$i
done
: >tree/c/empty

# there FILE...: the server has the files as they were put. back: as we got them.
there() { for f in "$@"; do cmp "$S/$f" "$D/$f" || return; done; }
back() { for f in "$@"; do cmp "$S/$f" "$O/$f" || return; done; }

# kept_time FILE: the time of last change is what it was.
kept_time() { [ "$(stat -c %Y "$S/$1")" = "$(stat -c %Y "$D/$1")" ]; }

clients=()
for file in "$here"/clients/*.sh; do
	. "$file"
done
[ $# -eq 0 ] || clients=("$@")

# A client's cases bear its name.
eval "named_$(declare -f ok)"
ok() { named_ok "$client: $1" "${@:2}"; }

for client in "${clients[@]}"; do
	D=$disk/$client R=$remote/$client O=$work/got-$client
	mkdir "$D" "$O"
	${client//-/_}
done
summary
