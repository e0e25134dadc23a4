"""Options and names that runbooks give to others' programs exist, as those programs' help says.

Debian has neither docker nor kubectl: what is not on this machine is not asked.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.containers.compose_file import COMPOSE, compose_program
from tests.servers import ServerMissing
from tests.unit.test_runbooks import NAMES, lines_of

DEPTH: Final = {
    "docker": 1,
    "docker compose": 1,
    "docker system": 1,
    "kubectl": 1,
    "systemctl": 0,
    "journalctl": 0,
    "timedatectl": 0,
    "curl": 0,
}
"""Programs, and how many words after them choose what their help is about."""
TYPED: Final = sorted(
    {
        line
        for name in NAMES
        for line in lines_of(name, "sh")
        if not line.startswith(("surgewatch ", "redis-cli "))
    }
)


def program_in(line: str) -> str:
    return max((name for name in DEPTH if f"{line} ".startswith(f"{name} ")), key=len)


def command_of(program: str) -> list[str]:
    """What to start; skips where it is not."""
    if program == "docker compose":
        try:
            return [compose_program()]
        except ServerMissing as missing:
            pytest.skip(str(missing))  # the containers' stage alone builds it, in minutes
    first, *rest = program.split()
    if shutil.which(first) is None:
        pytest.skip(f"{first} is not on this machine, and only its help would be asked")
    return [first, *rest]


def unknown_options(shown: str, arguments: list[str]) -> list[str]:
    """Options that a help does not have."""
    options = [one.partition("=")[0] for one in arguments if re.match("--?[a-z]", one)]
    return [one for one in options if not re.search(rf"(^|[\s,]){one}([=,\s\[:]|$)", shown, re.M)]


@pytest.mark.parametrize("line", TYPED)
def test_what_a_runbook_types_has_options_and_words_that_the_program_knows(line: str) -> None:
    program = program_in(line)
    arguments = shlex.split(line.removeprefix(program))
    words = arguments[: DEPTH[program]]
    help_words = ["--help", "all"] if program == "curl" else ["--help"]
    done = subprocess.run(
        [*command_of(program), *words, *help_words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if words:
        assert re.search(rf"{program.split()[-1]} {words[0]}\b", done.stdout), "it knows the word"
    assert unknown_options(done.stdout, arguments) == []
    if program == "systemctl":
        assert f"\n  {arguments[0]} " in done.stdout


def test_services_that_runbooks_ask_compose_for_are_in_our_file() -> None:
    services = yaml.safe_load(Path(COMPOSE).read_text())["services"]
    asked = [shlex.split(line)[3:] for line in TYPED if line.startswith("docker compose ")]
    named = {words[-1] for words in asked if re.fullmatch(r"[a-z][a-z0-9-]+", words[-1])}
    assert len(named) >= 2
    assert named <= set(services)


def test_an_option_that_is_none_would_be_seen() -> None:
    shown = "  -n, --tail string   Lines\n      --previous=false:\n"
    assert unknown_options(shown, ["--tail", "5", "-n", "--previous"]) == []
    assert unknown_options(shown, ["--tai", "--prev", "-a"]) == ["--tai", "--prev", "-a"]
