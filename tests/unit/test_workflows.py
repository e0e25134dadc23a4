"""The workflows do what .ci/run does, with no more rights than they need."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.conftest import saying_what_is_missing
from tests.helm import tool_of

ROOT: Final = Path(__file__).parents[2]
WORKFLOWS: Final = sorted((ROOT / ".github/workflows").glob("*.yml"))
CHECK: Final = ROOT / ".ci/check-release"
WRITES: Final = {
    ("release.yml", "publish", "id-token"),
    ("release.yml", "image", "packages"),
    ("release.yml", "chart", "packages"),
    ("release.yml", "announce", "contents"),
}
"""The only rights to change something."""


def workflow(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    assert isinstance(loaded, dict)
    return loaded


def triggers(name: str) -> dict[str, Any]:
    loaded: Any = workflow(name)
    found: dict[str, Any] = loaded[True]  # YAML 1.1 reads `on` so
    return found


def actionlint(*paths: Path) -> str:
    with saying_what_is_missing():
        program = tool_of("actionlint")
    # its other checkers are not on every machine, and would change what it finds
    command = [program, "-shellcheck=", "-pyflakes=", "-no-color", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_there_is_one_for_changes_one_for_releases_and_one_for_known_weaknesses() -> None:
    assert [path.name for path in WORKFLOWS] == ["audit.yml", "ci.yml", "release.yml"]


def test_actionlint_finds_nothing() -> None:
    assert actionlint(*WORKFLOWS) == ""


def test_actionlint_sees_a_fault(tmp_path: Path) -> None:
    text = (
        (ROOT / ".github/workflows/ci.yml")
        .read_text()
        .replace("matrix.python }}", "matrix.pyton }}", 1)
    )
    path = tmp_path / "ci.yml"
    path.write_text(text)
    assert "pyton" in actionlint(path)


def test_yamllint_finds_nothing() -> None:
    rules = {
        "line-length": {"max": 170},
        "truthy": {"check-keys": False},
        "document-start": "disable",
        "comments": {"min-spaces-from-content": 1},
        "braces": {"max-spaces-inside": 1},
    }
    config = json.dumps({"extends": "default", "rules": rules})
    places = [*map(str, WORKFLOWS), ".github/dependabot.yml", "deploy/helm/surgewatch/Chart.yaml"]
    places += ["deploy/helm/surgewatch/values.yaml"]
    command = [sys.executable, "-m", "yamllint", "--strict", "-d", config, *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_each_change_runs_what_ci_runs_on_every_python_that_is_promised() -> None:
    assert {"push", "pull_request"} <= triggers("ci.yml").keys()
    (job,) = workflow("ci.yml")["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    first = re.search(r'requires-python = ">=(.+)"', (ROOT / "pyproject.toml").read_text())
    assert first is not None
    pythons = job["strategy"]["matrix"]["python"]
    assert pythons[0] == first[1]
    assert all(f"python{one}" in (ROOT / "deploy/setup.sh").read_text() for one in pythons)


def test_the_lock_is_audited_every_week_and_when_it_changes() -> None:
    found = triggers("audit.yml")
    assert len(found["schedule"]) == 1
    assert found["schedule"][0]["cron"].split()[2:4] == ["*", "*"], "of every month"
    for event in ("push", "pull_request"):
        assert {"requirements-dev.txt", "pyproject.toml"} <= set(found[event]["paths"])
    (job,) = workflow("audit.yml")["jobs"].values()
    assert job["steps"][-1]["run"] == "make setup audit"


def test_a_release_is_tested_and_checked_before_anything_leaves() -> None:
    jobs = workflow("release.yml")["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["build"]["needs"] == "test"
    assert any(".ci/check-release" in step.get("run", "") for step in jobs["build"]["steps"])
    for name in ("publish", "image", "chart", "announce"):
        needs = jobs[name]["needs"]
        assert "build" in ([needs] if isinstance(needs, str) else needs), name
    assert {"image", "chart"} <= set(jobs["publish"]["needs"]), "what it takes it has for good"
    given = [step.get("env", {}).get("REGISTRY") for step in jobs["build"]["steps"]]
    assert jobs["chart"]["steps"][-1]["env"]["REGISTRY"] in given, "looked at before that"
    assert "workflow_dispatch" not in triggers("release.yml"), "a tag is what a release is made of"


def test_the_image_has_provenance_and_a_bill_of_materials() -> None:
    steps = workflow("release.yml")["jobs"]["image"]["steps"]
    (build,) = [one for one in steps if "build-push-action" in one.get("uses", "")]
    assert (build["with"]["provenance"], build["with"]["sbom"]) == ("mode=max", True)
    dockerfile = (ROOT / build["with"]["file"]).read_text()
    given = re.findall(r"^(\w+)=", build["with"]["build-args"], re.MULTILINE)
    assert set(given) <= set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_rights_are_as_few_as_can_be(path: Path) -> None:
    loaded = workflow(path.name)
    assert loaded["permissions"] == {"contents": "read"}
    writes = {
        (path.name, name, right)
        for name, job in loaded["jobs"].items()
        for right, level in job.get("permissions", {}).items()
        if level == "write"
    }
    assert writes == {one for one in WRITES if one[0] == path.name}
    for job in loaded["jobs"].values():
        for step in job.get("steps", []):
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
            # what comes from outside is never pasted into a shell
            assert "${{" not in step.get("run", "")
        assert "uses" in job or job["timeout-minutes"] <= 60


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_one_version_each(path: Path) -> None:
    used = [line for line in path.read_text().splitlines() if re.search(r"\buses: (?!\./)", line)]
    assert used
    pins: dict[str, str] = {}
    for line in used:
        found = re.search(r"uses: ([\w/-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$", line)
        assert found is not None, line
        assert pins.setdefault(found[1], found[2]) == found[2], line


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A copy of what a release is checked by, as it is when 1.2.3 is ready."""
    for name in (".ci/check-release", "pyproject.toml", "deploy/helm/surgewatch/Chart.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
        if not name.startswith(".ci"):
            text = (tmp_path / name).read_text()
            (tmp_path / name).write_text(
                re.sub(r'(ersion(?: =|:) "?)\d+\.\d+\.\d+', r"\g<1>1.2.3", text)
            )
    text = (ROOT / "CHANGELOG.md").read_text().split("## [Unreleased]")[0]
    text += "## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n\n### Added\n\n- It.\n\n"
    text += "## [1.2.2] - 2026-11-01\n\n- Old.\n"
    (tmp_path / "CHANGELOG.md").write_text(text)
    return tmp_path


def check(root: Path, tag: str) -> tuple[int, str]:
    command = [sys.executable, str(root / ".ci/check-release"), tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_release_that_is_ready_has_its_notes(released: Path) -> None:
    assert check(released, "v1.2.3") == (0, "### Added\n\n- It.\n")


@pytest.mark.parametrize(
    ("place", "old", "new", "words"),
    [
        ("pyproject.toml", "1.2.3", "1.2.2", "pyproject.toml says 1.2.2"),
        (
            "deploy/helm/surgewatch/Chart.yaml",
            "\nversion: 1.2.3",
            "\nversion: 1.2.4",
            "version says 1.2.4",
        ),
        ("deploy/helm/surgewatch/Chart.yaml", '"1.2.3"', '"1.2.4"', "appVersion says 1.2.4"),
        ("CHANGELOG.md", "## [1.2.3] - 2026-12-01", "## [1.2.3]", "nothing under"),
        ("CHANGELOG.md", "### Added\n\n- It.\n", "", "nothing under"),
    ],
)
def test_a_release_that_is_not_ready_is_stopped(
    released: Path, place: str, old: str, new: str, words: str
) -> None:
    text = (released / place).read_text()
    assert old in text
    (released / place).write_text(text.replace(old, new))
    code, told = check(released, "v1.2.3")
    assert code == 1
    assert words in told


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2", "v1.2.3-rc1", "latest"])
def test_a_tag_that_is_no_version_is_stopped(released: Path, tag: str) -> None:
    assert check(released, tag)[0] == 1


def test_the_program_of_a_release_runs_as_it_is() -> None:
    assert CHECK.stat().st_mode & 0o111
    assert "notes_of" in runpy.run_path(str(CHECK), run_name="check_release")
