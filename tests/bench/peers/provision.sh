#!/usr/bin/env bash
# Brings the benchmark's peers into the cache: Python ones in environments of their own (their
# packages conflict with ours), Kafka Streams compiled against its jars. One that cannot be brought
# leaves its reason in NAME.reason; the benchmark skips it and tells it. Never used by the tests.
set -uo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${SURGEWATCH_CACHE:-$here/../../../.cache}/peers"
python="${1:-python3}"
mkdir -p "$cache"

say() { printf 'peers: %s\n' "$*"; }

# The folder's name holds a sum of what makes it: a changed pin or source is brought anew.
folder_of() { printf '%s/%s-%s\n' "$cache" "$1" "$(cat "${@:2}" | cksum | cut -d' ' -f1)"; }

# bring NAME FOLDER FUNCTION: run FUNCTION FOLDER unless it was brought; keep the reason if it fails.
bring() {
  local name="$1" folder="$2" log="$cache/$1.log"
  if ! [[ -e "$folder/.complete" ]]; then
    say "bringing $name"
    rm -rf "$cache/$name" "$cache/$name"-[0-9]*
    mkdir -p "$folder"
    if ! "$3" "$folder" "$name" >"$log" 2>&1; then
      # The line that names the error, else the last one.
      { grep -im1 error "$log" || tail -n 1 "$log"; } | cut -c1-200 >"$cache/$name.reason"
      say "$name: $(cat "$cache/$name.reason")"
      rm -rf "$folder"
      return
    fi
    touch "$folder/.complete"
  fi
  rm -f "$cache/$name.reason"
  ln -sfn "$(basename "$folder")" "$cache/$name"
}

make_environment() {
  "$python" -m venv "$1" || return
  # Wheels only: a source package would run its own code while building.
  "$1/bin/python" -m pip -qq --disable-pip-version-check install --only-binary :all: \
    -r "$here/$2.txt"
}

# The compiler is needed by nothing else; Kafka itself runs on the runtime alone.
have() {
  command -v "$1" >/dev/null && return
  if [[ "$(id -u)" -eq 0 ]] && command -v apt-get >/dev/null; then
    apt-get -qq update &&
      DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$2" >/dev/null
  fi
  command -v "$1" >/dev/null || { echo "no $1 on this machine"; return 1; }
}

compile_streams() {
  have javac openjdk-17-jdk-headless || return
  have mvn maven || return
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$1/libs" || return
  javac -cp "$1/libs/*" -d "$1/classes" "$here/CountFollows.java"
}

for name in bytewax quixstreams pathway; do
  bring "$name" "$(folder_of "$name" "$here/$name.txt")" make_environment
done
bring kafka-streams \
  "$(folder_of kafka-streams "$here/pom.xml" "$here/CountFollows.java")" compile_streams
say "ready"
