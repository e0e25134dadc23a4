"""The command surges on a real Kafka: last states, what is chosen, following, and its errors."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import jsonschema
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result

from streams.app.cli import main
from streams.core.surges.surge import Surge
from streams.edges.codec.out import encode_surge
from streams.edges.codec.schemas import read_schema
from streams.edges.kafka.surge_topic import BLOCK_RECORDS
from tests.unit.test_surges_command import surge
from tests.workers import Site

VALIDATOR = jsonschema.Draft202012Validator(read_schema("surge"))
HOUR_MS = 3_600_000
RUN = (sys.executable, "-m", "streams.app.cli", "surges")


def run(site: Site, *arguments: str, **more: str) -> Result:
    return CliRunner(env=site.environ | more).invoke(main, ["surges", *arguments])


def told(site: Site, *arguments: str) -> list[str]:
    """Creators of the surges that are told."""
    result = run(site, "--json", *arguments)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    for one in found:
        VALIDATOR.validate(one)
    return [one["creator_id"] for one in found]


def announce(site: Site, surges: Sequence[Surge], partition: int, ago_ms: int = 0) -> None:
    """Write announcements as a worker does, so long ago."""
    asyncio.run(_announce(site, surges, partition, time.time_ns() // 1_000_000 - ago_ms))


async def _announce(site: Site, surges: Sequence[Surge], partition: int, at_ms: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=site.bootstrap, linger_ms=20)
    await producer.start()
    try:
        topic = site.settings.topic_surges
        for one in surges:
            await producer.send(
                topic, encode_surge(one), one.surge_id.encode(), partition, timestamp_ms=at_ms
            )
    finally:
        await producer.stop()


def test_surges_are_told_by_their_last_state_from_the_time_that_is_asked_for(
    site_of: Callable[..., Site],
) -> None:
    site = site_of()
    empty = run(site)
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert f"no surge was announced in topic {site.settings.topic_surges} since 20" in empty.stderr
    announce(site, [surge(1), surge(2), surge(3)], 0, 100 * HOUR_MS)
    announce(site, [surge(3, "grown", "page")], 0, 30 * HOUR_MS)
    announce(site, [surge(4), surge(5)], 1, 3 * HOUR_MS)
    announce(site, [surge(5, "closed")], 1, HOUR_MS)
    announce(site, [surge(2, "closed")], 0)
    assert told(site) == ["c-2", "c-5", "c-4"]
    assert told(site, "--since", "2d") == ["c-2", "c-5", "c-4", "c-3"]
    assert told(site, "--open") == ["c-4", "c-3", "c-1"]
    assert told(site, "--open", "--since", "24h") == ["c-4"]
    assert told(site, "--severity", "page", "--since", "7d") == ["c-3"]
    assert told(site, "--creator", "c-5") == ["c-5"]
    assert told(site, "--kind", "wave") == []
    assert "no such surge was announced" in run(site, "--kind", "wave").stderr
    some = run(site, "--limit", "1")
    titles, one = some.stdout.splitlines(keepends=True)
    assert titles.startswith("Announced\t")
    assert one.split("\t")[1:] == [
        *("2025-01-15T00:00:00Z", "notice", "followers", "model", "closed", "c-2"),
        *("1,234 in 1 h", "7.12", "\n"),
    ]
    assert "2 more were announced since 20" in some.stderr


def test_a_long_topic_is_read_by_blocks_and_what_is_no_surge_is_told(
    site_of: Callable[..., Site],
) -> None:
    site = site_of()
    many = [surge(number) for number in range(BLOCK_RECORDS + 500)]
    announce(site, [*many, *(surge(number, "closed") for number in range(700))], 2)
    asyncio.run(_write(site, b"something else"))
    began = time.monotonic()
    result = run(site, "--open", "--limit", "2", "--json")
    assert time.monotonic() - began < 30
    assert result.exit_code == 0, result.output
    assert f"{BLOCK_RECORDS + 500 - 700 - 2:,} more were announced" in result.stderr
    assert "1 records of" in result.stderr
    assert len(result.stdout.splitlines()) == 2


async def _write(site: Site, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=site.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(site.settings.topic_surges, value, b"another", partition=2)
    finally:
        await producer.stop()


def test_announcements_are_followed_until_it_is_interrupted(site_of: Callable[..., Site]) -> None:
    site = site_of()
    announce(site, [surge(1)], 0, HOUR_MS)
    announce(site, [surge(2)], 3)
    command = [*RUN, "--follow", "--severity", "notice"]
    with subprocess.Popen(
        command, env=site.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        before = [process.stdout.readline().split("\t")[6] for _ in range(3)]
        assert before == ["Of", "c-1", "c-2"]
        page = surge(3, "opened", "page")
        announce(site, [page, surge(1, "closed"), surge(1, "closed"), surge(4)], 0)
        after = [process.stdout.readline().split("\t")[5:7] for _ in range(2)]
        assert after == [["closed", "c-1"], ["opened", "c-4"]]
        process.send_signal(2)
        assert process.wait(20) == 130
        assert process.stdout.read() == ""
        assert process.stderr.read() == "surgewatch: interrupted\n"


def test_surges_without_kafka_or_topic_is_one_line(site_of: Callable[..., Site]) -> None:
    site = site_of()
    limit = {"SURGEWATCH_KAFKA_TIMEOUT_MS": "1000"}
    for wrong, code, words in (
        ({"SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, 3, "cannot reach Kafka at"),
        ({"SURGEWATCH_TOPIC_SURGES": "nothing-here"}, 4, "topic nothing-here does not exist"),
    ):
        result = run(site, **limit, **wrong)
        assert (result.exit_code, result.stdout) == (code, "")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
