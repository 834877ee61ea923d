#!/usr/bin/env bash
# The API's rules: it lints, it breaks no client of the last landed state, and
# the committed Go is what the .proto files generate.
set -euo pipefail
buf() { go tool -modfile=internal/tools/buf/go.mod buf "$@"; }
buf lint
buf format --diff --exit-code >/dev/null || { echo "proto: run make generate" >&2; exit 1; }
if git rev-parse -q --verify HEAD~1 >/dev/null && git ls-tree HEAD~1 buf.yaml | grep -q .; then
	buf breaking --against '.git#ref=HEAD~1'
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
buf generate -o "$out"
while IFS= read -r f; do
	cmp -s "$f" "$out/$f" || { echo "$f is not what the .proto files generate: run make generate" >&2; exit 1; }
done < <(cd "$out" && find proto -name '*.go')
