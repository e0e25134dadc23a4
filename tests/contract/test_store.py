"""What every store promises; the memory store and Redis (and Valkey) all pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from redis.asyncio import Redis

from streams.core.partition_state import StateChange, StoredState
from streams.edges.errors import DataError, RedisUnreachable
from streams.edges.process.embedded import EmbeddedValkey
from streams.edges.redis.store import RedisStore, RedisStorePolicy
from streams.edges.store import (
    FencedOff,
    MemoryStore,
    Place,
    StateLost,
    Store,
    StoreDiffers,
    StoreKind,
    Write,
)
from tests.jobs import FollowKind, contents_of, follow_partition, follows, stored_of
from tests.servers import RedisServer

PLACE = Place("follows", 3)
BEGIN_MS = 1_736_899_200_000


@pytest.fixture(params=["memory", "redis", "valkey"])
def store_of(
    request: pytest.FixtureRequest, fresh_name: Callable[[str], str]
) -> Callable[[], Store]:
    """Makes stores that share what they hold, as workers do."""
    if request.param == "memory":
        memory = MemoryStore()
        return lambda: memory
    url: str = request.getfixturevalue(f"{request.param}_server").url
    policy = RedisStorePolicy(fresh_name("test"), 86_400, url)
    return lambda: RedisStore(Redis.from_url(url), policy, time.monotonic)


@pytest.fixture(scope="module")
def valkey_server() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


def run(test: Callable[[Store], Awaitable[None]], store_of: Callable[[], Store]) -> None:
    async def body() -> None:
        store = store_of()
        try:
            await test(store)
        finally:
            await store.close()

    asyncio.run(body())


def follow_many(creators: int, begin_ms: int = BEGIN_MS) -> list[FollowKind]:
    return [(f"c-{i}", begin_ms + i * 7, False) for i in range(creators)]


NOTHING = StateChange(-1, [], {})


def test_what_is_written_is_read_back_byte_for_byte(store_of: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        partition = follow_partition(2)
        fence = await store.claim(PLACE, 1)
        surges = partition.take(follows(follow_many(1000) * 2)).surges
        first = partition.drain()
        write = Write(first, None, 2000, {s.surge_id: b"{}" for s in surges})
        assert await store.write(PLACE, fence, write) > 0
        partition.take(follows(follow_many(300, BEGIN_MS + 900_000)))
        second = partition.drain()
        await store.write(PLACE, fence, Write(second, 2000, 2300, {}, [surges[0].surge_id]))
        held = await store.read(PLACE)
        assert held.next_offset == 2300
        assert held.state.watermark_ms == second.watermark_ms
        expected = {
            n: {**v, **contents_of(second).get(n, {})} for n, v in contents_of(first).items()
        }
        assert stored_of(held.state) == expected
        surges_held = {**first.surges, **second.surges}
        assert held.state.surges == {k: v for k, v in surges_held.items() if v is not None}
        assert list(held.outbox) == sorted(s.surge_id for s in surges[1:])
        restored = follow_partition(2)
        restored.restore(held.state)
        again = [("c-5", BEGIN_MS + 1_300_000, False)]
        assert restored.take(follows(again)) == partition.take(follows(again))
        assert contents_of(restored.drain()) == contents_of(partition.drain())

    run(body, store_of)


def test_nothing_is_held_of_an_unknown_partition(store_of: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        held = await store.read(Place("follows", 99))
        assert (held.next_offset, held.state, held.outbox) == (None, StoredState(), {})

    run(body, store_of)


def test_an_older_claim_cannot_write_and_an_older_generation_cannot_claim(
    store_of: Callable[[], Store],
) -> None:
    async def body(store: Store) -> None:
        old = await store.claim(PLACE, 7)
        await store.write(PLACE, old, Write(NOTHING, None, 10))
        new = await store.claim(PLACE, 8)
        with pytest.raises(FencedOff):
            await store.write(PLACE, old, Write(NOTHING, 10, 20))
        with pytest.raises(FencedOff):
            await store.claim(PLACE, 7)
        assert (await store.read(PLACE)).next_offset == 10
        await store.write(PLACE, new, Write(NOTHING, 10, 30))
        assert (await store.read(PLACE)).next_offset == 30

    run(body, store_of)


def test_a_write_on_top_of_another_offset_changes_nothing(store_of: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        fence = await store.claim(PLACE, 1)
        partition = follow_partition()
        partition.take(follows(follow_many(5)))
        change = partition.drain()
        with pytest.raises(StateLost):
            await store.write(PLACE, fence, Write(change, 5, 10))
        held = await store.read(PLACE)
        assert (held.next_offset, stored_of(held.state)) == (None, {})
        await store.write(PLACE, fence, Write(change, None, 10))
        with pytest.raises(StateLost):
            await store.write(PLACE, fence, Write(change, 5, 11))
        assert (await store.read(PLACE)).next_offset == 10

    run(body, store_of)


def test_a_repeated_write_does_no_harm(store_of: Callable[[], Store]) -> None:
    async def body(store: Store) -> None:
        fence = await store.claim(PLACE, 1)
        partition = follow_partition()
        partition.take(follows(follow_many(50)))
        write = Write(partition.drain(), None, 50, {"a": b"1"})
        await store.write(PLACE, fence, write)
        before = await store.read(PLACE)
        await store.write(PLACE, fence, write)
        assert await store.read(PLACE) == before

    run(body, store_of)


def test_a_store_that_lost_everything_says_so(
    redis_factory: Callable[[], RedisServer],
) -> None:
    async def body() -> None:
        server = redis_factory()
        client = Redis.from_url(server.url)
        store = RedisStore(client, RedisStorePolicy("t", 86_400, server.url), time.monotonic)
        fence = await store.claim(PLACE, 1)
        await store.write(PLACE, fence, Write(NOTHING, None, 10))
        await client.flushall()
        with pytest.raises(StateLost):
            await store.write(PLACE, fence, Write(NOTHING, 10, 20))
        await store.close()

    asyncio.run(body())


def test_every_key_expires_by_itself(
    redis_server: RedisServer, fresh_name: Callable[[str], str]
) -> None:
    async def body() -> None:
        client = Redis.from_url(redis_server.url)
        prefix = fresh_name("test")
        policy = RedisStorePolicy(prefix, 86_400, redis_server.url)
        store = RedisStore(client, policy, time.monotonic)
        partition = follow_partition(2)
        fence = await store.claim(PLACE, 1)
        surges = partition.take(follows(follow_many(500) * 2)).surges
        assert surges
        await store.write(PLACE, fence, Write(partition.drain(), None, 1000, {"a": b"1"}))
        keys = [key async for key in client.scan_iter(match=f"{prefix}:*")]
        assert len(keys) > 6
        for key in keys:
            assert 0 < await client.ttl(key) <= 86_400, key
        await store.close()

    asyncio.run(body())


def test_another_layout_detector_or_partition_count_is_refused_with_a_plain_line(
    redis_server: RedisServer, fresh_name: Callable[[str], str]
) -> None:
    async def body() -> None:
        client = Redis.from_url(redis_server.url)
        prefix = fresh_name("test")
        store = RedisStore(
            client, RedisStorePolicy(prefix, 86_400, redis_server.url), time.monotonic
        )
        await store.check(StoreKind(4, "surgewatch", "g"))
        await store.check(StoreKind(4, "surgewatch", "g"))
        with pytest.raises(DataError, match=r"group g .*but group other is wanted"):
            await store.check(StoreKind(4, "surgewatch", "other"))
        with pytest.raises(DataError, match="partitions 4"):
            await store.check(StoreKind(8, "surgewatch", "g"))
        await client.hset(f"{prefix}:layout", "layout", "9")
        with pytest.raises(DataError, match="layout 9"):
            await store.check(StoreKind(4, "surgewatch", "g"))
        await store.close()

    asyncio.run(body())


def test_of_fleets_that_start_at_once_one_settles_everything(
    redis_server: RedisServer, fresh_name: Callable[[str], str]
) -> None:
    async def body() -> None:
        prefix = fresh_name("test")
        policy = RedisStorePolicy(prefix, 86_400, redis_server.url)
        kinds = [
            StoreKind(4 + n, f"a.D{n}", f"g{n}", f"k{n}", (("t", f"i{n}"),)) for n in range(20)
        ]
        stores = [
            RedisStore(Redis.from_url(redis_server.url), policy, time.monotonic) for _ in kinds
        ]
        checks = [store.check(kind) for store, kind in zip(stores, kinds, strict=True)]
        answers = await asyncio.gather(*checks, return_exceptions=True)
        assert sum(answer is None for answer in answers) == 1
        assert sum(isinstance(answer, StoreDiffers) for answer in answers) == len(kinds) - 1
        winner = kinds[answers.index(None)]
        async with Redis.from_url(redis_server.url) as client:
            held = await client.hgetall(f"{prefix}:layout")
        assert held == {
            b"layout": b"3",
            b"partitions": str(winner.partitions).encode(),
            b"detector": winner.detector.encode(),
            b"group": winner.group.encode(),
            b"kafka_cluster": str(winner.cluster_id).encode(),
            b"topic_id:t": winner.topic_ids[0][1].encode(),
        }
        for store in stores:
            await store.close()

    asyncio.run(body())


def test_no_redis_is_an_unreachable_error_that_names_it() -> None:
    async def body() -> None:
        url = "redis://127.0.0.1:1/0"
        store = RedisStore(Redis.from_url(url), RedisStorePolicy("t", 86_400, url), time.monotonic)
        with pytest.raises(RedisUnreachable, match=r"127\.0\.0\.1:1"):
            await store.check(StoreKind(4, "surgewatch", "g"))
        await store.close()

    asyncio.run(body())
