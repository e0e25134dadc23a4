"""What is shipped beside the package: the lock, the image's part of it, the Makefile."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.runtime_lock import LOCK, build_text, runtime_text

TextOf = Callable[[str, Mapping[str, Any]], str]
ROOT = Path(__file__).parent.parent.parent


def test_lock_pins_and_hashes_every_package_and_names_no_index() -> None:
    text = (ROOT / "requirements-dev.txt").read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line[:1] not in ("", "#")]
    packages = [line for line in lines if not line.startswith(" ")]
    assert len(packages) > 50
    for line in packages:
        assert re.match(r"[\w.-]+==[\w.!]+( *;.*?)? +--hash=sha256:[0-9a-f]{64}", line), line
    assert not re.search(r"https?:|file:|--index|--extra-index|--find-links", text)


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    ("name", "text_of"),
    [("requirements.txt", runtime_text), ("requirements-build.txt", build_text)],
)
def test_the_image_installs_its_part_of_the_lock(name: str, text_of: TextOf) -> None:
    wanted = text_of(LOCK.read_text(), PROJECT)
    assert (ROOT / "deploy" / name).read_text() == wanted, "run: python -m deploy.runtime_lock"


def test_the_image_has_what_a_worker_needs_and_nothing_of_the_tests() -> None:
    names = re.findall(r"^([\w.-]+)==", runtime_text(LOCK.read_text(), PROJECT), re.MULTILINE)
    assert {"faust-streaming", "aiohttp", "river", "scipy", "uvloop", "structlog"} <= {*names}
    assert not {"pytest", "mypy", "setuptools", "pyarrow", "matplotlib"} & {*names}


def test_a_package_that_the_lock_lacks_is_an_error() -> None:
    lock = LOCK.read_text().replace("\naiohttp==", "\nother==")
    with pytest.raises(KeyError, match="aiohttp"):
        runtime_text(lock, PROJECT)


def test_make_help_names_every_command() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = {line.split()[1] for line in done.stdout.splitlines()}
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE)
    assert shown == set(commands)
    assert {"demo", "test", "bench", "bench-scaling", "chaos"} <= shown
