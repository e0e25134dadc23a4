"""State exported, lost and imported on real Kafka and Redis: workers count on as if it had stayed.

One site for all: each test begins with the backup put back, but the last one, which spoils the
topics.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kafka import TopicPartition
from redis import Redis

from streams.app.cli import main
from streams.core.partition_state import StateChange
from streams.edges.files.state_file import Hashes, PlaceBegins, StateReader
from streams.edges.kafka.admin import admin_client
from streams.edges.kafka.producer import RecordProducer
from streams.edges.redis.client import async_client_of
from streams.edges.redis.state import Meta, RedisStates
from streams.edges.redis.store import RedisStore, RedisStorePolicy
from streams.edges.store import Place, StateLost, Write
from tests.conftest import start_or_say
from tests.e2e.desk import FollowsDesk
from tests.redis_cluster import RedisCluster
from tests.servers import KafkaServer, RedisServer
from tests.workers import Ledger, Site, WorkerProcess, wait_until

AT_MS = 1_736_899_200_000
CREATORS = 300
SERIES = (
    ("follows", "follows"), ("follows", "unfollows"), ("comments", "comments"),
    ("comments", "posts"), ("comments", "post_langs"),
)  # fmt: skip
KILLED_BEFORE_SWAP = """
import os, signal
from streams.edges.redis import state as redis_state
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
        self.first: dict[bytes, dict[bytes, bytes]] = {}

    def run(self, *arguments: str) -> Result:
        return CliRunner(env=dict(self.site.environ)).invoke(main, ["state", *arguments])

    def send(self, begin: int, count: int) -> None:
        """Follows, unfollows and comments of creators, one each second of event time."""
        asyncio.run(self._send(range(begin, begin + count)))

    async def _send(self, numbers: range) -> None:
        settings = self.site.settings
        async with RecordProducer(settings) as producer:
            for topic in (settings.topic_follows, settings.topic_comments):
                await producer.open_topic(topic)
            for number in numbers:
                at_ms = AT_MS + 1_000 * number
                # later ones are new, so that there are hashes which the backup has not
                creator = f"c-{number % CREATORS if number < 1_500 else number}"
                follow = self.ledger.follow(creator, at_ms, unfollow=number % 7 == 0)
                comment = self.ledger.comment(creator, f"p-{creator}", at_ms, "de")
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
        states = {
            key: {name: value for name, value in fields.items() if name not in passing}
            for key, fields in held.items()
            if not key.endswith(b":layout")
        }
        return {key: fields for key, fields in states.items() if fields}

    def flush(self) -> None:
        with Redis.from_url(self.redis.url) as client:
            client.flushall()

    def first_offsets(self) -> list[int]:
        """Offsets of the follows that the backup has, by partition."""
        topic = self.site.settings.topic_follows
        keys = (f"{self.site.name}:{{{topic}:{n}}}:meta".encode() for n in range(4))
        return [int(self.first[key][b"offset"]) for key in keys]

    def delete_records(self, partition: int) -> None:
        """Do what retention does, to all records of a partition of follows."""
        with admin_client(self.site.settings) as admin:
            admin.delete_records({TopicPartition(self.site.settings.topic_follows, partition): -1})

    def make_follows_again(self) -> None:
        """Delete the follows and make the topic anew."""
        FollowsDesk(self.site).make_again()

    def calm(self) -> None:
        """Have it seem that no worker wrote lately."""
        with Redis.from_url(self.redis.url) as client:
            for key in client.scan_iter(match="*}:meta"):
                client.hset(key, "written_s", 1)


