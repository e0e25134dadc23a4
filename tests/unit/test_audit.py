"""The audit says what was found, and never that all is well when nothing could be asked."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import audit
from tests.audit import FOUND, LOCK, NOT_AUDITED, locked_in, verdict_of, write_sbom

FINE: dict[str, Any] = {"name": "fine", "version": "1", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "odd", "skip_reason": "not found"}
BAD: dict[str, Any] = {
    "name": "bad",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


@pytest.mark.parametrize(
    ("packages", "exit_code", "words"),
    [
        ([FINE, FINE], 0, "2 packages, no known vulnerability"),
        ([FINE, SKIPPED], NOT_AUDITED, "NOT AUDITED: 1 of 2 packages could not be asked about"),
        ([FINE], NOT_AUDITED, "NOT AUDITED: 1 of 2 packages"),
        ([], NOT_AUDITED, "NOT AUDITED: 2 of 2 packages"),
        ([FINE, BAD], FOUND, "bad 2: PYSEC-1, mended in 2.1"),
        ([BAD, SKIPPED], FOUND, "bad 2: PYSEC-2, not mended yet"),
    ],
)
def test_how_an_audit_ends(packages: list[dict[str, Any]], exit_code: int, words: str) -> None:
    verdict = verdict_of({"dependencies": packages}, 2)
    assert verdict.exit_code == exit_code
    assert words in "\n".join(verdict.lines)


def test_what_is_skipped_is_told_beside_what_is_found() -> None:
    lines = verdict_of({"dependencies": [BAD, SKIPPED]}, 2).lines
    assert "NOT AUDITED: 1 of 2" in lines[-1]


def test_a_service_that_cannot_be_reached_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(
            [], 1, "", "Traceback …\nConnectionError: no such host\n"
        )

    monkeypatch.setattr(subprocess, "run", unreachable)
    verdict = audit.ask(LOCK)
    assert verdict.exit_code == NOT_AUDITED
    assert "none of " in verdict.lines[0]
    assert verdict.lines[0].endswith("ConnectionError: no such host")


def test_the_bill_of_materials_names_every_locked_package_and_no_moment(tmp_path: Path) -> None:
    target, names = tmp_path / "sbom.json", locked_in(LOCK)
    assert len(names) > 50
    assert write_sbom(LOCK, target) == len(names)
    told = json.loads(target.read_text())
    assert "serialNumber" not in told  # so that the same lock gives the same bytes
    assert "timestamp" not in told["metadata"]
    assert told["bomFormat"] == "CycloneDX"
    assert told["metadata"]["component"]["name"] == "surgewatch"
    assert sorted(one["name"] for one in told["components"]) == sorted(names)
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(), re.MULTILINE))
    assert {one["name"]: one["version"] for one in told["components"]} == locked
