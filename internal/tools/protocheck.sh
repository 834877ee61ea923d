#!/usr/bin/env bash
# The API's rules: it lints, it breaks no client of the release whose image is
# in proto/released.binpb, and the committed Go is what the .proto files
# generate.
set -euo pipefail
buf() { go tool -modfile=internal/tools/buf/go.mod buf "$@"; }
buf lint
buf format --diff --exit-code >/dev/null || { echo "proto: run make generate" >&2; exit 1; }
buf breaking --against proto/released.binpb
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
buf generate -o "$out"
while IFS= read -r f; do
	cmp -s "$f" "$out/$f" || { echo "$f is not what the .proto files generate: run make generate" >&2; exit 1; }
done < <(cd "$out" && find proto -name '*.go')