@pytest.fixture(scope="module")
def exported(
    kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Desk, Path]]:
    """A desk whose worker has counted and ended, and the backup made then."""
    folder = tmp_path_factory.mktemp("backup")
    redis = RedisServer(folder / "redis")
    start_or_say(redis)
    with ExitStack() as stack:
        stack.callback(redis.stop)
        more = {"SURGEWATCH_RULE_FOLLOWERS_24H": "3", "SURGEWATCH_RULE_COMMENTS_24H": "9"}
        site = Site(kafka.bootstrap, redis.url, f"state-{redis.port}", folder, more).make_topics()
        desk = Desk(site, redis)
        desk.send(0, 1_500)
        worker = WorkerProcess(site, "first")
        stack.callback(worker.kill)
        desk.wait_stored(worker)
        assert worker.stop() == 0
        path = folder / "state.backup"
        done = desk.run("export", "--out", str(path))
        assert done.exit_code == 0, done.output
        desk.first = desk.all_keys()
        yield desk, path


def test_an_import_that_is_killed_leaves_each_partition_old_or_new_and_can_be_run_again(
    exported: tuple[Desk, Path],
) -> None:
    desk, path = exported
    desk.flush()
    arguments = ["-c", KILLED_BEFORE_SWAP, "state", "import", str(path)]
    killed = subprocess.run(  # noqa: PLW1510
        [sys.executable, *arguments], env=dict(desk.site.environ), capture_output=True, timeout=60
    )
    assert killed.returncode == -9, killed.stderr
    first = f"{{{desk.site.settings.topic_follows}:0}}".encode()
    held = desk.all_keys()
    whole = {key: fields for key, fields in held.items() if b"}:import:" not in key}
    assert whole == {key: fields for key, fields in desk.first.items() if first in key}
    assert len(whole) > 3
    staged = held.keys() - whole.keys()
    assert len(staged) > 3
    with Redis.from_url(desk.redis.url) as client:
        assert all(0 < client.ttl(key) <= 3_600 for key in staged)
    again = desk.run("import", str(path))
    assert again.exit_code == 0, again.output
    assert {key: found for key, found in desk.all_keys().items() if key not in staged} == desk.first


def test_what_is_exported_lost_and_imported_is_counted_on_exactly(
    exported: tuple[Desk, Path], start: Callable[[Site, str], WorkerProcess], tmp_path: Path
) -> None:
    desk, path = exported
    follows = desk.site.settings.topic_follows
    desk.flush()
    tried = desk.run("import", str(path), "--dry-run")
    assert tried.exit_code == 0, tried.output
    assert desk.all_keys() == {}
    done = desk.run("import", str(path), "--json")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(row["offset"] for row in rows if not row["topic"].endswith("waves")) == desk.sent
    assert desk.all_keys() == desk.first
    with Redis.from_url(desk.redis.url) as client:
        days = desk.site.settings.redis_expiry_days
        lives = {client.ttl(key) for key in client.scan_iter() if not key.endswith(b"layout")}
    assert max(lives) <= days * 86_400
    assert min(lives) > days * 86_400 - 60

    desk.send(1_500, 500)
    worker = start(desk.site, "second")
    desk.wait_stored(worker)
    assert desk.differences() == []
    counted = f'surgewatch_records_total{{result="counted",topic="{follows}"}}'
    assert worker.metrics()[counted] == 500
    small = tmp_path / "small.backup"
    under = desk.run("export", "--out", str(small), "--partition", "1", "--json")
    assert under.exit_code == 0, under.output
    assert {json.loads(line)["partition"] for line in under.stdout.splitlines()} == {1}
    assert "is there already" in desk.run("export", "--out", str(small)).stderr
    assert [*tmp_path.glob("*.part")] == []
    assert "a worker had it" in desk.run("import", str(path), "--force").stderr
    assert worker.stop() == 0

    desk.calm()
    newer = desk.all_keys()
    refused = desk.run("import", str(path))
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "Redis holds newer state" in refused.stderr
    assert desk.all_keys() == newer
    forced = desk.run("import", str(path), "--force")
    assert forced.exit_code == 0, forced.output
    assert desk.all_keys() == desk.first
    third = start(desk.site, "third")
    desk.wait_stored(third)
    assert desk.differences() == []
    assert third.stop() == 0


