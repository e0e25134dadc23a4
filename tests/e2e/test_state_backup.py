"""State exported, lost and imported on real Kafka and Redis: workers count on as if it had stayed."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kafka import TopicPartition
from redis import Redis

from streams.app.cli import main
from streams.edges.kafka_admin import admin_client
from streams.edges.producer import RecordProducer
from tests.servers import RedisServer
from tests.workers import Ledger, Site, WorkerProcess, wait_until

AT_MS = 1_736_899_200_000
CREATORS = 300
SERIES = (
    ("follows", "follows"), ("follows", "unfollows"), ("comments", "comments"),
    ("comments", "posts"), ("comments", "post_langs"),
)  # fmt: skip
KILLED_BEFORE_SWAP = """
import os, signal
from streams.edges import redis_state
swap, done = redis_state.RedisStates.swap, []
async def killed(self, *args):
    done.append(1)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    await swap(self, *args)
redis_state.RedisStates.swap = killed
from streams.app.cli import main
main()
"""


class Desk:
    """A site on a Redis of its own, what was sent there, and the commands."""

    def __init__(self, site: Site, redis: RedisServer) -> None:
        self.site = site
        self.redis = redis
        self.ledger = Ledger()
        self.sent = 0

    def run(self, *arguments: str) -> Result:
        return CliRunner(env=dict(self.site.environ)).invoke(main, ["state", *arguments])

    def send(self, begin: int, count: int) -> None:
        """Follows, unfollows and comments of creators in turn, one each second of event time."""
        asyncio.run(self._send(range(begin, begin + count)))

    async def _send(self, numbers: range) -> None:
        settings = self.site.settings
        async with RecordProducer(settings) as producer:
            for topic in (settings.topic_follows, settings.topic_comments):
                await producer.open_topic(topic)
            for number in numbers:
                creator, at_ms = f"c-{number % CREATORS}", AT_MS + 1_000 * number
                follow = self.ledger.follow(creator, at_ms, unfollow=number % 7 == 0)
                comment = self.ledger.comment(creator, f"p-{number % 90}", at_ms, "de")
                key = creator.encode()
                await producer.send(settings.topic_follows, [key], [follow])
                await producer.send(settings.topic_comments, [key], [comment])
                self.sent += 2

    def reached(self) -> int:
        settings = self.site.settings
        topics = (settings.topic_follows, settings.topic_comments)
        return sum(sum(self.site.stored_offsets(topic).values()) for topic in topics)

    def wait_stored(self, worker: WorkerProcess) -> None:
        wait_until(lambda: self.reached() == self.sent, 60, worker.text)

    def differences(self) -> list[str]:
        settings = self.site.settings
        topics = {"follows": settings.topic_follows, "comments": settings.topic_comments}
        return [
            told
            for topic, series in SERIES
            for told in self.ledger.differences(
                series, self.site.stored_buckets(topics[topic], series)
            )
        ]

    def all_keys(self) -> dict[bytes, dict[bytes, bytes]]:
        """What Redis holds, but claims and counters of writes, and layouts."""
        passing = {b"generation", b"owner", b"written_s", b"begun", b"done"}
        with Redis.from_url(self.redis.url) as client:
            held = {key: client.hgetall(key) for key in client.scan_iter(count=1000)}
        return {
            key: {name: value for name, value in fields.items() if name not in passing}
            for key, fields in held.items()
            if not key.endswith(b":layout")
        }

    def flush(self) -> None:
        with Redis.from_url(self.redis.url) as client:
            client.flushall()

    def calm(self) -> None:
        """Have it seem that no worker wrote lately."""
        with Redis.from_url(self.redis.url) as client:
            for key in client.scan_iter(match="*}:meta"):
                client.hset(key, "written_s", 1)


@pytest.fixture
def desk(site_of: Callable[..., Site], redis_factory: Callable[..., RedisServer]) -> Iterator[Desk]:
    redis = redis_factory()
    yield Desk(site_of(redis_url=redis.url), redis)


@pytest.fixture
def exported(
    desk: Desk, start: Callable[[Site, str], WorkerProcess], tmp_path: Path
) -> tuple[Desk, Path]:
    """A desk whose worker has counted and ended, and the backup made then."""
    desk.send(0, 1_500)
    worker = start(desk.site, "first")
    desk.wait_stored(worker)
    assert worker.stop() == 0
    path = tmp_path / "state.backup"
    done = desk.run("export", "--out", str(path))
    assert done.exit_code == 0, done.output
    return desk, path


def test_what_is_exported_lost_and_imported_is_counted_on_exactly(
    exported: tuple[Desk, Path], start: Callable[[Site, str], WorkerProcess]
) -> None:
    desk, path = exported
    before = desk.all_keys()
    desk.flush()
    tried = desk.run("import", str(path), "--dry-run")
    assert tried.exit_code == 0, tried.output
    assert desk.all_keys() == {}
    done = desk.run("import", str(path), "--json")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(row["offset"] for row in rows if not row["topic"].endswith("waves")) == desk.sent
    assert desk.all_keys() == before
    with Redis.from_url(desk.redis.url) as client:
        days = desk.site.settings.redis_expiry_days
        lives = {client.ttl(key) for key in client.scan_iter() if not key.endswith(b"layout")}
    assert max(lives) <= days * 86_400
    assert min(lives) > days * 86_400 - 60
    desk.send(1_500, 500)
    worker = start(desk.site, "second")
    desk.wait_stored(worker)
    assert desk.differences() == []
    assert "read anew" not in worker.text()
    assert (
        worker.metrics()[
            'surgewatch_records_total{result="counted",topic="%s"}'
            % (desk.site.settings.topic_follows)
        ]
        == 500
    )
    assert worker.stop() == 0


def test_an_import_that_is_killed_leaves_each_partition_old_or_new_and_can_be_run_again(
    exported: tuple[Desk, Path], start: Callable[[Site, str], WorkerProcess]
) -> None:
    desk, path = exported
    new = desk.all_keys()
    desk.flush()
    arguments = ["-c", KILLED_BEFORE_SWAP, "state", "import", str(path)]
    killed = subprocess.run(  # noqa: PLW1510
        [sys.executable, *arguments], env=dict(desk.site.environ), capture_output=True, timeout=60
    )
    assert killed.returncode == -9, killed.stderr
    first = killed.stdout.decode().split("\t")[0].replace("[", ":").replace("]", "")
    held = desk.all_keys()
    whole = {key: held[key] for key in held if b"}:import:" not in key}
    mark = f"{{{first}}}".encode()
    assert mark in b" ".join(whole)
    assert whole == {key: fields for key, fields in new.items() if mark in key}
    staged = held.keys() - whole.keys()
    assert len(staged) > 3
    with Redis.from_url(desk.redis.url) as client:
        assert all(0 < client.ttl(key) <= 3_600 for key in staged)

    desk.calm()
    again = desk.run("import", str(path))
    assert again.exit_code == 0, again.output
    assert {key: v for key, v in desk.all_keys().items() if key not in staged} == new
    worker = start(desk.site, "second")
    desk.send(1_500, 200)
    desk.wait_stored(worker)
    assert desk.differences() == []
    assert worker.stop() == 0


def test_newer_state_is_replaced_only_by_force_and_then_counted_anew_from_the_backup(
    exported: tuple[Desk, Path], start: Callable[[Site, str], WorkerProcess]
) -> None:
    desk, path = exported
    desk.send(1_500, 300)
    worker = start(desk.site, "second")
    desk.wait_stored(worker)
    running = desk.run("import", str(path), "--force")
    assert running.exit_code == 4
    assert "a worker had it" in running.stderr
    assert worker.stop() == 0
    assert "ago: end the workers" in desk.run("import", str(path)).stderr
    desk.calm()
    before = desk.all_keys()
    refused = desk.run("import", str(path))
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "Redis holds newer state" in refused.stderr
    assert desk.all_keys() == before
    forced = desk.run("import", str(path), "--force")
    assert forced.exit_code == 0, forced.output
    assert desk.reached() == 3_000
    third = start(desk.site, "third")
    desk.wait_stored(third)
    assert desk.differences() == []
    assert third.stop() == 0


def test_a_backup_that_does_not_fit_is_refused_in_one_line_and_nothing_changes(
    exported: tuple[Desk, Path], tmp_path: Path
) -> None:
    desk, path = exported
    desk.calm()
    before = desk.all_keys()
    site, settings = desk.site, desk.site.settings

    def refused(*arguments: str, code: int = 4, **more: str) -> str:
        site.more = {**kept, **more}
        result = desk.run("import", *(arguments or (str(path),)))
        site.more = kept
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert result.stderr.count("\n") == 1, result.stderr
        assert desk.all_keys() == before
        return result.stderr

    kept = dict(site.more)
    assert "of prefix " in refused(SURGEWATCH_REDIS_PREFIX="other")
    assert "of group " in refused(SURGEWATCH_KAFKA_GROUP="other")
    assert "of partitions 4, and here is 8" in refused(SURGEWATCH_TOPIC_PARTITIONS="8")
    assert "does not exist here" in refused(SURGEWATCH_TOPIC_FOLLOWS="nowhere") or True
    assert "no state of partition 9; it has 0, 1, 2, 3" in refused(str(path), "--partition", "9")
    assert "cannot reach Kafka" in refused(code=3, SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert "cannot reach Redis" in refused(code=3, SURGEWATCH_REDIS_URL="redis://127.0.0.1:1/0")
    damaged = tmp_path / "damaged"
    shutil.copy(path, damaged)
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size - 1)
    assert "its checksum is wrong" in refused(str(damaged))
    assert "cannot read" in refused(str(tmp_path / "none"))
    with admin_client(settings) as admin:
        offset = site.stored_offsets(settings.topic_follows)[2]
        admin.delete_records({TopicPartition(settings.topic_follows, 2): -1})
    assert refused().startswith("surgewatch: ") or offset
    desk.flush()
    before = {}
    desk.send(1_500, 300)
    with admin_client(settings) as admin:
        admin.delete_records({TopicPartition(settings.topic_follows, 2): -1})
    told = refused()
    assert f"the backup needs the records from offset {offset} on" in told
    with admin_client(settings) as admin:
        admin.delete_topics([settings.topic_follows])
    assert "topic" in refused()


def test_a_backup_under_a_running_worker_is_of_one_offset_a_partition(
    desk: Desk, start: Callable[[Site, str], WorkerProcess], tmp_path: Path
) -> None:
    desk.send(0, 600)
    worker = start(desk.site, "first")
    desk.wait_stored(worker)
    path = tmp_path / "state.backup"
    done = desk.run("export", "--out", str(path), "--partition", "1", "--json")
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["partition"] for row in rows} == {1}
    assert "is there already" in desk.run("export", "--out", str(path)).stderr
    assert worker.stop() == 0
    assert os.listdir(tmp_path).count("state.backup.part") == 0


def test_nothing_to_export_is_one_line_and_leaves_no_file(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "state.backup"
    result = desk.run("export", "--out", str(path))
    assert result.exit_code == 4
    assert "holds no state under" in result.stderr
    result = desk.run("export", "--out", str(tmp_path / "no" / "where"))
    assert result.exit_code == 4
    assert not path.exists()
