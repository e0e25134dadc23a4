"""Writes what the image installs: the part of the lock that a worker needs, with its hashes.

``python -m deploy.runtime_lock`` writes ``deploy/requirements.txt`` (Surgewatch's own needs and
its extra ``traces``) and ``deploy/requirements-build.txt`` (what builds its wheel) from
``requirements-dev.txt``. `make lock` calls it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import requires
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements-dev.txt"
EXTRAS: Final = ("traces",)
"""Extras that the image has: no one can add a package to it where it runs."""
PYTHONS: Final = ("3.11", "3.12", "3.13")
"""A package that one of these needs is in the lock; its marker leaves it out for the others."""
_HEAD: Final = "# Made by make lock from requirements-dev.txt: {what}.\n"


def runtime_text(lock: str, project: Mapping[str, Any]) -> str:
    """What a worker needs, as a file of requirements with hashes."""
    wanted = list(project["project"]["dependencies"])
    for extra in EXTRAS:
        wanted += project["project"]["optional-dependencies"][extra]
    return _text_of(lock, wanted, "what a worker needs")


def build_text(lock: str, project: Mapping[str, Any]) -> str:
    """What builds the wheel, as a file of requirements with hashes."""
    return _text_of(lock, project["build-system"]["requires"], "what builds the wheel")


def _text_of(lock: str, wanted: Iterable[str], what: str) -> str:
    locked = _blocks_of(lock)
    return _HEAD.format(what=what) + "".join(locked[name] for name in sorted(_closure(wanted)))


def _blocks_of(lock: str) -> dict[str, str]:
    """Lines of each package: its version and hashes, not the comments on who wants it."""
    found: dict[str, str] = {}
    for block in re.findall(r"^[\w.-]+==.*(?:\n    --hash=.*)+\n", lock, re.MULTILINE):
        found[canonicalize_name(block.split("==")[0])] = block
    return found


def _closure(wanted: Iterable[str]) -> set[str]:
    """Names of the packages wanted, and of all that they need, on any of PYTHONS."""
    todo = [(Requirement(text), frozenset[str]()) for text in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement, extras = todo.pop()
        if not _applies(requirement, extras):
            continue
        name, own = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, own) not in seen:
            seen.add((name, own))
            todo += [(Requirement(text), own) for text in requires(name) or ()]
    return {name for name, _ in seen}


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    if requirement.marker is None:
        return True
    places = [{"python_version": v, "python_full_version": f"{v}.0"} for v in PYTHONS]
    return any(
        requirement.marker.evaluate({**place, "extra": extra, "sys_platform": "linux"})
        for place in places
        for extra in extras or {""}
    )


def main() -> None:
    """Write both files."""
    lock = LOCK.read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (ROOT / "deploy/requirements.txt").write_text(runtime_text(lock, project))
    (ROOT / "deploy/requirements-build.txt").write_text(build_text(lock, project))


if __name__ == "__main__":
    main()
