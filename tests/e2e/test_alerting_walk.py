"""The commands of docs/alerting.md, typed as they stand there, end in an alert that is told."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from streams.edges.process.child import ChildProcess, free_port
from tests.conftest import program_or_say
from tests.servers import KafkaServer, RedisServer
from tests.workers import Site, wait_until

ROOT: Final = Path(__file__).parents[2]
HEADING: Final = "## To a firing alert without Docker"
PORTS_OF: Final[Mapping[str, Sequence[str]]] = {
    "deploy/local/prometheus.yml": ("8000", "9090", "9093", "9464"),
    "deploy/local/receiver.py": ("9099",),
    "deploy/alertmanager/alertmanager.yml": ("9099",),
}
"""What the commands read, and where on this machine the tests have free ports instead."""
OPENED: Final = re.compile(
    r"^to pager: firing: SurgewatchCreatorSurgeOpened \(page\): .*\bsurge_id=(?P<surge>\w+).*\n"
    r" +(?P<runbook>http://\S+)\n"
    r" +(?P<dashboard>http://\S+)\n",
    re.MULTILINE,
)
SMALLER: Final = {"1800": "4500", "500000": "150000", "100000": "10000"}
"""The simulator's speed, follows and wave. The first post is a page in hour 17 at the latest."""
TOLD_SECONDS_MAX: Final = 120


@pytest.fixture
def site(
    kafka: KafkaServer, redis_server: RedisServer, fresh_name: Callable[[str], str], tmp_path: Path
) -> Site:
    """Surgewatch's own rules; its topics are the first command's to make."""
    port = {"SURGEWATCH_METRICS_PORT": str(free_port())}
    return Site(kafka.bootstrap, redis_server.url, fresh_name("walk"), tmp_path, port)


@pytest.fixture
def environ(site: Site, tmp_path: Path) -> Mapping[str, str]:
    """That of a terminal with the checkout's .venv, where Alertmanager has its own name."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program_or_say("prometheus")
    (programs / "alertmanager").symlink_to(program_or_say("prometheus-alertmanager"))
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **site.environ, "PATH": path}


def replaced(text: str, words: Mapping[str, str]) -> str:
    """The text with these whole words replaced; each has to be there."""
    for old, new in words.items():
        text, times = re.subn(rf"(?<!\w){re.escape(old)}(?!\w)", new, text)
        assert times, f"{old} is to be replaced and is not there"
    return text


def commands() -> str:
    """The block below the heading, a line for each terminal."""
    section = (ROOT / "docs/alerting.md").read_text().partition(f"\n{HEADING}\n")[2]
    found = re.search(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert found is not None, HEADING
    return found[1]


def checkout(folder: Path, ports: Mapping[str, str]) -> Path:
    """What of a checkout the commands read, on these ports."""
    for name in ("deploy", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    for name, old in PORTS_OF.items():
        path = folder / name
        path.write_text(replaced(path.read_text(), {one: ports[one] for one in old}))
    return folder


def typed(line: str, log: Path, environ: Mapping[str, str]) -> ChildProcess:
    """A line's commands one after the other, in the log's folder; the last goes on."""
    *before, last = [shlex.split(command, comments=True) for command in line.split(" && ")]
    for command in before:
        subprocess.run(command, cwd=log.parent, env=environ, check=True, timeout=60)
    process = ChildProcess(" ".join(last[:3]), last, log)
    process.start(environ)
    return process


@pytest.fixture
def terminals(environ: Mapping[str, str], site: Site, tmp_path: Path) -> Iterator[list[Path]]:
    """Logs of the commands, typed as they stand but for what is replaced; each ends."""
    ports = {one: str(free_port()) for ports in PORTS_OF.values() for one in ports}
    ports["9464"] = site.environ["SURGEWATCH_METRICS_PORT"]
    folder = checkout(tmp_path / "checkout", ports)
    lines = replaced(commands(), {**ports, **SMALLER, "/tmp": str(tmp_path)}).splitlines()
    with ExitStack() as stack:
        logs = []
        for number, line in enumerate(lines):
            logs.append(folder / f"terminal-{number}.log")
            stack.callback(typed(line, logs[-1], environ).end)
        yield logs


@pytest.mark.slow
def test_the_commands_without_docker_end_at_a_pager_with_links_that_lead_somewhere(
    terminals: list[Path], environ: Mapping[str, str]
) -> None:
    def told() -> str:
        return "".join(log.read_text() for log in terminals)

    wait_until(lambda: OPENED.search(told()) is not None, TOLD_SECONDS_MAX, told)
    for found in OPENED.finditer(told()):
        with urllib.request.urlopen(found["runbook"], timeout=10) as answer:
            assert answer.read().startswith(b"# SurgewatchCreatorSurgeOpened\n")
        assert found["surge"] in found["dashboard"]
        asked = ["surgewatch", "surges", "--id", found["surge"], "--json"]
        said = subprocess.run(
            asked, env=environ, capture_output=True, text=True, check=True, timeout=60
        )
        assert found["surge"] in said.stdout
