#!/usr/bin/env bash
# A cluster of three nodes with the examples on it, until Ctrl-C.
. "$(dirname "$0")/lib.sh"
run_dir="$root/.run"
mkdir -p "$run_dir"
dhow up --nodes 3 --data-dir "$run_dir/data" &
up=$!
trap 'kill -INT $up 2>/dev/null || true; wait $up 2>/dev/null || true' EXIT
dhow wait server --timeout 20s
dhow wait nodes --count 3 --timeout 20s
examples_deploy
step "it keeps running; in another terminal (bin/ in your PATH), try:"
cat <<EOF
  dhow get instances -A -o wide
  dhow logs -f ticker --all
  curl http://$(hello_address)/hello?name=you
  dhow scale ticker 10
  dhow describe workload ticker
  dhow node drain node-1 && dhow get instances -w
Ctrl-C ends the cluster; \`make run\` finds its state again.
EOF
trap 'kill -INT $up 2>/dev/null || true' INT
wait $up || true
