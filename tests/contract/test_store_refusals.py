"""A Redis that takes no writes for a while: nothing of a write is done, and it may be repeated."""

import asyncio
import resource
import time
from collections.abc import Callable

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from streams.core.partition_state import StateChange
from streams.edges.errors import RedisRefuses, RedisUnreachable
from streams.edges.redis.store import RedisStore, RedisStorePolicy
from streams.edges.store import Place, Write
from tests.servers import RedisServer
from tests.workers import wait_until

PLACE = Place("follows", 3)
NOTHING = StateChange(-1, [], {})


def fill_memory(server: RedisServer, *, heal: bool) -> None:
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 0 if heal else 1)


def make_replica(server: RedisServer, *, heal: bool) -> None:
    with Redis.from_url(server.url) as client:
        client.slaveof() if heal else client.slaveof("127.0.0.1", 1)


def fill_disk(server: RedisServer, *, heal: bool) -> None:
    assert server.pid is not None
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if heal else 1, -1))
    wanted, unwanted = ("ok", "err") if heal else ("err", "ok")

    def seen() -> bool:  # Redis finds out with its next write to the file
        with Redis.from_url(server.url) as client:
            status = client.info("persistence")["aof_last_write_status"]
            if status == unwanted == "ok":
                client.set("filler", "x")
            return bool(status == wanted)

    wait_until(seen, 20, "the disk's state seen")


@pytest.mark.parametrize(
    ("harm", "words"),
    [(fill_memory, "maxmemory"), (make_replica, "replica"), (fill_disk, "MISCONF")],
)
def test_a_write_that_redis_cannot_take_now_is_asked_again_and_nothing_of_it_is_done(
    redis_factory: Callable[..., RedisServer], harm: Callable[..., None], words: str
) -> None:
    server = redis_factory()

    async def body() -> None:
        policy = RedisStorePolicy("test", 86_400, server.url)
        store = RedisStore(AsyncRedis.from_url(server.url), policy, time.monotonic)
        fence = await store.claim(PLACE, 1)
        await store.write(PLACE, fence, Write(NOTHING, None, 10, {"s": b"{}"}))
        harm(server, heal=False)
        with pytest.raises(RedisRefuses, match=rf"takes no writes now.*{words}") as refused:
            await store.write(PLACE, fence, Write(NOTHING, 10, 20, {"t": b"{}"}))
        assert refused.value.retry
        held = await store.read(PLACE)
        assert (held.next_offset, list(held.outbox)) == (10, ["s"])
        harm(server, heal=True)
        await store.write(PLACE, fence, Write(NOTHING, 10, 20, {"t": b"{}"}))
        assert (await store.read(PLACE)).next_offset == 20
        await store.close()

    asyncio.run(body())


def test_a_file_that_a_full_disk_damaged_is_written_anew_so_that_redis_starts_again(
    redis_factory: Callable[..., RedisServer],
) -> None:
    server = redis_factory()

    def limit(size_bytes: int) -> None:
        assert server.pid is not None
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    def seen(client: Redis, field: str, wanted: object) -> Callable[[], bool]:
        return lambda: client.info("persistence")[field] == wanted

    async def body(client: Redis) -> None:
        policy = RedisStorePolicy("test", 86_400, server.url)
        store = RedisStore(AsyncRedis.from_url(server.url), policy, time.monotonic)
        fence = await store.claim(PLACE, 1)
        await store.write(PLACE, fence, Write(NOTHING, None, 10, {"s": b"{}"}))
        wait_until(seen(client, "aof_rewrite_in_progress", 0), 20, "the rewrite after the start")
        [file] = (server.folder / "appendonlydir").glob("*.incr.aof")
        limit(file.stat().st_size + 50)  # the next write ends in its middle
        await store.write(PLACE, fence, Write(NOTHING, 10, 20))
        wait_until(seen(client, "aof_last_write_status", "err"), 20, "the full disk seen")
        with pytest.raises(RedisRefuses):
            await store.write(PLACE, fence, Write(NOTHING, 20, 30))
        limit(resource.RLIM_INFINITY)
        wait_until(seen(client, "aof_last_write_status", "ok"), 20, "room again")
        rewrites = int(client.info("persistence")["aof_rewrites"])
        await store.write(PLACE, fence, Write(NOTHING, 20, 30))
        wait_until(seen(client, "aof_rewrites", rewrites + 1), 20, "another rewrite")
        wait_until(seen(client, "aof_rewrite_in_progress", 0), 20, "its end")
        server.kill()
        server.start()
        with pytest.raises(RedisUnreachable):  # its connection was of the Redis before
            await store.read(PLACE)
        assert (await store.read(PLACE)).next_offset == 30
        await store.close()

    with Redis.from_url(server.url) as client:
        asyncio.run(body(client))
