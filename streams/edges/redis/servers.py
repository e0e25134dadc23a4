"""Checks of the Redis servers themselves: that they never evict, how full they are, packing."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from streams.edges.errors import DataError, SettingsError
from streams.edges.logs.lines import logger_of
from streams.edges.redis.client import AsyncClient, nodes_of
from streams.edges.redis.errors import (
    CONNECTION_LOST,
    node_of_cluster,
    refused_of,
    unreachable_of,
)
from streams.edges.redis.probe import explained

PACKED: Final = {"hash-max-listpack-value": "256"}
"""What a Redis of ours is given: a creator with up to 32 busy buckets a day stays packed."""
NEAR_FULL: Final = 0.9
_NO_EVICTION: Final = "noeviction"

log = logger_of(__name__)


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one server in bytes; ``max_bytes`` 0: no limit."""

    used_bytes: int
    max_bytes: int
    policy: str
    evicted_keys: int

    @property
    def may_evict(self) -> bool:
        """Whether keys may be dropped. Ours expire, so ``volatile-…`` drops them too."""
        return self.max_bytes > 0 and self.policy != _NO_EVICTION

    @property
    def share(self) -> float:
        """Part of the limit that is used; 0 without a limit."""
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0


def memory_of(info: Mapping[str, Any]) -> Memory:
    """Memory as INFO tells it.

    >>> memory_of({"used_memory": 9, "maxmemory": 10, "maxmemory_policy": "noeviction"}).share
    0.9
    """
    return Memory(
        int(info.get("used_memory", 0)),
        int(info.get("maxmemory", 0)),
        str(info.get("maxmemory_policy", _NO_EVICTION)),
        int(info.get("evicted_keys", 0)),
    )


def eviction_words(memory: Memory) -> tuple[str, str]:
    """What is wrong with a server that may evict, and what to do."""
    problem = (
        f"may evict keys: maxmemory is {memory.max_bytes} bytes and maxmemory-policy is "
        f"{memory.policy}, which loses counts in silence"
    )
    fix = (
        "Set maxmemory-policy noeviction (redis-cli CONFIG SET, and redis.conf), or give "
        "Surgewatch a Redis of its own"
    )
    return problem, fix


class EvictsKeys(DataError):
    """Redis drops keys, or did: counts would be missing and nobody would know."""


class RedisServers:
    """The servers behind a client; asked at the start and again while running."""

    def __init__(self, client: AsyncClient, url_shown: str) -> None:
        self._client = client
        self._url_shown = url_shown
        self._evicted: dict[str, int] = {}
        self._is_near_full = False
        self._was_forbidden = False

    async def check(self) -> Memory | None:
        """Memory of the fullest server; None: the user may not ask for it.

        Raises EvictsKeys, SettingsError for a cluster's node spoken to alone, RedisUnreachable.
        """
        try:
            infos = {node.name: await node.info() for node in await nodes_of(self._client)}
        except NoPermissionError:
            if not self._was_forbidden:
                log.warning(
                    "redis_info_forbidden",
                    "whether Redis may evict keys cannot be seen: its user may not run INFO",
                )
            self._was_forbidden = True
            return None
        except ResponseError as error:
            raise refused_of(self._url_shown, error) from error
        except CONNECTION_LOST as error:
            raise await asyncio.to_thread(explained, self._url_shown, error) from error
        if "" in infos and infos[""].get("cluster_enabled"):
            raise SettingsError(node_of_cluster(self._url_shown))
        memories = {name: memory_of(info) for name, info in infos.items()}
        for name, memory in sorted(memories.items()):
            self._check_one(name, memory)
        fullest = max(memories.values(), key=lambda memory: (memory.share, memory.used_bytes))
        self._warn(fullest)
        return fullest

    async def advise(self) -> None:
        """Log what would spare memory; nothing where settings may not be asked for."""
        ((setting, wanted),) = PACKED.items()
        with suppress(*CONNECTION_LOST):
            asked = [await node.setting(setting) for node in await nodes_of(self._client)]
            least = min((int(found) for found in asked if found is not None), default=None)
            if least is not None and least < int(wanted):
                log.info(
                    "redis_packs_little",
                    "Redis has {setting} {least}: with {wanted} a creator takes about a quarter "
                    "less of its memory",
                    setting=setting,
                    least=least,
                    wanted=wanted,
                )

    async def clock_off_ms(self, now_ms: Callable[[], int]) -> int | None:
        """By how much ``now_ms`` is ahead of the nearest server's clock; None: none may tell.

        Raises RedisUnreachable.
        """
        found = []
        try:
            for node in await nodes_of(self._client):
                begin_ms = now_ms()
                seconds, micros = await node.time()
                middle_ms = (begin_ms + now_ms()) // 2
                found.append(middle_ms - (1000 * seconds + micros // 1000))
        except NoPermissionError:
            return None
        except ResponseError as error:
            raise refused_of(self._url_shown, error) from error
        except CONNECTION_LOST as error:
            raise unreachable_of(self._url_shown, error) from error
        return min(found, key=abs, default=None)

    def _check_one(self, name: str, memory: Memory) -> None:
        where = f"Redis at {self._url_shown}" + (f", node {name}," if name else "")
        if memory.may_evict:
            problem, fix = eviction_words(memory)
            msg = f"{where} {problem}. {fix}"
            raise EvictsKeys(msg)
        before = self._evicted.get(name, memory.evicted_keys)
        self._evicted[name] = memory.evicted_keys
        if memory.evicted_keys > before:  # a policy set for a moment; a restart begins at 0
            msg = (
                f"{where} has evicted {memory.evicted_keys - before} keys since the last look: "
                "counts may be missing. Keep maxmemory-policy noeviction, and set another "
                "SURGEWATCH_REDIS_PREFIX to count anew what Kafka still has"
            )
            raise EvictsKeys(msg)

    def _warn(self, fullest: Memory) -> None:
        is_near_full = fullest.share >= NEAR_FULL
        if is_near_full and not self._is_near_full:
            log.warning(
                "redis_nearly_full",
                "Redis uses {percent:.0f} % of its maxmemory; full, it takes no writes: raise "
                "maxmemory",
                percent=100 * fullest.share,
            )
        self._is_near_full = is_near_full
