"""Simulate and replay into a real Kafka: every record, as it was, where its creator belongs."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from rich.console import Console

from streams.app.commands.replay import ReplaySummary, ReplayTask, run_replay
from streams.app.simulate.command import SimulateTask, run_simulate
from streams.core.worlds.platform import WorldPolicy, world_of
from streams.edges.files.records import FileBroken, OutputFile
from streams.edges.kafka.producer import TopicMissing
from streams.edges.settings.reading import Settings
from tests.e2e.kafka_topics import create_topics, stored
from tests.servers import KafkaServer

AT_MS = 1_736_899_200_000
FreshName = Callable[[str], str]
SMALL = WorldPolicy(
    creators=200,
    hours=26,
    follows_per_day=10_000,
    comments_per_day=3_000,
    newcomer_follows=4_000,
    post_comments=1_000,
    wave_users=500,
    bad_share=0.01,
)


@pytest.fixture
def settings(kafka: KafkaServer, fresh_name: FreshName) -> Settings:
    """Settings with topics of four partitions that no other test uses."""
    made = Settings(
        kafka_bootstrap_servers=kafka.bootstrap,
        topic_follows=fresh_name("follows"),
        topic_comments=fresh_name("comments"),
    )
    asyncio.run(create_topics(kafka, [made.topic_follows, made.topic_comments]))
    return made


def replayed(settings: Settings, **task: object) -> ReplaySummary:
    return run_replay(ReplayTask(**task), settings, Console(file=io.StringIO()))  # type: ignore[arg-type]  # each call names its fields


def file_of(path: Path, lines: list[bytes]) -> Path:
    with OutputFile(path) as out:
        out.write_lines(lines)
    return path


def record(creator: int, at_ms: int) -> bytes:
    return json.dumps(
        {"creator_id": f"c-{creator}", "follower_id": f"u-{at_ms}", "at_ms": at_ms}
    ).encode()


def test_replay_sends_every_line_as_it_is_and_each_creator_to_one_partition(
    settings: Settings, tmp_path: Path
) -> None:
    lines = [record(n % 50, AT_MS + n) for n in range(5_000)]
    lines[7:7] = [b"", b'{"creator_id":"c-3","at_ms"', b"\xff\x00", b'{"creator_id": 5}']
    path = file_of(tmp_path / "follows.ndjson.gz", lines)
    summary = replayed(settings, follows=path)
    assert summary.records == {settings.topic_follows: len(lines)}
    assert summary.unkeyed == 3
    partitions = stored(settings, settings.topic_follows)
    values = [value for partition in partitions for _, value in partition]
    assert sorted(v or b"" for v in values) == sorted(lines)
    homes: dict[bytes | None, set[int]] = {}
    for number, partition in enumerate(partitions):
        for key, _ in partition:
            homes.setdefault(key, set()).add(number)
        times = [json.loads(v)["at_ms"] for k, v in partition if k and v and v.endswith(b"}")]
        assert times == sorted(times)
    del homes[None]
    assert set(homes) == {f"c-{n}".encode() for n in range(50)}
    assert all(len(home) == 1 for home in homes.values())


def test_partitions_are_those_that_another_producer_chooses(
    settings: Settings, tmp_path: Path
) -> None:
    lines = [record(n, AT_MS + n) for n in range(200)]
    replayed(settings, follows=file_of(tmp_path / "f.ndjson", lines))

    async def send_as_others() -> None:
        servers = settings.kafka_bootstrap_servers
        async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
            for n, line in enumerate(lines):
                await producer.send(settings.topic_comments, line, key=f"c-{n}".encode())

    asyncio.run(send_as_others())
    ours = stored(settings, settings.topic_follows)
    assert ours == stored(settings, settings.topic_comments)
    assert all(ours)


def test_parquet_and_gzip_are_merged_by_event_time_at_a_speed(
    settings: Settings, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    times = [AT_MS + n * 1000 for n in range(600)]
    columns = {"creator_id": ["c-1"] * 600, "at_ms": times}
    parquet.write_table(pyarrow.table(columns), tmp_path / "c.parquet")
    follows = file_of(tmp_path / "f.gz", [record(1, t) for t in times])
    begin = time.monotonic()
    summary = replayed(settings, follows=follows, comments=tmp_path / "c.parquet", speed=600.0)
    assert 0.5 < time.monotonic() - begin < 20  # ten minutes of events in one second
    assert list(summary.records.values()) == [600, 600]
    for topic in (settings.topic_follows, settings.topic_comments):
        values = [v for partition in stored(settings, topic) for _, v in partition]
        assert [json.loads(v or b"")["at_ms"] for v in values] == times


def test_simulate_into_kafka_sends_what_it_writes_into_files(
    settings: Settings, tmp_path: Path
) -> None:
    world = world_of(SMALL, 7, AT_MS)
    quiet = Console(file=io.StringIO())
    files = SimulateTask(world=world, follows_out=tmp_path / "f", comments_out=tmp_path / "c")
    written = run_simulate(files, settings, quiet)
    for speed in (None, 36_000.0):
        sent = run_simulate(SimulateTask(world=world, speed=speed), settings, quiet)
        assert sent.truth == written.truth
        assert sent.records == written.records
    for name, topic in (("f", settings.topic_follows), ("c", settings.topic_comments)):
        values = [v or b"" for partition in stored(settings, topic) for _, v in partition]
        lines = (tmp_path / name).read_bytes().split(b"\n")[:-1]
        assert sorted(values) == sorted(lines * 2)


def test_broken_file_is_told_after_all_lines_before_it_were_sent(
    settings: Settings, tmp_path: Path
) -> None:
    path = file_of(tmp_path / "f.gz", [record(n % 9, AT_MS + n) for n in range(60_000)])
    path.write_bytes(path.read_bytes()[:-40_000])
    out = io.StringIO()
    with pytest.raises(FileBroken, match="middle of its gzip data"):
        run_replay(ReplayTask(follows=path), settings, Console(file=out))
    sent = sum(len(partition) for partition in stored(settings, settings.topic_follows))
    assert sent >= 10_000
    assert f"{sent:,} records before it were sent" in out.getvalue()


def test_missing_topic_says_what_to_run(settings: Settings, tmp_path: Path) -> None:
    path = file_of(tmp_path / "f", [record(1, AT_MS)])
    elsewhere = Settings(
        kafka_bootstrap_servers=settings.kafka_bootstrap_servers, topic_follows="not-there"
    )
    with pytest.raises(TopicMissing, match=r"topic not-there does not exist .* topics create"):
        replayed(elsewhere, follows=path)


_CHILD = """
import sys
from streams.app.commands.replay import replay
from streams.edges.errors import SurgewatchError
try:
    replay(sys.argv[1:], standalone_mode=False)
except SurgewatchError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_interrupted_replay_ends_with_one_line_and_130(settings: Settings, tmp_path: Path) -> None:
    path = file_of(tmp_path / "f", [record(n % 9, AT_MS + n * 1000) for n in range(10_000)])
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, "--follows", str(path), "--speed", "10"],
        env={
            "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "SURGEWATCH_TOPIC_FOLLOWS": settings.topic_follows,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: any(stored(settings, settings.topic_follows)), limit_seconds=30)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 130, err
    assert err == ""
    [line] = out.splitlines()
    assert line.startswith("interrupted: ")
    sent = sum(len(partition) for partition in stored(settings, settings.topic_follows))
    assert line.endswith(f"{sent:,} records were sent")


def wait_until(holds: Callable[[], bool], limit_seconds: float) -> None:
    end = time.monotonic() + limit_seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
