"""The disk of Redis' or of Kafka's files is full: it is told and counted, and nothing is lost."""

import asyncio
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from click.testing import CliRunner
from redis import Redis

from streams.app.cli import main
from streams.core.surges.surge import Surge
from streams.edges.process.child import ChildFailed
from tests.chaos.disk import SmallDisk
from tests.chaos.repair import MendedRedis
from tests.conftest import start_or_say
from tests.e2e.kafka_topics import create_topics
from tests.sender import Sender, assert_exact
from tests.servers import KafkaServer, RedisServer
from tests.workers import Site, WorkerProcess, wait_until

pytestmark = [pytest.mark.alone, pytest.mark.slow]  # limits of time after a fault

SPAN_MS = 600_000
FOLLOWERS = 100
NO_DISK = "no tmpfs may be mounted here: a disk that is full wants root"
WRITES_FAILED = 'surgewatch_redis_errors_total{operation="write"}'
FETCHES_FAILED = 'surgewatch_kafka_errors_total{operation="fetch"}'


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk; asked for before the server that uses it, so that it goes after it."""
    made = SmallDisk.mounted(tmp_path / "disk")
    if made is None:
        pytest.skip(NO_DISK)  # no server is missing: the machine forbids it
    yield made
    made.drop()


def unready(worker: WorkerProcess) -> str:
    """What /readyz says; empty: it is ready."""
    (address,) = {word for word in worker.text().split() if word.endswith("/metrics")}
    try:
        with urllib.request.urlopen(address.replace("/metrics", "/readyz"), timeout=10):
            return ""
    except HTTPError as error:
        return error.read().decode()


def assert_told_once(sender: Sender) -> None:
    """Each creator who came to so many followers is told in one surge, and no other is."""
    wanted = sender.ledger.openings

    def opened(found: list[Surge]) -> list[tuple[str, int]]:
        mine = [one for one in found if (one.trigger, one.state) == ("rule", "opened")]
        return [(one.creator_id, one.opened_ms) for one in mine]

    found = opened(asyncio.run(sender.site.surges(lambda found: {*opened(found)} >= wanted)))
    assert len(wanted) > 3
    assert sorted(found) == sorted(wanted)


def assert_doctor_says(site: Site, words: str) -> None:
    """What the runbook has typed first names the fault, as an error."""
    done = CliRunner().invoke(main, ["doctor"], env=site.environ)
    assert words in " ".join(done.output.split())
    assert done.exit_code == 4


def site_on(kafka: KafkaServer, redis: RedisServer, name: str, folder: Path) -> Site:
    rule = {"SURGEWATCH_RULE_FOLLOWERS_24H": str(FOLLOWERS)}
    return Site(kafka.bootstrap, redis.url, name, folder, rule).make_topics()


def sender_to(site: Site, records: int) -> Sender:
    sender = Sender(site, records, SPAN_MS)
    sender.ledger.threshold = FOLLOWERS
    return sender


def test_a_redis_whose_disk_is_full_is_told_and_counted_and_with_room_all_is_stored(
    disk: SmallDisk,
    kafka: KafkaServer,
    redis_factory: Callable[..., RedisServer],
    fresh_name: Callable[[str], str],
    start: Callable[[Site, str], WorkerProcess],
    tmp_path: Path,
) -> None:
    redis = redis_factory(settings={"dir": str(disk.folder)})
    sender = sender_to(site_on(kafka, redis, fresh_name("site"), tmp_path), 20_000)
    asyncio.run(sender.send(0.25))
    worker = start(sender.site, "worker")
    wait_until(sender.all_stored, 60, worker.text)
    disk.fill()
    asyncio.run(sender.send(0.75))
    wait_until(lambda: "now: its disk is full: make room" in worker.text(), 40, worker.text)
    wait_until(lambda: worker.metrics()[WRITES_FAILED] >= 2, 20, worker.text)
    assert "Redis takes no writes now: its disk is full" in unready(worker)
    assert_doctor_says(sender.site, "it cannot write its append-only file")
    assert not sender.all_stored()
    assert worker.runs
    disk.empty()
    wait_until(sender.all_stored, 60, worker.text)
    wait_until(lambda: not unready(worker), 20, worker.text)
    assert_exact(sender)
    assert_told_once(sender)
    assert worker.stop() == 0
    assert_starts_again_with_all(redis, sender)


def assert_starts_again_with_all(redis: RedisServer, sender: Sender) -> None:
    """What a full disk left in its file does not keep Redis from starting, with every count."""
    with Redis.from_url(redis.url) as client:
        idle = {"aof_rewrite_in_progress": 0, "aof_rewrite_scheduled": 0}
        wait_until(lambda: idle.items() <= client.info("persistence").items(), 20, "rewritten")
    redis.kill()
    redis.start()
    assert_exact(sender)


def test_a_redis_that_is_killed_while_its_disk_is_full_has_every_count_in_the_end(
    kafka: KafkaServer,
    fresh_name: Callable[[str], str],
    start: Callable[[Site, str], WorkerProcess],
    tmp_path: Path,
) -> None:
    redis = MendedRedis(tmp_path / "redis")  # what it told of as written may not be in its file
    if redis.disk is None:
        pytest.skip(NO_DISK)  # no server is missing: the machine forbids it
    try:
        start_or_say(redis)
        sender = sender_to(site_on(kafka, redis, fresh_name("site"), tmp_path), 20_000)
        asyncio.run(sender.send(0.25))
        worker = start(sender.site, "worker")
        wait_until(sender.all_stored, 60, worker.text)
        redis.disk.fill()
        asyncio.run(sender.send(0.5))
        wait_until(lambda: "now: its disk is full: make room" in worker.text(), 40, worker.text)
        redis.kill()
        wait_until(lambda: "cannot reach Redis" in worker.text(), 40, worker.text)
        redis.disk.empty()
        redis.start()
        asyncio.run(sender.send(0.25))
        wait_until(sender.all_stored, 60, worker.text)
        assert_exact(sender)
        assert worker.stop() == 0
    finally:
        redis.stop()


async def fill_by_records(kafka: KafkaServer, topic: str) -> None:
    """Send until the broker has found its disk full, which ends it."""
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, request_timeout_ms=2_000, acks=1
    ) as producer:
        for _ in range(20):
            with suppress(KafkaError):
                await producer.send_and_wait(topic, bytes(100_000))
            if not kafka.runs:
                return


def test_a_kafka_whose_disk_is_full_ends_itself_and_with_room_reading_goes_on_exactly(
    disk: SmallDisk,
    kafka_factory: Callable[..., KafkaServer],
    redis_factory: Callable[..., RedisServer],
    fresh_name: Callable[[str], str],
    start: Callable[[Site, str], WorkerProcess],
    tmp_path: Path,
) -> None:
    kafka, redis = kafka_factory(settings={"log.dirs": str(disk.folder)}), redis_factory()
    sender = sender_to(site_on(kafka, redis, fresh_name("site"), tmp_path), 20_000)
    asyncio.run(create_topics(kafka, ["of-another"]))
    asyncio.run(sender.send(0.25))
    worker = start(sender.site, "worker")
    wait_until(sender.all_stored, 60, worker.text)
    redis.pause()  # so that something is not counted when Kafka goes
    asyncio.run(sender.send(0.5))
    disk.fill()
    asyncio.run(fill_by_records(kafka, "of-another"))
    wait_until(lambda: not kafka.runs, 20, "the broker has ended")
    redis.resume()
    wait_until(lambda: "has not answered since" in worker.text(), 40, worker.text)
    wait_until(lambda: worker.metrics()[FETCHES_FAILED] >= 1, 20, worker.text)
    assert not sender.all_stored()
    assert worker.runs
    kafka.kill()  # its remains
    with pytest.raises(ChildFailed):
        kafka.start()
    assert "No space left on device" in (kafka.folder / "log.txt").read_text()
    disk.empty()
    kafka.start()
    wait_until(lambda: "answers again after" in worker.text(), 40, worker.text)
    asyncio.run(sender.send(0.25))
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)
    assert_told_once(sender)
    assert worker.stop() == 0