@pytest.mark.parametrize("writes", [1, 99])
def test_a_partition_written_while_it_is_read_is_read_again_and_never_mixed(
    exported: tuple[Desk, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    desk, path = exported
    desk.flush()
    assert desk.run("import", str(path)).exit_code == 0
    place = Place(desk.site.settings.topic_follows, 1)
    stem = f"{desk.site.name}:{{{place.topic}:{place.partition}}}"
    read, tries = RedisStates.hashes, list[int]()

    async def written_meanwhile(
        states: RedisStates, here: Place, meta: Meta
    ) -> AsyncIterator[Hashes]:
        async for hashes in read(states, here, meta):
            yield hashes
        if here == place and len(tries) < writes:
            tries.append(1)
            with Redis.from_url(desk.redis.url) as client:
                client.hset(f"{stem}:outbox", f"written {len(tries)}", b"x")
                for field in ("begun", "done"):
                    client.hincrby(f"{stem}:meta", field, 1)

    monkeypatch.setattr(RedisStates, "hashes", written_meanwhile)
    out = tmp_path / "moving.backup"
    done = desk.run("export", "--out", str(out), "--partition", "1")
    if writes > 5:
        assert (done.exit_code, len(tries)) == (4, 5)
        assert "was written while it was read, 5 times over" in done.stderr
        assert [*tmp_path.iterdir()] == []
        return
    assert done.exit_code == 0, done.output
    told = [one for one in StateReader(out).blocks() if isinstance(one, Hashes)]
    names = [pairs[::2] for one in told for name, pairs in one.parts if name == "outbox"]
    assert names.count([b"written 1"]) == 1, "what the first try read is not there"


def _lose_a_field(client: Redis, stem: str) -> None:
    key = next(client.scan_iter(match=f"{stem}import:*:s:follows:0", count=1000))
    client.hdel(key, client.hkeys(key)[0])


def _lose_a_hash(client: Redis, stem: str) -> None:
    client.delete(next(client.scan_iter(match=f"{stem}import:*:s:follows:0", count=1000)))


def _write(client: Redis, stem: str) -> None:
    client.hincrby(f"{stem}meta", "begun", 1)


def _claim(client: Redis, stem: str) -> None:
    client.hset(f"{stem}meta", "written_s", client.time()[0])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_lose_a_field, "Redis has lost some of what was put together"),
        (_lose_a_hash, "Redis has lost some of what was put together"),
        (_write, "was changed meanwhile, so it was left as it is"),
        (_claim, "a worker had it 0 s ago"),
    ],
)
def test_what_happens_while_a_backup_is_put_together_leaves_the_partition_as_it_was(
    exported: tuple[Desk, Path],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Redis, str], None],
    words: str,
) -> None:
    desk, path = exported
    desk.flush()
    assert desk.run("import", str(path)).exit_code == 0
    place = Place(desk.site.settings.topic_follows, 1)
    stem = f"{desk.site.name}:{{{place.topic}:{place.partition}}}:"
    swap = RedisStates.swap

    async def spoilt(states: RedisStates, begins: PlaceBegins, *more: Any) -> None:
        if begins.place == place:
            with Redis.from_url(desk.redis.url) as client:
                client.hset(f"{stem}outbox", "kept", b"x")
                spoil(client, stem)
        await swap(states, begins, *more)

    monkeypatch.setattr(RedisStates, "swap", spoilt)
    result = desk.run("import", str(path))
    assert result.exit_code == 4, result.output
    assert words in result.stderr
    held = desk.all_keys()
    assert held.pop(f"{stem}outbox".encode())[b"kept"] == b"x"
    assert held == {key: v for key, v in desk.first.items() if key != f"{stem}outbox".encode()}


def test_a_worker_that_was_not_seen_is_refused_its_next_write_and_reads_again(
    exported: tuple[Desk, Path],
) -> None:
    desk, path = exported
    desk.flush()
    assert desk.run("import", str(path)).exit_code == 0
    place = Place(desk.site.settings.topic_follows, 1)

    async def write() -> None:
        client = async_client_of(desk.site.settings)
        policy = RedisStorePolicy(desk.site.name, 86_400, desk.redis.url)
        store = RedisStore(client, policy, time.monotonic)
        fence = await store.claim(place, 9)
        held = await store.read(place)
        assert held.next_offset is not None
        desk.calm()
        assert (await asyncio.to_thread(desk.run, "import", str(path))).exit_code == 0
        change = StateChange(held.state.watermark_ms, [], {})
        try:
            with pytest.raises(StateLost):
                await store.write(place, fence, Write(change, held.next_offset, held.next_offset))
        finally:
            await store.close()

    asyncio.run(write())
    assert desk.all_keys() == desk.first


