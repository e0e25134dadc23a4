"""State in a Redis Cluster of real nodes, slots moved and nodes killed while workers write."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from redis import Redis

from streams.app.cli import main
from streams.app.worker.worker import redis_store_of
from streams.core.records.chunks import FollowChunk
from streams.core.records.texts import Texts
from streams.edges.errors import RedisRefuses, RedisUnreachable
from streams.edges.redis.client import AsyncClient, async_client_of
from streams.edges.redis.errors import CONNECTION_LOST
from streams.edges.redis.reader import RedisReader
from streams.edges.settings.reading import Settings
from streams.edges.store import Held, Place, Write
from tests.e2e.told_worker import ToldWorker, assert_plain
from tests.jobs import follow_partition
from tests.redis_cluster import RedisCluster
from tests.sender import Sender, assert_exact
from tests.servers import RedisServer
from tests.workers import Site, WorkerProcess, wait_until

pytestmark = pytest.mark.alone  # limits of time after a fault


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path / "cluster") as made:
        yield made


class Stream(threading.Thread):
    """Sends a share of the records while the test does something else."""

    def __init__(self, sender: Sender, share: float) -> None:
        super().__init__(daemon=True)
        self._sender = sender
        self._share = share
        self.start()

    def run(self) -> None:
        """Send."""
        asyncio.run(self._sender.send(self._share))


def stored(site: Site) -> int:
    topics = (site.settings.topic_follows, site.settings.topic_comments)
    return sum(sum(site.stored_offsets(topic).values()) for topic in topics)


def meta_of(site: Site, topic: str, partition: int) -> str:
    return f"{site.name}:{{{topic}:{partition}}}:meta"


def told_of(held: Held) -> tuple[Held, dict[str, dict[str, tuple[int, bytes]]]]:
    """All that is held, whatever the order in which a node names the fields of a hash."""
    series = {
        name: dict(zip(one.names, zip(one.groups, one.values, strict=True), strict=True))
        for name, one in held.state.series.items()
    }
    return replace(held, state=replace(held.state, series={})), series


def waits_more_than(before: int, text: Callable[[], str]) -> bool:
    return text().count("is being moved") > before


@pytest.mark.slow
def test_slots_moved_to_another_and_to_an_empty_node_while_two_workers_write_lose_nothing(
    cluster: RedisCluster,
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    site = site_of(redis_url=cluster.url)
    sender = Sender(site, 60_000)
    asyncio.run(sender.send(0.2))
    workers = [start(site, "first"), start(site, "second")]

    def text() -> str:
        return "".join(worker.text() for worker in workers)

    wait_until(sender.all_stored, 60, text)
    topics = (site.settings.topic_follows, site.settings.topic_comments)
    for number, (topic, partition) in enumerate(((topics[0], 1), (topics[1], 2), (topics[0], 3))):
        key = meta_of(site, topic, partition)
        source = cluster.owner_of(key)
        empty, others = cluster.servers[-1], cluster.servers[:-1]
        target = empty if number == 0 else next(one for one in others if one is not source)
        waits_before = text().count("is being moved")
        move = cluster.begin_move(key, target)
        move.move(2)
        assert move.keys_left > 0
        stream = Stream(sender, 0.2)
        # a write to a slot that is in two places was tried, and waits
        wait_until(partial(waits_more_than, waits_before, text), 60, text)
        stream.join(60)
        assert not stream.is_alive()
        move.finish()
        assert cluster.owner_of(key) is target
        wait_until(sender.all_stored, 60, text)
    asyncio.run(sender.send(0.2))
    wait_until(sender.all_stored, 60, text)
    assert_exact(sender)
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_half_moved_slot_is_read_whole_also_when_it_goes_to_a_node_that_had_none(
    cluster: RedisCluster,
) -> None:
    place = Place("follows", 0)

    async def body() -> None:
        settings = Settings(redis_url=cluster.url, redis_prefix="half")
        store = redis_store_of(settings, async_client_of(settings))
        fence = await store.claim(place, 1)
        partition = follow_partition()
        names = [f"c-{number}" for number in range(1_000)]
        at_ms = np.full(len(names), 1_736_899_200_000)
        partition.take(FollowChunk(Texts.of(names), at_ms, np.zeros(len(names), np.bool_)))
        await store.write(place, fence, Write(partition.drain(), None, len(names), {"s": b"{}"}))
        before = await store.read(place)
        assert len(before.state.series["follows"].values) == 1_000
        move = cluster.begin_move("half:{follows:0}:meta", cluster.servers[-1])
        while move.keys_left:
            move.move(1)
            assert told_of(await store.read(place)) == told_of(before)
            fence = await store.claim(place, fence.generation + 1)
        # keys that neither node has: a script that needs them is refused until the slot has moved
        newcomers = Texts.of(f"n-{number}" for number in range(1_000))
        partition.take(FollowChunk(newcomers, at_ms, np.zeros(len(newcomers), np.bool_)))
        more = Write(partition.drain(), len(names), 2_000)
        with pytest.raises(RedisRefuses, match="is being moved"):
            await store.write(place, fence, more)
        with RedisReader(settings) as reader, pytest.raises(RedisUnreachable, match="being moved"):
            reader.shelf(place)
        move.finish()
        with RedisReader(settings) as reader:
            assert reader.shelf(place).watermark_ms == 1_736_899_200_000
        await store.write(place, fence, more)
        after = await store.read(place)
        assert after.next_offset == 2_000
        assert len(after.state.series["follows"].values) == 2_000
        assert [held async for held in store.places()] == [place]
        await store.close()

    asyncio.run(asyncio.wait_for(body(), 120))


@pytest.mark.slow
def test_a_node_killed_and_back_while_workers_write_loses_nothing(
    cluster: RedisCluster,
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    site = site_of(redis_url=cluster.url)
    sender = Sender(site, 40_000)
    asyncio.run(sender.send(0.4))
    worker = start(site, "worker")
    wait_until(lambda: stored(site) > 3_000, 60, worker.text)
    victim = cluster.owner_of(meta_of(site, site.settings.topic_follows, 0))
    victim.kill()
    asyncio.run(sender.send(0.3))
    wait_until(lambda: "waiting for the store" in worker.text(), 30, worker.text)
    victim.restart()
    cluster.wait_whole()
    asyncio.run(sender.send(0.3))
    wait_until(sender.all_stored, 60, worker.text)
    assert_exact(sender)
    assert worker.stop() == 0


def test_a_cluster_of_which_one_node_may_evict_is_refused_at_the_start_and_later(
    cluster: RedisCluster,
    site_of: Callable[..., Site],
    told: Callable[[Site, str], ToldWorker],
) -> None:
    site = site_of(redis_url=cluster.url, SURGEWATCH_CHECK_INTERVAL_MS="200")
    running = told(site, "running")
    wait_until(lambda: "reading" in running.text(), 40, running.text)
    evicting = cluster.servers[1]
    with Redis.from_url(evicting.url) as client:
        client.config_set("maxmemory", 100 * 2**20)
        client.config_set("maxmemory-policy", "volatile-lru")
    for worker in (running, told(site, "starting")):
        assert worker.wait(40) == 4, worker.text()
        assert_plain(worker, f":{evicting.port}", "maxmemory-policy is volatile-lru")
        assert worker.counters()["bad_input:redis_evicts"] == 1


def test_commands_side_by_side_fail_only_in_ways_that_are_waited_out_while_a_node_is_down(
    cluster: RedisCluster,
) -> None:
    met: set[type[Exception]] = set()

    async def ask_on(client: AsyncClient, number: int, end: asyncio.Event) -> None:
        while not end.is_set():
            try:
                await client.hset(f"key-{number}", "field", "x" * 5_000)
                pipeline = client.pipeline(transaction=False)
                for near in range(number, number + 3):
                    pipeline.hgetall(f"key-{near}")
                await pipeline.execute()
            except CONNECTION_LOST as error:  # anything else ends this task, and is told below
                met.add(type(error))
                await asyncio.sleep(0)

    async def body() -> None:
        client = async_client_of(Settings(redis_url=cluster.url, redis_timeout_ms=500))
        end = asyncio.Event()
        asking = [asyncio.create_task(ask_on(client, number, end)) for number in range(60)]
        for victim in cluster.servers[:2]:
            victim.kill()
            met.clear()
            while not met or await asyncio.to_thread(cluster.is_whole, cluster.servers[2]):
                await asyncio.sleep(0.05)
            await asyncio.to_thread(victim.restart)
            await asyncio.to_thread(cluster.wait_whole)
        end.set()
        await asyncio.gather(*asking)
        await client.aclose()

    asyncio.run(asyncio.wait_for(body(), 120))


@pytest.mark.slow
def test_counts_are_read_from_a_cluster(
    cluster: RedisCluster,
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    site = site_of(redis_url=cluster.url)
    sender = Sender(site, 10_000)
    asyncio.run(sender.send(1.0))
    worker = start(site, "worker")
    wait_until(sender.all_stored, 60, worker.text)
    told = CliRunner(env=site.environ).invoke(main, ["counts", "--all", "--idle", "--json"])
    assert told.exit_code == 0, told.output
    lines = [msgspec.json.decode(line) for line in told.stdout.splitlines()]
    follows = {line["creator_id"]: line["follows_24h"] for line in lines if line["follows_24h"]}
    ledger = sender.ledger.buckets["follows"]
    assert follows == {creator: sum(row.values()) for creator, row in ledger.items()}
    creator = max(follows, key=lambda name: follows[name])
    one = CliRunner(env=site.environ).invoke(main, ["counts", "--creator", creator, "--json"])
    assert msgspec.json.decode(one.stdout)["follows_24h"] == follows[creator]
    found = told_by_doctor(site)
    assert {name for name, status in found.items() if status == "not_checked"} == set()
    assert {name for name, status in found.items() if status == "error"} == set()
    assert worker.stop() == 0
    with Redis.from_url(cluster.servers[2].url) as client:
        client.config_set("maxmemory", 100 * 2**20)
        client.config_set("maxmemory-policy", "volatile-lru")
    assert told_by_doctor(site)["redis.eviction"] == "error"


def told_by_doctor(site: Site) -> dict[str, str]:
    """The status of each finding about Redis and lag."""
    told = CliRunner(env=site.environ).invoke(main, ["doctor", "--json"])
    found = msgspec.json.decode(told.stdout)["findings"]
    return {one["id"]: one["status"] for one in found if one["group"] in {"redis", "lag"}}


def test_a_cluster_spoken_to_as_one_server_and_the_reverse_are_told_with_the_right_url(
    cluster: RedisCluster,
    redis_server: RedisServer,
    site_of: Callable[..., Site],
    start: Callable[[Site, str], WorkerProcess],
) -> None:
    for place, (url, words) in enumerate(
        (
            (cluster.servers[0].url, "redis-cluster:// instead of redis://"),
            (
                redis_server.url.replace("redis://", "redis-cluster://"),
                "redis:// instead of redis-cluster://",
            ),
        )
    ):
        site = site_of(SURGEWATCH_REDIS_URL=url, SURGEWATCH_START_SECONDS_MAX="0")
        worker = start(site, f"worker-{place}")
        assert worker.wait(40) == 2, worker.text()
        (line,) = [one for one in worker.text().splitlines() if one.startswith("surgewatch: ")]
        assert words in line
        for number in range(6):  # prefixes whose keys lie on this node and on others
            other = site.environ | {"SURGEWATCH_REDIS_PREFIX": f"prefix-{number}"}
            counts = CliRunner(env=other).invoke(main, ["counts", "--all"])
            assert counts.exit_code == 2, counts.output
            assert words in counts.stderr
            asked = Site(site.bootstrap, url, f"prefix-{number}", site.folder, site.more)
            assert told_by_doctor(asked)["redis.url"] == "error"
