"""What docs/settings.md says to type reaches the workers and nothing else."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/settings.md"
COMMANDS = (
    ("/opt/surgewatch/bin/python3 /opt/surgewatch/bin/surgewatch worker", True),
    ("/usr/bin/python3.11 ./surgewatch --config /etc/a b.toml worker", True),
    ("sh -c /opt/surgewatch/bin/surgewatch worker", False),
    ("bash -c exec python3 /opt/surgewatch/bin/surgewatch worker", False),
    ("sudo -u surgewatch /opt/surgewatch/bin/surgewatch worker", False),
    ("timeout 60 /opt/bin/python3 /opt/surgewatch/bin/surgewatch worker", False),
    ("/opt/bin/python3 /opt/surgewatch/bin/surgewatch lag --watch", False),
    ("vim /etc/surgewatch/the worker", False),
)


@pytest.mark.parametrize(("command", "is_worker"), COMMANDS)
def test_the_signal_reaches_workers_and_not_what_started_them(
    command: str, *, is_worker: bool
) -> None:
    (pattern,) = re.findall(r"^pkill -HUP -f '(.*)'$", PAGE.read_text(encoding="utf-8"), re.M)
    assert bool(re.search(pattern, command)) is is_worker
