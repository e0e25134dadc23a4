"""State that went back or was torn: what a writer is told, and what is left after a drop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from streams.core.partition_state import StateChange, StoredState
from streams.edges.errors import RedisUnreachable
from streams.edges.redis.store import RedisStore, RedisStorePolicy
from streams.edges.store import (
    FencedOff,
    MemoryStore,
    Place,
    StateLost,
    StateTorn,
    Store,
    Write,
)
from tests.jobs import follow_partition, follows
from tests.servers import RedisServer

PLACE = Place("follows", 3)
NEIGHBOUR = Place("follows", 30)
NOTHING = StateChange(-1, [], {})
META = "test:{follows:3}:meta"


def on_redis(
    server: RedisServer, test: Callable[[RedisStore, Redis], Awaitable[None]], prefix: str = "test"
) -> None:
    async def body() -> None:
        client = Redis.from_url(server.url)
        store = RedisStore(client, RedisStorePolicy(prefix, 86_400, server.url), time.monotonic)
        await test(store, client)
        await store.close()

    asyncio.run(body())


def change(creators: int) -> StateChange:
    partition = follow_partition(2)
    partition.take(follows([(f"c-{i}", 1_736_899_200_000 + i, False) for i in range(creators)] * 3))
    return partition.drain()


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_a_drop_leaves_the_claim_and_the_outbox_of_that_partition_alone(
    redis_factory: Callable[[], RedisServer], kind: str
) -> None:
    async def test(store: Store, _: Redis | None = None) -> None:
        for place in (PLACE, NEIGHBOUR):
            fence = await store.claim(place, 1)
            await store.write(place, fence, Write(change(300), None, 900, {"told": b"{}"}))
        neighbour = await store.read(NEIGHBOUR)
        fence = await store.claim(PLACE, 1)
        await store.drop(PLACE, fence)
        held = await store.read(PLACE)
        assert (held.next_offset, held.state) == (None, StoredState())
        assert held.outbox == {"told": b"{}"}
        assert await store.read(NEIGHBOUR) == neighbour
        await store.write(PLACE, fence, Write(change(3), None, 9))
        assert (await store.read(PLACE)).next_offset == 9
        await store.claim(PLACE, 2)
        with pytest.raises(FencedOff):
            await store.drop(PLACE, fence)
        assert (await store.read(PLACE)).next_offset == 9

    if kind == "memory":
        asyncio.run(test(MemoryStore()))
    else:
        on_redis(redis_factory(), test)


def test_a_torn_partition_takes_no_write_and_is_not_read_until_it_is_dropped(
    redis_factory: Callable[[], RedisServer],
) -> None:
    async def test(store: RedisStore, client: Redis) -> None:
        fence = await store.claim(PLACE, 1)
        await store.write(PLACE, fence, Write(change(300), None, 900))
        # what a Redis that is started again carries out of a half: its first commands
        await client.hincrby(META, "begun", 1)
        await client.hset("test:{follows:3}:s:follows:77", "c-1", b"of another moment")
        with pytest.raises(StateTorn, match=r"follows\[3\]: half of a write"):
            await store.write(PLACE, fence, Write(NOTHING, 900, 901))
        with pytest.raises(StateTorn):
            await store.read(PLACE)
        await store.drop(PLACE, fence)
        assert sorted(await client.keys("*")) == [META.encode()]
        await store.write(PLACE, fence, Write(NOTHING, None, 5))
        assert (await store.read(PLACE)).next_offset == 5

    on_redis(redis_factory(), test)


def test_a_redis_taken_back_to_an_earlier_claim_of_the_same_generation_is_not_a_second_writer(
    redis_factory: Callable[[], RedisServer],
) -> None:
    async def test(store: RedisStore, client: Redis) -> None:
        first = await store.claim(PLACE, 5)
        await store.write(PLACE, first, Write(NOTHING, None, 10))
        before = await client.dump(META)
        assert before is not None
        second = await store.claim(PLACE, 5)
        with pytest.raises(FencedOff):  # a lane of our own that was let go
            await store.write(PLACE, first, Write(NOTHING, 10, 20))
        await client.restore(META, 0, before, replace=True)
        with pytest.raises(StateLost, match="at offset 10 as it should, but not by our claim"):
            await store.write(PLACE, second, Write(NOTHING, 10, 20))
        third = await store.claim(PLACE, 5)
        await store.write(PLACE, third, Write(NOTHING, 10, 20))
        assert (await store.read(PLACE)).next_offset == 20

    on_redis(redis_factory(), test)


def test_another_worker_of_the_same_generation_fences_off(
    redis_factory: Callable[[], RedisServer],
) -> None:
    server = redis_factory()

    async def test(store: RedisStore, client: Redis) -> None:
        policy = RedisStorePolicy("test", 86_400, server.url)
        other = RedisStore(client, policy, time.monotonic)
        for _ in range(3):  # its number of claims is higher, and means nothing
            await other.claim(PLACE, 5)
        ours = await store.claim(PLACE, 5)
        await other.claim(PLACE, 5)
        with pytest.raises(FencedOff):
            await store.write(PLACE, ours, Write(NOTHING, None, 10))

    on_redis(server, test)


def test_a_redis_that_started_under_a_worker_writes_its_file_anew_after_the_next_write(
    redis_factory: Callable[[], RedisServer],
) -> None:
    server = redis_factory()

    async def test(store: RedisStore, client: Redis) -> None:
        async def rewrites() -> int:
            return int((await client.info("persistence"))["aof_rewrites"])

        fence = await store.claim(PLACE, 1)
        await store.write(PLACE, fence, Write(NOTHING, None, 10))
        await asyncio.to_thread(server.restart)
        with pytest.raises(RedisUnreachable):
            await store.write(PLACE, fence, Write(NOTHING, 10, 20))
        await store.write(PLACE, fence, Write(NOTHING, 10, 20))
        assert await rewrites() == 1
        await store.write(PLACE, fence, Write(NOTHING, 20, 30))
        assert await rewrites() == 1

    on_redis(server, test)


def test_a_redis_that_has_written_its_file_anew_since_its_start_is_not_asked_to_once_more(
    redis_factory: Callable[[], RedisServer],
) -> None:
    async def test(store: RedisStore, client: Redis) -> None:
        async def persistence(field: str) -> Any:
            return (await client.info("persistence"))[field]

        await client.bgrewriteaof()
        async with asyncio.timeout(20):
            while await persistence("aof_last_rewrite_time_sec") < 0:
                await asyncio.sleep(0.05)
        before = await persistence("aof_rewrites")
        fence = await store.claim(PLACE, 1)
        await store.write(PLACE, fence, Write(NOTHING, None, 10))
        assert await persistence("aof_rewrites") == before

    on_redis(redis_factory(), test)
