#!/usr/bin/env bash
# Builds what Compose reads its files with, without Compose, into .cache/compose-spec: compose.sh PYTHON.
# The first time takes half a minute; then it does nothing.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source="$here/compose_spec"
cache="${SURGEWATCH_CACHE:-$here/../../.cache}"
version="$(cat "$source/go.mod" "$source/go.sum" | sha256sum | cut -c1-16)"
folder="$cache/compose-spec"

if [[ "$(cat "$folder/.version" 2>/dev/null)" != "$version" ]]; then
  mkdir -p "$cache"
  go="$("$here/go.sh" "$1" "$(sed -n 's/^go //p' "$source/go.mod")")"
  echo "tools: building compose-spec with $("$go" env GOVERSION)"
  # Own folder first, then one rename: two runs at once never see half of it.
  fresh="$(mktemp -d "$cache/compose-spec.XXXXXX")"
  (
    cd "$source"
    CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false" "$go" build \
      -o "$fresh/compose-spec" github.com/compose-spec/compose-go/v2/cmd
  )
  echo "$version" > "$fresh/.version"
  chmod 755 "$fresh"
  rm -rf "$folder"
  mv -T "$fresh" "$folder"
fi
