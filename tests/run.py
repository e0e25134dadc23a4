"""Runs every test: ``python -m tests.run``, which ``make test`` does. Not a test.

Tests that only calculate run on all cores. Those with servers come after them, two files at a
time, for they wait more than they calculate; last and one at a time those that are marked alone,
because they measure.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

PROCESSES_MAX: Final = 8
WITH_SERVERS: Final = ("tests/e2e", "tests/kafka")
# by name: files that take long are not left to the end
_FILES_AT_ONCE: Final = ("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")
RUNS: Final[Sequence[Sequence[str]]] = (
    (
        *("--numprocesses", "logical", "--maxprocesses", str(PROCESSES_MAX), "--dist", "worksteal"),
        *(f"--ignore={folder}" for folder in WITH_SERVERS),
    ),
    (*_FILES_AT_ONCE, "-m", "not alone", *WITH_SERVERS),
    ("-m", "alone", *WITH_SERVERS),
)
"""Options of each run of pytest. A new folder of tests is in the first."""


def run_all(runs: Sequence[Sequence[str]] = RUNS) -> int:
    """Run all of them, whatever fails before, and sum up in the last line; 0 when all passed."""
    began = time.monotonic()
    counts: Counter[str] = Counter()
    failed = False
    with tempfile.TemporaryDirectory(prefix="surgewatch-tests-") as folder:
        for number, options in enumerate(runs):
            told = Path(folder) / f"run-{number}.xml"
            command = [sys.executable, "-m", "pytest", f"--junit-xml={told}", *options]
            failed |= subprocess.call(command) != 0
            if told.exists():  # not when pytest could not begin
                counts += counts_of(told)
    seconds = time.monotonic() - began
    print(summary_of(counts, failed, seconds))  # noqa: T201 what a program of tests is for
    return int(failed)


def counts_of(told: Path) -> Counter[str]:
    """How many tests passed, failed and so on, from what pytest wrote of a run."""
    counts: Counter[str] = Counter()
    for suite in ET.parse(told).getroot().iter("testsuite"):
        wrong = {name: int(suite.attrib[name]) for name in ("failures", "errors", "skipped")}
        counts += Counter(
            passed=int(suite.attrib["tests"]) - sum(wrong.values()),
            failed=wrong["failures"],
            errors=wrong["errors"],
            skipped=wrong["skipped"],
        )
    return counts


def summary_of(counts: Counter[str], failed: bool, seconds: float) -> str:
    """One line about all runs.

    >>> summary_of(Counter(passed=1712, skipped=2), False, 75.4)
    'tests: 1712 passed, 2 skipped in 0:01:15'
    >>> summary_of(Counter(), True, 1.0)
    'tests: FAILED: none ran in 0:00:01'
    """
    names = ("failed", "errors", "passed", "skipped")
    told = ", ".join(f"{counts[name]} {name}" for name in names if counts[name]) or "none ran"
    return f"tests: {'FAILED: ' if failed else ''}{told} in {timedelta(seconds=int(seconds))}"


if __name__ == "__main__":
    try:
        sys.exit(run_all())
    except KeyboardInterrupt:
        sys.exit(130)
