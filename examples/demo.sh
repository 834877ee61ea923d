#!/usr/bin/env bash
# A whole cluster in one go: start, deploy, look, lose a node, heal, end.
. "$(dirname "$0")/lib.sh"
run_dir=$(mktemp -d)
export DHOW_CONTEXT_FILE="$run_dir/config.yaml"
log="$run_dir/server.log"
pids=()
cleanup() {
	code=$?
	[ $code -eq 0 ] || { echo "demo failed; the server's log:" >&2; tail -20 "$log" >&2 || true; }
	kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$run_dir"
	exit $code
}
trap cleanup EXIT INT TERM

step "a server, and three nodes that join it, each a process of its own"
dhow server --data-dir "$run_dir/server" --name server-1 --api 127.0.0.1:17400 --raft 127.0.0.1:17401 --gossip 127.0.0.1:17402 >"$log" 2>&1 &
pids+=($!)
try dhow wait server --timeout 20s
token=$(dhow token create --role join-node --ttl 1h --quiet)
for n in 1 2 3; do
	dhow agent --name "node-$n" --join 127.0.0.1:17400 --token "$token" --data-dir "$run_dir/node-$n" --address 127.0.0.1 --gossip 127.0.0.1:0 >"$run_dir/node-$n.log" 2>&1 &
	pids+=($!)
	node_pid[$n]=$!
done
try dhow wait nodes --count 3 --timeout 20s
try dhow node list

examples_deploy

step "what runs where"
try dhow get workloads
try dhow get instances -o wide
address=$(hello_address)
step "the handler answers"
try curl -sS "http://$address/hello?name=dhow"

victim=$(dhow get instances -l dhow/workload=ticker -o json | sed -nE 's/.*"node": *"node-([0-9])".*/\1/p' | head -1)
step "node-$victim dies (kill -9); its instance is replaced elsewhere"
disown "${node_pid[$victim]}"
kill -9 "${node_pid[$victim]}"
try dhow wait "node/node-$victim" --state lost --timeout 30s
try dhow wait workload/ticker workload/hello --timeout 30s
try dhow node list
try dhow get instances -o wide

step "done: everything is stopped and removed"
