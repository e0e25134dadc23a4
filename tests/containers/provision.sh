#!/usr/bin/env bash
# Brings what `make test-containers` needs: Docker's engine, Compose v2, and a Debian to stand in for
# base images: provision.sh PYTHON. The first time takes minutes; then it does nothing.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="$1"
cache="${SURGEWATCH_CACHE:-$here/../../.cache}"

say() { printf 'containers: %s\n' "$*"; }
fail() { printf 'containers: %s\n' "$*" >&2; exit 1; }

missing_packages() {
  command -v dockerd >/dev/null || echo docker.io
  command -v iptables >/dev/null || echo iptables
  command -v debootstrap >/dev/null || echo debootstrap
}

# Only the programs are wanted: the tests start an engine of their own.
install_packages() {
  say "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  local units=(docker.service docker.socket containerd.service)
  if [[ -d /run/systemd/system ]]; then systemctl -q mask --runtime "${units[@]}"; fi
  RUNLEVEL=1 apt-get -qq -y --no-install-recommends install "$@" >/dev/null
  if [[ -d /run/systemd/system ]]; then
    systemctl -q unmask --runtime "${units[@]}"
    systemctl -q disable "${units[@]}"
  fi
}

build_compose() {
  local version folder="$cache/compose" fresh go
  version="$(cat "$here/compose/go.mod" "$here/compose/go.sum" | sha256sum | cut -c1-16)"
  [[ "$(cat "$folder/.version" 2>/dev/null)" == "$version" ]] && return
  go="$("$here/../tools/go.sh" "$python" "$(sed -n 's/^go //p' "$here/compose/go.mod")")"
  mkdir -p "$cache"
  say "building Compose with $("$go" env GOVERSION) (minutes, the first time)"
  fresh="$(mktemp -d "$cache/compose.XXXXXX")"
  (
    cd "$here/compose"
    CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false" "$go" build \
      -ldflags "-X github.com/docker/compose/v2/internal.Version=$(
        sed -n 's#.*docker/compose/v2 v\([0-9.]*\).*#\1#p' go.mod)" \
      -o "$fresh/docker-compose" github.com/docker/compose/v2/cmd
  )
  echo "$version" > "$fresh/.version"
  chmod 755 "$fresh"
  rm -rf "$folder"
  mv -T "$fresh" "$folder"
}

make_debian() {
  local tar="$cache/containers/debian-bookworm.tar" root
  [[ -e "$tar" ]] && return
  say "making a small Debian (minutes)"
  mkdir -p "$cache/containers"
  root="$(mktemp -d "$cache/containers/debian.XXXXXX")"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$root.log" ||
    fail "debootstrap failed: see $root.log"
  tar -C "$root" --exclude=./var/cache/apt/archives/*.deb --exclude=./var/lib/apt/lists/* \
    --exclude=./dev/* -c . > "$tar.fresh"
  rm -rf "$root" "$root.log"
  mv "$tar.fresh" "$tar"
}

mapfile -t packages < <(missing_packages)
if [[ "$(id -u)" -ne 0 ]] || ! command -v apt-get >/dev/null; then
  fail "this needs root on a Debian: it starts an engine, and makes a Debian for its images"
fi
if ((${#packages[@]})); then install_packages "${packages[@]}"; fi
build_compose
make_debian
say "ready: $(dockerd --version | cut -d, -f1), $("$cache/compose/docker-compose" version)"
