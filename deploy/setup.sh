#!/usr/bin/env bash
# Makes the virtual environment: setup.sh PYTHON VENV. The Makefile calls it when the lock changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
asked="$1" venv="$2"

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python_of() {
  local python
  for python in "$asked" python3.13 python3.12 python3.11; do
    if new_enough "$python"; then echo "$python"; return; fi
  done
  fail "Surgewatch needs Python 3.11 or newer; $asked is $("$asked" --version 2>&1 | head -1)." \
    "Install one, then: make setup PYTHON=/path/to/python3.11"
}

# Debian splits venv from Python: without ensurepip there is no pip in a new environment.
have_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

bring_venv() {
  local package
  package="$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  if command -v apt-get >/dev/null && [[ "$(id -u)" -eq 0 ]]; then
    say "installing $package"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install "$package" >/dev/null
  else
    fail "$1 has no venv module: install it (Debian: sudo apt-get install $package), then run this again"
  fi
}

if ! [[ -x "$venv/bin/python" ]] || ! new_enough "$venv/bin/python"; then
  python="$(python_of)"
  have_venv "$python" || bring_venv "$python"
  say "making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi
say "installing the locked packages (about a minute the first time)"
pip() { "$venv/bin/python" -m pip -qq --disable-pip-version-check "$@"; }
# Wheels only: a source package would need a compiler, and run its own code while building.
pip install --require-hashes --only-binary :all: -r requirements-dev.txt
pip install --no-deps --no-build-isolation -e .
