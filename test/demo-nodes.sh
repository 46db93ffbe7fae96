#!/usr/bin/env bash
# demo-nodes.sh: three Berth servers that act as one: HAProxy in front of them, Redis
# between them, and the sample people of the demonstration. Everything is in
# berth-nodes/, on 127.0.0.1; Ctrl-C ends it.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/berth-nodes
front=2022 redis=6390
rm -rf "$dir"
mkdir -p "$dir"

pids=()
finish() {
	trap - EXIT INT TERM
	for file in "$dir"/node*/berth.pid; do # an upgrade has made another process
		if [ -e "$file" ]; then pids+=("$(cat "$file")"); fi
	done
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
}
trap finish EXIT
trap 'exit 0' INT TERM

start() { # a name, and a command that stays
	local name=$1
	shift
	"$@" >"$dir/$name.log" 2>&1 &
	pids+=($!)
}
ready() { # what, and a command that succeeds then
	for _ in $(seq 200); do
		if "${@:2}" >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	echo "$1 is not ready; see $dir/*.log" >&2
	exit 1
}
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }
for port in $front $redis 2031 2032 2033 9331 9332 9333; do
	if answers $port 2>/dev/null; then
		echo "port $port is taken" >&2
		exit 1
	fi
done

# The sample people, host keys and folders are the demonstration's; all nodes have the same.
./berth demo --listen 127.0.0.1:0 --admin 127.0.0.1:0 --dir "$dir/shared" >"$dir/demo.log" 2>&1 &
made=$!
pids+=($made)
ready "the demonstration" grep -q "Ctrl-C ends it" "$dir/demo.log"
kill $made
wait $made || true
pids=()

start redis redis-server --bind 127.0.0.1 --port $redis --save "" --dir "$dir"
config="global
 maxconn 2000
defaults
 mode tcp
 timeout connect 2s
 timeout client 1h
 timeout server 1h
 option redispatch
listen sftp
 bind 127.0.0.1:$front
 balance roundrobin
 option httpchk GET /readyz"
for i in 1 2 3; do
	node=$dir/node$i
	mkdir "$node"
	sed -e "s|^listen: .*|listen: [127.0.0.1:203$i]|" -e "s|^pid_file: .*|pid_file: $node/berth.pid|" \
		-e "s|^events: .*|events: {node: node$i, file: $node/events.jsonl}|" \
		-e "s|^admin: .*|admin: {listen: 127.0.0.1:933$i, socket: $node/berth.sock}|" "$dir/shared/berth.yaml" >"$node/berth.yaml"
	cat >>"$node/berth.yaml" <<-END
		ssh: {proxy_from: [127.0.0.0/8], drain_notice: 2s}
		state: {redis: {urls: ["redis://127.0.0.1:$redis"]}}
	END
	start node$i ./berth serve --config "$node/berth.yaml"
	config+="
 server node$i 127.0.0.1:203$i send-proxy-v2 check addr 127.0.0.1 port 933$i inter 500ms fall 2 rise 1"
done
echo "$config" >"$dir/haproxy.cfg"
for i in 1 2 3; do ready "node $i" ./berth status --config "$dir/node$i/berth.yaml"; done
start haproxy haproxy -db -f "$dir/haproxy.cfg"
ready haproxy answers $front
ready "the nodes" sh -c "./berth status --config '$dir/node1/berth.yaml' | grep -q '3, this one included'"

cat <<END
Three nodes behind HAProxy, on 127.0.0.1 port $front. Try, from another terminal:

  sftp -P $front -i berth-nodes/shared/keys/alice alice@127.0.0.1    each time on another node
  ./berth status --config berth-nodes/node1/berth.yaml             three nodes
  ./berth sessions --config berth-nodes/node1/berth.yaml           of all nodes; kick alice ends hers anywhere
  kill \$(cat berth-nodes/node2/berth.pid)                          a node ends; nobody notices
  ./berth upgrade --config berth-nodes/node3/berth.yaml            a new process takes over

Logs: berth-nodes/*.log   Events: berth-nodes/node*/events.jsonl   Ctrl-C ends it.
END
wait
