# Two commands are all that a newcomer needs: make demo, make test.
# Both set up what they need first, and are quick the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.surgewatch-installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-containers lint types bench bench-scaling detection chaos soak \
	docs screenshots lock audit clean

help:  ## Say what the commands do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with the locked packages and Surgewatch in it
	@echo "setup: ready: $(BIN)/surgewatch"

demo: $(STAMP)  ## Watch the story being caught live: no Docker, no Java, about a minute
	@$(BIN)/surgewatch demo

test: lint types  ## Everything: lint, types and all tests, on real Kafka and Redis
	@echo "== servers and tools for the tests (Kafka, Redis, Helm, Compose)"
	@tests/provision.sh
	@tests/tools/provision.sh $(BIN)/python
	@tests/tools/compose.sh $(BIN)/python
	@echo "== tests"
	@$(BIN)/python -m tests.run

test-containers: $(STAMP)  ## Image and compose file on an engine of their own (as root on Debian, minutes)
	@tests/provision.sh
	@tests/containers/provision.sh $(BIN)/python
	@$(BIN)/python -m pytest -o python_files='check_*.py' -o timeout=1800 -s --durations=5 tests/containers

lint: $(STAMP)  ## ruff: rules and format
	@echo "== ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || \
		{ echo "format differs: run $(BIN)/ruff format ."; exit 1; }

types: $(STAMP)  ## mypy --strict
	@echo "== mypy"
	@$(BIN)/mypy

bench: $(STAMP)  ## Measure speed and memory on real Kafka and Redis (minutes)
	@tests/provision.sh
	@tests/bench/peers/provision.sh $(BIN)/python
	@$(BIN)/python -m tests.bench --records-many 4000000 --latency-seconds 20 \
		--picture build/bench.png

bench-scaling: $(STAMP)  ## Measure cost as the work grows (13 minutes): make bench-scaling PARTS=chunks,redis
	@tests/provision.sh
	@$(BIN)/python -m tests.bench.scaling $(if $(PARTS),--parts $(PARTS)) \
		$(if $(DOC),--document $(DOC))

detection: $(STAMP)  ## The detector against its floor: make detection PARTS=nab,rates SIZE=0.1
	@$(BIN)/python -m tests.bench.detection $(if $(PARTS),--parts $(PARTS)) \
		$(if $(SIZE),--size $(SIZE))

chaos: $(STAMP)  ## Faults in rounds, each record accounted for: make chaos ROUNDS=50 SEED=1
	@tests/provision.sh
	@$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),10) $(if $(SEED),--seed $(SEED)) \
		$(if $(LATENESS),--lateness-seconds $(LATENESS))

soak: $(STAMP)  ## A worker near the machine's limit for hours, every count compared: make soak HOURS=1
	@tests/provision.sh
	@$(BIN)/python -m tests.soak $(if $(HOURS),--hours $(HOURS)) $(if $(SHARE),--share $(SHARE))

docs: $(STAMP)  ## Write from the code: metrics, settings, dashboards, the chart's copies
	@$(BIN)/python -m tests.docs

screenshots: $(STAMP)  ## Pictures for docs/alerting.md of a story that became alerts (8 minutes; needs chromium)
	@tests/provision.sh
	@tests/tools/alertmanager_pages.sh $(BIN)/python
	@$(BIN)/python -m tests.screenshots --out docs/pictures

lock: $(STAMP)  ## Choose the newest allowed packages and write requirements-dev.txt
	@echo "== locking (about a minute)"
	@# Naming one unsafe package un-names pip and setuptools, which the lock must hold.
	@CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --extra dev \
		--generate-hashes --strip-extras --unsafe-package surgewatch \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file requirements-dev.txt pyproject.toml
	@# Its closing warning is about Surgewatch itself, which setup installs from this folder.
	@sed -i '/^# WARNING: The following packages/,$$d' requirements-dev.txt
	@$(MAKE) --no-print-directory setup
	@$(BIN)/python -m deploy.runtime_lock

audit: $(STAMP)  ## SBOM of the lock in build/sbom.json, and its known vulnerabilities (75: not asked)
	@$(BIN)/python -m tests.audit

clean:  ## Remove .venv, caches and builds
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info

$(STAMP): requirements-dev.txt pyproject.toml
	@deploy/setup.sh $(PYTHON) $(VENV)
	@touch $@
