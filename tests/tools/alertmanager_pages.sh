#!/usr/bin/env bash
# Brings Alertmanager's pages, which Debian leaves out, into .cache/alertmanager-pages:
# alertmanager_pages.sh PYTHON. They are in its module for Go; then it does nothing.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source="$here/alertmanager_pages"
cache="${SURGEWATCH_CACHE:-$here/../../.cache}"
version="$(cat "$source/go.mod" "$source/go.sum" "$source/main.go" | sha256sum | cut -c1-16)"
folder="$cache/alertmanager-pages"

if [[ "$(cat "$folder/.version" 2>/dev/null)" != "$version" ]]; then
  mkdir -p "$cache"
  go="$("$here/go.sh" "$1" "$(sed -n 's/^go //p' "$source/go.mod")")"
  echo "tools: fetching Alertmanager's pages with $("$go" env GOVERSION)"
  # Own folder first, then one rename: two runs at once never see half of it.
  fresh="$(mktemp -d "$cache/alertmanager-pages.XXXXXX")"
  (
    cd "$source"
    CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false" "$go" run . "$fresh"
  )
  echo "$version" > "$fresh/.version"
  chmod 755 "$fresh"
  rm -rf "$folder"
  mv -T "$fresh" "$folder"
fi
