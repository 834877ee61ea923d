#!/usr/bin/env bash
# Runs every fuzz test for a while: fuzz.sh 20s
set -euo pipefail
while IFS=: read -r file _ line; do
	name=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]+).*/\1/' <<<"$line")
	echo "== $name in $(dirname "$file")"
	go test "./$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "${1:-20s}" -fuzzminimizetime 10x
done < <(git grep -n '^func Fuzz' -- '*_test.go')
