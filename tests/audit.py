"""Audits what the lock names: ``python -m tests.audit``, which ``make audit`` does. Not a test.

Writes the bill of materials (CycloneDX) to ``build/sbom.json`` and asks for known vulnerabilities
of every locked package. pip-audit ends well also when it could ask about none of them: here that
is an end of its own, since "nothing found" must mean that it was looked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements-dev.txt"
SBOM: Final = ROOT / "build/sbom.json"
FOUND: Final = 1
NOT_AUDITED: Final = 75
"""What sysexits.h calls a temporary failure: ask again where the service can be reached."""
_SECONDS_MAX: Final = 600
_NAMES_SHOWN: Final = 5


class Verdict(NamedTuple):
    """How an audit ended: exit code and lines."""

    exit_code: int
    lines: tuple[str, ...]


def verdict_of(told: Mapping[str, Any], locked: int) -> Verdict:
    """What pip-audit's JSON comes to, where ``locked`` packages were to be looked at.

    >>> verdict_of({"dependencies": [{"name": "a", "version": "1", "vulns": []}]}, 1).lines
    ('audit: 1 packages, no known vulnerability',)
    >>> verdict_of({"dependencies": [{"name": "a", "skip_reason": "not found"}]}, 1).exit_code
    75
    """
    packages = told.get("dependencies", [])
    vulnerable = [one for one in packages if one.get("vulns")]
    lines = [
        f"audit: {one['name']} {one['version']}: {vuln['id']}, {_mended(vuln)}"
        for one in vulnerable
        for vuln in one["vulns"]
    ]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    missing = max(0, locked - len(packages))
    if skipped or missing:
        some = ", ".join(skipped[:_NAMES_SHOWN]) + (" …" if len(skipped) > _NAMES_SHOWN else "")
        lines.append(
            f"audit: NOT AUDITED: {len(skipped) + missing} of {locked} packages could not be asked "
            f"about ({some or 'not told'}): the vulnerability service does not know them, or "
            "cannot be reached from here"
        )
    if vulnerable:
        return Verdict(FOUND, tuple(lines))
    if lines:
        return Verdict(NOT_AUDITED, tuple(lines))
    return Verdict(0, (f"audit: {locked} packages, no known vulnerability",))


def _mended(vuln: Mapping[str, Any]) -> str:
    versions = ", ".join(vuln.get("fix_versions", ()))
    return f"mended in {versions}" if versions else "not mended yet"


def locked_in(lock: Path) -> list[str]:
    """Names of the locked packages."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if "==" in line and line[0].isalnum()]


def ask(lock: Path) -> Verdict:
    """Ask the service about every package of a lock."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"),
        *("--require-hashes", "--disable-pip", "--requirement", str(lock)),
    ]
    locked = len(locked_in(lock))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False
        )
        return verdict_of(json.loads(done.stdout), locked)
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_SECONDS_MAX} s"
    except ValueError:  # it told nothing but why it ended
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    line = f"audit: NOT AUDITED: none of {locked} packages could be asked about: {reason}"
    return Verdict(NOT_AUDITED, (line,))


def write_sbom(lock: Path, target: Path) -> int:
    """Write the bill of materials, checked against CycloneDX' schema; how many parts it names.

    The same lock gives the same bytes. Raises CalledProcessError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", str(lock)),
            *("--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--validate"),
            *("--output-format", "JSON", "--output-file", str(target)),
        ],
        check=True,
        timeout=_SECONDS_MAX,
    )
    return len(json.loads(target.read_text(encoding="utf-8"))["components"])


def main() -> int:
    """Do both; the exit code is the audit's."""
    parts = write_sbom(LOCK, SBOM)
    verdict = ask(LOCK)
    for line in (f"audit: {SBOM.relative_to(ROOT)} names {parts} packages", *verdict.lines):
        print(line)  # noqa: T201 what a program is for
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
