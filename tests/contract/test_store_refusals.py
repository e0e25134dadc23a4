"""A Redis that takes no writes for a while: nothing of a write is done, and it may be repeated."""

import asyncio
import resource
import time
from collections.abc import Callable

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from streams.core.partition import StateChange
from streams.edges.errors import RedisRefuses
from streams.edges.redis_store import RedisStore, RedisStorePolicy
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
        with pytest.raises(RedisRefuses, match=rf"takes no writes now \(.*{words}") as refused:
            await store.write(PLACE, fence, Write(NOTHING, 10, 20, {"t": b"{}"}))
        assert refused.value.retry
        held = await store.read(PLACE)
        assert (held.next_offset, list(held.outbox)) == (10, ["s"])
        harm(server, heal=True)
        await store.write(PLACE, fence, Write(NOTHING, 10, 20, {"t": b"{}"}))
        assert (await store.read(PLACE)).next_offset == 20
        await store.close()

    asyncio.run(body())
