#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: compilers for guests
# written in C, Rust and the text format; or the packages named as arguments.
set -euo pipefail
packages=("$@")
[ $# -gt 0 ] || packages=(clang lld wasi-libc libclang-rt-14-dev-wasm32 rustc libstd-rust-dev-wasm32 wabt)
missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
	echo "make deps: this is not Debian or Ubuntu; install the equivalents of: ${missing[*]}" >&2
	exit 1
fi
echo "make deps: installing ${missing[*]}"
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
