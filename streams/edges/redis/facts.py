"""What Redis says of itself and of what is stored under our prefix; nothing is changed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from redis.asyncio import RedisCluster as AsyncRedisCluster
from redis.exceptions import NoPermissionError, ResponseError

from streams.edges.errors import RedisUnreachable
from streams.edges.redis.client import RedisNode, async_client_of, is_cluster, nodes_of
from streams.edges.redis.errors import CONNECTION_LOST, refused_of
from streams.edges.redis.probe import explained
from streams.edges.redis.rights import Refused, read_refused
from streams.edges.redis.servers import PACKED, RedisServers
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import url_without_password

T = TypeVar("T")
_ANSWERS_MAX: Final = 200
_ANSWERS_SECONDS_MAX: Final = 1.0
_ASKED: Final = ("appendfsync", *PACKED)


class NodeFacts(NamedTuple):
    """One server that takes writes; ``name`` is empty where there is only one.

    What the user may not ask for is None; ``answer_ms`` are the times of single answers, sorted.
    """

    name: str
    info: Mapping[str, Any] | None
    settings: Mapping[str, str] | None
    answer_ms: Sequence[float] | None
    refused: Refused | None


class RedisFacts(NamedTuple):
    """All servers; by how much our clock is ahead of the nearest (None: may not be asked).

    ``unserved`` says what is wrong with a cluster; None: nothing, or it is none.
    """

    nodes: tuple[NodeFacts, ...]
    clock_off_ms: int | None
    unserved: str | None


async def read_redis(settings: Settings, now_ms: Callable[[], int]) -> RedisFacts:
    """Ask every server. Raises RedisUnreachable, SettingsError, DataError."""
    url_shown = url_without_password(settings.redis_url)
    client = async_client_of(settings)
    try:
        nodes = await nodes_of(client)
        told = [await _node(node, settings.redis_prefix) for node in nodes]
        off_ms = await RedisServers(client, url_shown).clock_off_ms(now_ms)
        unserved = await _unserved(nodes)
    except ResponseError as error:
        raise refused_of(url_shown, error) from error
    except CONNECTION_LOST as error:
        raise await asyncio.to_thread(explained, url_shown, error) from error
    finally:
        await client.aclose()
    if is_cluster(settings.redis_url) and not told:
        raise RedisUnreachable(url_shown, "no node of it takes writes")
    return RedisFacts(tuple(told), off_ms, unserved)


async def _node(node: RedisNode, prefix: str) -> NodeFacts:
    return NodeFacts(
        node.name,
        refused=await read_refused(node, prefix),
        info=await _allowed(node.info),
        settings=await _allowed(lambda: _settings(node)),
        answer_ms=await _allowed(lambda: _answer_ms(node)),
    )


async def _answer_ms(node: RedisNode) -> list[float]:
    """Of TIME: PING is an error while the disk is full, and a worker's user may not use it."""
    times: list[float] = []
    ends = time.perf_counter() + _ANSWERS_SECONDS_MAX
    while len(times) < _ANSWERS_MAX and (not times or time.perf_counter() < ends):
        begun = time.perf_counter()
        await node.time()
        times.append(1000 * (time.perf_counter() - begun))
    return sorted(times)


async def _settings(node: RedisNode) -> dict[str, str]:
    told = {name: await node.setting(name) for name in _ASKED}
    return {name: value for name, value in told.items() if value is not None}


async def _unserved(nodes: Sequence[RedisNode]) -> str | None:
    """What a cluster says of slots that nobody serves."""
    for node in nodes:
        client = node.client
        if isinstance(client, AsyncRedisCluster):
            info = await _allowed(partial(client.cluster_info, **node.target))
            if info is not None and info.get("cluster_state") != "ok":
                return f"{node.name} says {info.get('cluster_state')}"
    return None


async def _allowed(ask: Callable[[], Awaitable[T]]) -> T | None:
    """Answer to a question; None: the user may not ask it."""
    try:
        return await ask()
    except NoPermissionError:
        return None