def test_a_backup_goes_from_one_server_to_a_cluster_and_back(
    exported: tuple[Desk, Path], tmp_path: Path
) -> None:
    desk, path = exported
    with RedisCluster(tmp_path / "cluster") as cluster:
        site = replace(desk.site, redis_url=cluster.url)
        environ = dict(site.environ)
        there = CliRunner(env=environ).invoke(main, ["state", "import", str(path)])
        assert there.exit_code == 0, there.output
        held: dict[bytes, dict[bytes, bytes]] = {}
        for server in cluster.servers:
            with Redis.from_url(server.url) as client:
                held |= {key: client.hgetall(key) for key in client.scan_iter(count=1000)}
        for key, fields in desk.first.items():
            assert {name: held[key][name] for name in fields} == fields
        out = tmp_path / "of-the-cluster.backup"
        back = CliRunner(env=environ).invoke(main, ["state", "export", "--out", str(out)])
        assert back.exit_code == 0, back.output
    desk.flush()
    assert desk.run("import", str(out)).exit_code == 0
    assert desk.all_keys() == desk.first


def test_a_backup_that_does_not_fit_is_refused_in_one_line_and_nothing_changes(
    exported: tuple[Desk, Path], tmp_path: Path
) -> None:
    desk, path = exported
    desk.flush()
    assert desk.run("import", str(path)).exit_code == 0
    site = desk.site
    kept, expected = dict(site.more), desk.first

    def refused(*arguments: str, code: int = 4, **more: str) -> str:
        site.more = {**kept, **more}
        result = desk.run("import", *(arguments or (str(path),)))
        site.more = kept
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert result.stderr.count("\n") == 1, result.stderr
        assert desk.all_keys() == expected
        return result.stderr

    assert "of prefix state-" in refused(SURGEWATCH_REDIS_PREFIX="other")
    assert "of group state-" in refused(SURGEWATCH_KAFKA_GROUP="other")
    assert "of partitions 4, and here is 8" in refused(SURGEWATCH_TOPIC_PARTITIONS="8")
    assert "-follows[0] here" in refused(SURGEWATCH_TOPIC_FOLLOWS="nowhere")
    assert "no state of partition 9; it has 0, 1, 2, 3" in refused(str(path), "--partition", "9")
    nobody = "127.0.0.1:1"
    assert "reach Kafka" in refused(code=3, SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS=nobody)
    assert "reach Redis" in refused(code=3, SURGEWATCH_REDIS_URL=f"redis://{nobody}/0")
    damaged = tmp_path / "damaged"
    shutil.copy(path, damaged)
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size - 1)
    assert "its checksum is wrong" in refused(str(damaged))
    assert "cannot read" in refused(str(tmp_path / "none"))

    desk.flush()
    expected = {}
    offset = desk.first_offsets()[2]
    desk.send(2_000, 300)
    desk.delete_records(partition=2)
    assert f"needs the records from offset {offset} on, and Kafka's" in refused()
    desk.make_follows_again()
    assert "of topic state-" in refused()


def test_nothing_to_export_is_one_line_and_leaves_no_file(
    site_of: Callable[..., Site], tmp_path: Path
) -> None:
    site = site_of()
    for path in (tmp_path / "state.backup", tmp_path / "no" / "where"):
        result = CliRunner(env=dict(site.environ)).invoke(
            main, ["state", "export", "--out", str(path)]
        )
        assert (result.exit_code, result.stdout) == (4, "")
        assert "holds no state under" in result.stderr
        assert not path.exists()
