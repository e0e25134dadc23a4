"""State in Redis: packed values, many keys a hash, written with the offset in one script.

Keys of one partition share a hash tag, so they live in one slot of a Redis Cluster:

    PREFIX:layout                          hash: what must not change (``layout.py``)
    PREFIX:{TOPIC:N}:meta                  hash: generation, owner, offset, watermark_ms,
                                           written_s, groups:SERIES (highest group),
                                           begun, done (writes; differ: half of one is here),
                                           reread_offset, reread_watermark_ms, reread_dead,
                                           reread_agreed,
                                           read_watermark_ms, frontier_ms, held_offset
    PREFIX:{TOPIC:N}:s:SERIES:GROUP        hash: key to packed value (``core/counting/packing.py``)
    PREFIX:{TOPIC:N}:surges                hash: surge's name to JSON (``core/surges/stored.py``)
    PREFIX:{TOPIC:N}:outbox                hash: a lot's name to its records (``surge_lot.py``)

Every key expires by itself when nothing wrote it for ``expiry_seconds``.

A script's effects stand in the append-only file as one transaction. A Redis 7.0 whose file was
cut inside one keeps the MULTI open and appends behind it: at a later start that half is carried
out before what was written since. A sum over all values would show it, at the price of reading
each one before it is written. Two counters show it for nothing: a write first counts ``begun``
up (repeated with the half, so it stays one too high) and last sets ``done`` to what it was then
(only a whole write does). Where they differ the partition is torn: it is dropped, and counted
anew from Kafka. So that this is seldom needed see ``edges/redis/file.py``.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Final

import numpy as np
from redis.exceptions import ResponseError

from streams.core.counting.packing import StoredSeries
from streams.core.partition_state import LeftOut, StoredState
from streams.core.records.keys import GROUP_KEYS
from streams.core.records.texts import Ints
from streams.edges.errors import SurgewatchError
from streams.edges.redis.args import Expiries, reread_in, standing_in, write_call
from streams.edges.redis.client import AsyncClient
from streams.edges.redis.errors import CONNECTION_LOST, refused_of, unreachable_of
from streams.edges.redis.file import AppendOnlyFile
from streams.edges.redis.layout import difference_of, fields_of
from streams.edges.redis.load import SeriesKeys
from streams.edges.store import (
    NO_LIMIT,
    Fence,
    FencedOff,
    Held,
    KeyLimit,
    Place,
    StateLost,
    StateTorn,
    StoreDiffers,
    StoreKind,
    Write,
    places_of,
    surge_keys_of,
)

_GENERATION_GRACE_SECONDS: Final = 30


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
        fenced = _script("fence.lua")
        self._write = client.register_script(fenced + _script("write.lua"))
        self._drop = client.register_script(fenced + _script("drop.lua"))
        self._claim = client.register_script(_script("claim.lua"))
        self._layout = client.register_script(_script("layout.lua"))
        self._ages = Expiries(clock, policy.expiry_seconds)
        self._worker = uuid.uuid4().hex
        self._claims = 0
        self._file = AppendOnlyFile(client, clock)

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
        self._claims += 1
        fence = Fence(generation, f"{self._worker}:{self._claims}")
        keys = [self._key(place, "meta")]
        self._ages.forget(self._key(place, ""))
        grace, expiry = _GENERATION_GRACE_SECONDS, self._policy.expiry_seconds
        try:
            await self._claim(keys=keys, args=[generation, fence.owner, grace, expiry])
        except ResponseError as error:
            if str(error).startswith("FENCED"):
                raise FencedOff(place, generation) from error
            raise self._refused(error) from error
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        await self._file.rewrite_if_due()
        return fence

    async def read(self, place: Place, limit: KeyLimit = NO_LIMIT) -> Held:
        """See Store."""
        try:
            meta = await self._hash(self._key(place, "meta"))
            if meta.get(b"begun") != meta.get(b"done"):
                raise StateTorn(place)
            surges = await self._hash(self._key(place, "surges"))
            outbox = await self._hash(self._key(place, "outbox"))
            told = {name.decode(): value for name, value in surges.items()}
            series, left_out = await self._read_all(place, _groups_of(meta), told, limit)
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        state = StoredState(
            int(meta.get(b"watermark_ms", -1)), series, told, left_out, standing_in(meta)
        )
        offset = meta.get(b"offset")
        waiting = {name.decode(): value for name, value in sorted(outbox.items())}
        reread = reread_in(meta)
        return Held(None if offset is None else int(offset), state, waiting, reread)

    async def read_keys(
        self, place: Place, wanted: Mapping[str, Sequence[tuple[int, bytes]]]
    ) -> dict[str, StoredSeries]:
        """See Store."""
        try:
            return {
                name: await self._series(place, name).some(keys) for name, keys in wanted.items()
            }
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error

    async def read_gone(self, place: Place, groups: Mapping[str, Ints]) -> dict[str, Ints]:
        """See Store. Asks only of hashes that are not known to live on."""
        gone = {}
        try:
            for name, held in groups.items():
                asked = held[self._ages.may_be_gone(self._key(place, f"s:{name}:"), held)]
                found = await self._series(place, name).gone(asked.tolist())
                gone[name] = np.array(found, dtype=np.int64)
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        return gone

    async def drop(self, place: Place, fence: Fence) -> None:
        """See Store. Looks through all keys: half a write may have made some that no list names."""
        kept = {self._key(place, part).encode() for part in ("meta", "outbox")}
        try:
            held = self._client.scan_iter(match=f"{_glob(self._key(place, ''))}*", count=1000)
            keys = sorted({key async for key in held} - kept)
            await self._drop([self._key(place, "meta"), *keys], [fence.owner, fence.generation])
        except ResponseError as error:
            raise self._cannot_write(error, place, fence, None) from error
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        self._ages.forget()

    async def write(self, place: Place, fence: Fence, write: Write) -> int:
        """See Store. One script call; the server's errors leave everything as it was."""
        keys, args = write_call(fence, write, lambda part: self._key(place, part), self._ages)
        try:
            await self._write(keys=keys, args=args)
        except ResponseError as error:
            raise self._cannot_write(error, place, fence, write.from_offset) from error
        except CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        await self._file.rewrite_if_due()
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

    def _series(self, place: Place, name: str) -> SeriesKeys:
        stem = self._key(place, f"s:{name}:")
        return SeriesKeys(
            self._client, lambda group: f"{stem}{group}", partial(self._ages.learn, stem)
        )

    async def _read_all(
        self, place: Place, groups: Mapping[str, int], surges: Mapping[str, bytes], limit: KeyLimit
    ) -> tuple[dict[str, StoredSeries], dict[str, LeftOut]]:
        """What is read of each series: all of it, or what the limit on keys lets in."""
        leave = [name for name in limit.may_be_left_out if name in groups]
        if sum(groups[name] for name in leave) * GROUP_KEYS <= limit.keys_max:
            leave = []
        series, left_out = {}, {}
        for name, count in groups.items():
            keys = self._series(place, name)
            if name not in leave:
                series[name] = await keys.everything(count)
                continue
            left_out[name] = await keys.names(count)
            series[name] = await keys.some(places_of(surge_keys_of(surges, name), left_out[name]))
        return series, left_out

    def _key(self, place: Place, part: str) -> str:
        return f"{self._policy.prefix}:{{{place.topic}:{place.partition}}}:{part}"

    def _cannot_write(
        self, error: ResponseError, place: Place, fence: Fence, from_offset: int | None
    ) -> Exception:
        """What a script's refusal means."""
        self._ages.forget()
        code, _, found = str(error).partition(" ")
        if code == "FENCED":
            return FencedOff(place, fence.generation)
        if code == "TORN":
            return StateTorn(place)
        if code == "LOST":
            self._file.suspect_start()
            return StateLost(place, from_offset, int(found) if found.strip() else None)
        return self._refused(error)

    def _unreachable(self, error: Exception) -> SurgewatchError:
        self._file.suspect_start()
        self._ages.forget()  # what was under way is not known to have been done
        return unreachable_of(self._policy.url_shown, error)

    def _refused(self, error: ResponseError) -> SurgewatchError:
        if str(error).startswith("MISCONF"):
            self._file.suspect_failure()
        return refused_of(self._policy.url_shown, error)


def _groups_of(meta: Mapping[bytes, bytes]) -> dict[str, int]:
    """How many groups each series has."""
    return {
        field.removeprefix(b"groups:").decode(): int(highest) + 1
        for field, highest in sorted(meta.items())
        if field.startswith(b"groups:")
    }


def _script(name: str) -> str:
    return resources.files("streams.edges.redis").joinpath(name).read_text(encoding="utf-8")


def _glob(text: str) -> str:
    """Text as a pattern that matches only itself."""
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)
