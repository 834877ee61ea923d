# Shared by demo.sh and run.sh: say, and a cluster in a directory of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
export PATH="$root/bin:$PATH"

bold() { if [ -t 1 ]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi; }
step() { printf '\n'; bold "== $*"; }
# try prints a command as a user would type it, then runs it.
try() { bold "\$ $*"; "$@"; }

# examples_deploy deploys the three examples: a service, an HTTP handler and a
# job that counts the words of this repository's own documents.
examples_deploy() {
	step "a service: three replicas of a long-running wasm module"
	try dhow deploy ticker bin/guests/ticker.wasm --replicas 3 --spread --memory 32Mi --wait
	step "an HTTP handler: one run of the module for each request"
	try dhow deploy hello bin/guests/hello.wasm --http --wait
	step "a job with real input: the words of README.md and docs/*.md"
	cat README.md docs/*.md >"$run_dir/words.txt"
	try dhow deploy words bin/guests/wordcount.wasm --job --stdin "$run_dir/words.txt" --wait
	try dhow logs words
}

# hello_address prints host:port of a running instance of hello.
hello_address() {
	dhow get instances -l dhow/workload=hello -o json | sed -nE 's/.*"address": *"([^"]+)".*/\1/p' | head -1
}
