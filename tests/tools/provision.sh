#!/usr/bin/env bash
# Builds the programs in Go that the tests use, Helm and actionlint, into .cache/tools: provision.sh PYTHON.
# Their versions and hashes are in go.mod and go.sum. The first time takes minutes; then it does nothing.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="$1"
cache="${SURGEWATCH_CACHE:-$here/../../.cache}"
version="$(cat "$here/go.mod" "$here/go.sum" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-16)"
tools="$cache/tools"

say() { printf 'tools: %s\n' "$*"; }

if [[ "$(cat "$tools/.version" 2>/dev/null)" != "$version" ]]; then
  mkdir -p "$cache"
  go="$("$here/go.sh" "$python" "$(sed -n 's/^go //p' "$here/go.mod")")"
  say "building Helm and actionlint with $("$go" env GOVERSION) (minutes, the first time)"
  # Own folder first, then one rename: two runs at once never see half of them.
  fresh="$(mktemp -d "$cache/tools.XXXXXX")"
  (
    cd "$here"
    export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false -trimpath"
    # As Helm's own build does: the Kubernetes that it speaks for when it is asked without a cluster.
    minor="$("$go" list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2)"
    flags="-s -w"
    for package in chartutil lint/rules; do
      flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$minor"
    done
    "$go" build -ldflags="$flags" -o "$fresh/" tool
  )
  echo "$version" > "$fresh/.version"
  chmod 755 "$fresh"
  rm -rf "$tools"
  mv -T "$fresh" "$tools"
fi
say "ready: helm $("$tools/helm" version --template '{{.Version}}'), actionlint $("$tools/actionlint" -version | head -1)"
