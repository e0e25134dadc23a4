"""State in Redis: packed values, many keys a hash, written with the offset in one script.

Keys of one partition share a hash tag, so they live in one slot of a Redis Cluster:

    PREFIX:layout                          hash: what must not change (``redis_layout.py``)
    PREFIX:{TOPIC:N}:meta                  hash: generation, owner, offset, watermark_ms,
                                           written_s, groups:SERIES (highest group)
    PREFIX:{TOPIC:N}:s:SERIES:GROUP        hash: key to packed value (``core/packing.py``)
    PREFIX:{TOPIC:N}:surges                hash: surge's name to JSON (``OpenSurge``)
    PREFIX:{TOPIC:N}:outbox                hash: announcement's name to the surge record

Every key expires by itself when nothing wrote it for ``expiry_seconds``.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import numpy as np
from redis.exceptions import ResponseError

from streams.core.packing import PackedSeries, StoredSeries
from streams.core.partition import StoredState
from streams.edges.errors import SurgewatchError
from streams.edges.redis_client import AsyncClient, RedisNode, nodes_of
from streams.edges.redis_errors import CONNECTION_LOST, refused_of, unreachable_of
from streams.edges.redis_layout import difference_of, fields_of
from streams.edges.store import (
    Fence,
    FencedOff,
    Held,
    Place,
    StateLost,
    StoreDiffers,
    StoreKind,
    Write,
)

_GENERATION_GRACE_SECONDS: Final = 30
_REFRESH_SECONDS: Final = 43_200
_FRESH_START_SECONDS: Final = 600
_READ_GROUPS: Final = 64
_LENGTHS_DTYPE: Final = np.dtype([("name", "<u2"), ("tail", "<u4")])
_SEGMENT_DTYPE: Final = np.dtype([("key_no", "<u4"), ("count", "<u2"), ("refresh", "<u2")])


@dataclass(frozen=True, slots=True)
class RedisStorePolicy:
    """``prefix`` begins every key; an unseen key lives ``expiry_seconds``."""

    prefix: str
    expiry_seconds: int
    url_shown: str


class RedisStore:
    """The store on Redis 7 or Valkey. ``clock`` gives seconds that never go back."""

    def __init__(
        self, client: AsyncClient, policy: RedisStorePolicy, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._policy = policy
        self._clock = clock
        self._write = client.register_script(_script("redis_write.lua"))
        self._claim = client.register_script(_script("redis_claim.lua"))
        self._layout = client.register_script(_script("redis_layout.lua"))
        self._refreshed: dict[str, float] = {}
        self._server_runs: dict[str, str] = {}

    async def check(self, kind: StoreKind) -> None:
        """See Store. What differs is named in the DataError."""
        wanted = fields_of(kind)
        key = f"{self._policy.prefix}:layout"
        try:
            pairs = [part for pair in wanted.items() for part in pair]
            answer = iter(await self._layout(keys=[key], args=pairs))
        except ResponseError as error:
            raise self._refused(error) from error
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        held = {field.decode(): value.decode() for field, value in zip(answer, answer, strict=True)}
        found = difference_of(wanted, held, self._policy.prefix, self._policy.url_shown)
        if found is not None:
            raise StoreDiffers(*found)

    async def claim(self, place: Place, generation: int) -> Fence:
        """See Store."""
        fence = Fence(generation, uuid.uuid4().hex)
        keys = [self._key(place, "meta")]
        self._refreshed.clear()
        grace, expiry = _GENERATION_GRACE_SECONDS, self._policy.expiry_seconds
        try:
            await self._claim(keys=keys, args=[generation, fence.owner, grace, expiry])
        except ResponseError as error:
            if str(error).startswith("FENCED"):
                raise FencedOff(place, generation) from error
            raise self._refused(error) from error
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        await self._rewrite_after_start()
        return fence

    async def read(self, place: Place) -> Held:
        """See Store."""
        try:
            meta = await self._hash(self._key(place, "meta"))
            surges = await self._hash(self._key(place, "surges"))
            outbox = await self._hash(self._key(place, "outbox"))
            series = {}
            for field, highest in sorted(meta.items()):
                if field.startswith(b"groups:"):
                    name = field.removeprefix(b"groups:").decode()
                    series[name] = await self._read_series(place, name, int(highest) + 1)
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        state = StoredState(
            int(meta.get(b"watermark_ms", -1)),
            series,
            {name.decode(): value for name, value in surges.items()},
        )
        offset = meta.get(b"offset")
        waiting = {name.decode(): value for name, value in sorted(outbox.items())}
        return Held(None if offset is None else int(offset), state, waiting)

    async def write(self, place: Place, fence: Fence, write: Write) -> int:
        """See Store. One script call; the server's errors leave everything as it was."""
        keys = [self._key(place, part) for part in ("meta", "surges", "outbox")]
        args: list[Any] = [
            fence.owner,
            "" if write.from_offset is None else write.from_offset,
            write.next_offset,
            write.change.watermark_ms,
            self._policy.expiry_seconds,
            len(write.change.series),
            fence.generation,
        ]
        for series in write.change.series:
            args += self._series_args(place, series, keys)
        surges = write.change.surges
        args += _listed([part for n, v in surges.items() if v is not None for part in (n, v)])
        args += _listed([name for name, value in surges.items() if value is None])
        args += _listed([part for pair in write.to_announce.items() for part in pair])
        args += _listed(list(write.announced))
        try:
            await self._write(keys=keys, args=args)
        except ResponseError as error:
            self._refreshed.clear()
            if str(error).startswith("FENCED"):
                raise FencedOff(place, fence.generation) from error
            if str(error).startswith("LOST"):
                await self._rewrite_file()
                found = str(error).removeprefix("LOST").strip()
                raise StateLost(place, write.from_offset, int(found) if found else None) from error
            raise self._refused(error) from error
        except CONNECTION_LOST as error:
            self._refreshed.clear()  # not known to have been renewed
            raise self._unreachable(error) from error
        return sum(len(arg) for arg in args if isinstance(arg, bytes))

    async def places(self) -> AsyncIterator[Place]:
        """Partitions that something is held of, in no set order."""
        prefix = f"{self._policy.prefix}:{{"
        try:
            async for key in self._client.scan_iter(match=f"{_glob(prefix)}*}}:meta", count=1000):
                topic, _, number = (
                    key.decode().removeprefix(prefix).rpartition("}")[0].rpartition(":")
                )
                yield Place(topic, int(number))
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error

    async def close(self) -> None:
        """See Store."""
        await self._client.aclose()

    async def _hash(self, key: str) -> dict[bytes, bytes]:
        held: dict[bytes, bytes] = await self._client.hgetall(key)  # type: ignore[assignment]
        return held  # bytes: the client does not decode

    async def _read_series(self, place: Place, name: str, groups: int) -> StoredSeries:
        keys: list[bytes] = []
        numbers: list[int] = []
        values: list[bytes] = []
        for first in range(0, groups, _READ_GROUPS):
            wanted = range(first, min(first + _READ_GROUPS, groups))
            pipeline = self._client.pipeline(transaction=False)
            for group in wanted:
                pipeline.hgetall(self._key(place, f"s:{name}:{group}"))
            for group, held in zip(wanted, await pipeline.execute(), strict=True):
                keys += held.keys()
                values += held.values()
                numbers += [group] * len(held)
        return StoredSeries([key.decode() for key in keys], numbers, values)

    def _series_args(self, place: Place, series: PackedSeries, keys: list[str]) -> list[Any]:
        """The script's eight arguments of one series; the groups' hashes are added to keys."""
        assert (np.diff(series.groups) >= 0).all(), "slots rise, and groups with them"
        names = [key.encode() for key in series.keys]
        lengths = np.empty(len(names), dtype=_LENGTHS_DTYPE)
        lengths["name"] = np.fromiter(map(len, names), np.int64, len(names))
        lengths["tail"] = series.tail_bytes
        groups, counts = np.unique(series.groups, return_counts=True)
        segments = np.empty(len(groups), dtype=_SEGMENT_DTYPE)
        segments["key_no"] = len(keys) + 1 + np.arange(len(groups))
        segments["count"] = counts
        hashes = [self._key(place, f"s:{series.name}:{group}") for group in groups.tolist()]
        segments["refresh"] = self._stale(hashes)
        keys += hashes
        return [
            series.name,
            int(groups[-1]),
            series.head_bytes,
            b"".join(names),
            lengths.tobytes(),
            series.heads,
            series.tails,
            segments.tobytes(),
        ]

    async def _rewrite_file(self) -> None:
        """Ask Redis to write its append-only file anew, after it went back.

        A file cut inside a transaction keeps the open MULTI (Redis 7.0), and what follows it is
        appended: the next start would carry out the half that was never done.
        """
        for node in await self._nodes():
            with suppress(*CONNECTION_LOST):  # forbidden, or under way already: reading goes on
                await node.rewrite_file()

    async def _rewrite_after_start(self) -> None:
        """Have the file written anew, once, by a Redis that started a short time ago."""
        for node in await self._nodes():
            with suppress(*CONNECTION_LOST):
                server = await node.info("server")
                is_new = server["run_id"] != self._server_runs.get(node.name)
                self._server_runs[node.name] = server["run_id"]
                if is_new and server["uptime_in_seconds"] < _FRESH_START_SECONDS:
                    await node.rewrite_file()

    async def _nodes(self) -> list[RedisNode]:
        with suppress(*CONNECTION_LOST):
            return await nodes_of(self._client)
        return []

    def _stale(self, hashes: Sequence[str]) -> list[bool]:
        """Which hashes need their expiry renewed: twice a day is enough for days to live."""
        now = self._clock()
        stale = []
        for key in hashes:
            due = now - self._refreshed.get(key, -_REFRESH_SECONDS) >= _REFRESH_SECONDS
            if due:
                self._refreshed[key] = now
            stale.append(due)
        return stale

    def _key(self, place: Place, part: str) -> str:
        return f"{self._policy.prefix}:{{{place.topic}:{place.partition}}}:{part}"

    def _unreachable(self, error: Exception) -> SurgewatchError:
        return unreachable_of(self._policy.url_shown, error)

    def _refused(self, error: ResponseError) -> SurgewatchError:
        return refused_of(self._policy.url_shown, error)


def _script(name: str) -> str:
    return resources.files("streams.edges").joinpath(name).read_text(encoding="utf-8")


def _listed(members: list[Any]) -> list[Any]:
    return [len(members), *members]


def _glob(text: str) -> str:
    """Text as a pattern that matches only itself."""
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)
