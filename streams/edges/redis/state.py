"""Reads partitions' state from Redis as it stands, for a backup, and puts a backup's in its place.

A partition is read hash by hash while a worker may write it: every write, drop and claim changes
its meta, so what was read between two equal metas is of one moment, and of one offset.
"""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any, Final, Self

import msgspec
from redis.exceptions import ResponseError

from streams.edges.errors import DataError, RedisRefusesUs
from streams.edges.files.state_file import Hashes, PlaceBegins
from streams.edges.redis.client import async_client_of, nodes_of
from streams.edges.redis.errors import (
    CONNECTION_LOST,
    no_right_to_import,
    refused_of,
    unreachable_of,
)
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import url_without_password
from streams.edges.store import Place

QUIET_SECONDS: Final = 15
"""A worker writes every five seconds, if it has nothing then that: without it none is there."""
_CLAIM: Final = ("generation", "owner", "written_s", "begun", "done")
"""Fields of a meta that are no state."""
_READ_GROUPS: Final = 64
_PART_BYTES: Final = 1_000_000
_STAGED_SECONDS: Final = 3_600
_GROUPS: Final = "groups:"

Meta = Mapping[str, bytes]


class WorkerWrites(DataError):
    """A worker has the partition."""

    def __init__(self, place: Place, seconds: int) -> None:
        super().__init__(
            f"{place.topic}[{place.partition}]: a worker had it {seconds} s ago: end the workers, "
            f"and ask again {QUIET_SECONDS} s later"
        )
        self.place = place


class StateMoves(DataError):
    """A partition was written each time that it was read."""

    def __init__(self, place: Place, tries: int) -> None:
        super().__init__(
            f"{place.topic}[{place.partition}] was written while it was read, {tries} times over, "
            "and a backup must be of one moment: end the workers, export, and start them again"
        )
        self.place = place


class RedisStates:
    """States under one prefix, for the length of an ``async with``.

    Raises RedisUnreachable, RedisRefuses, DataError.
    """

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.redis_prefix
        self._url_shown = url_without_password(settings.redis_url)
        self._expiry_seconds = settings.redis_expiry_days * 86_400
        self._client: Any = async_client_of(settings)
        self._import = self._client.register_script(_script("import.lua"))
        self._ask_rights = self._client.register_script(_script("import_rights.lua"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def layout(self) -> dict[str, str]:
        """Fields of ``PREFIX:layout``; none: no worker has run."""
        with self._plain_errors():
            held = await self._client.hgetall(f"{self._prefix}:layout")
        return {name.decode(): value.decode() for name, value in held.items()}

    async def meta(self, place: Place) -> dict[str, bytes]:
        """A partition's meta; empty: nothing is held."""
        with self._plain_errors():
            held = await self._client.hgetall(self._key(place, "meta"))
        return {name.decode(): value for name, value in held.items()}

    async def seconds_since_write(self, meta: Meta) -> int | None:
        """How long ago a worker wrote, or claimed, by Redis' clock; None: none has."""
        if "written_s" not in meta:
            return None
        with self._plain_errors():
            seconds, _ = await (await nodes_of(self._client))[0].time()
        return seconds - int(meta["written_s"])

    async def hashes(self, place: Place, meta: Meta) -> AsyncIterator[Hashes]:
        """All hashes of a partition but its meta, in parts of some megabytes."""
        names = ["surges", "outbox"]
        for field, highest in sorted(meta.items()):
            if field.startswith(_GROUPS):
                series = field.removeprefix(_GROUPS)
                names += [f"s:{series}:{group}" for group in range(int(highest) + 1)]
        for first in range(0, len(names), _READ_GROUPS):
            some = names[first : first + _READ_GROUPS]
            pipeline = self._client.pipeline(transaction=False)
            for name in some:
                pipeline.hgetall(self._key(place, name))
            with self._plain_errors():
                held = await pipeline.execute()
            for part in _parts_of(zip(some, held, strict=True)):
                yield Hashes(part)

    def staging(self, begins: PlaceBegins) -> "Staging":
        """A place beside a partition in which a backup is put together."""
        return Staging(self, begins)

    async def keys_of(self, place: Place) -> list[bytes]:
        """All keys of a partition but its meta and those that an import is putting together."""
        stem = self._key(place, "")
        pattern = "".join(f"\\{char}" if char in "*?[]\\" else char for char in stem)
        kept = (self._key(place, "meta").encode(), self._key(place, "import:").encode())
        with self._plain_errors():
            found = [key async for key in self._client.scan_iter(match=f"{pattern}*", count=1000)]
        return sorted({key for key in found if key != kept[0] and not key.startswith(kept[1])})

    async def check_rights(self, place: Place) -> None:
        """Raise RedisRefusesUs where the user may not put a backup in a partition's place.

        A script that is refused a command half way leaves half of its work done.
        """
        with self._plain_errors():
            lacking = await self._ask_rights(keys=[self._key(place, "import:rights")])
        if lacking:
            names = ", ".join(name.decode() for name in lacking)
            raise RedisRefusesUs(self._url_shown, no_right_to_import(names))

    async def put_staged(self, place: Place, token: str, parts: Sequence[Any]) -> None:
        """Put parts of hashes beside a partition; they go by themselves after an hour."""
        pipeline = self._client.pipeline(transaction=False)
        for name, pairs in parts:
            key = self._key(place, f"import:{token}:{name}")
            pipeline.execute_command("HSET", key, *pairs)
            pipeline.expire(key, _STAGED_SECONDS)
        with self._plain_errors():
            await pipeline.execute()

    async def swap(
        self, begins: PlaceBegins, before: Meta, token: str, lengths: Mapping[str, int]
    ) -> None:
        """Put what is staged in the place of a partition's state, in one step.

        ``before`` is the meta that was looked at; ``lengths``: fields of each staged hash. Raises
        WorkerWrites, and DataError if the partition is another one since.
        """
        place = begins.place
        removed = await self.keys_of(place)
        pairs = [
            key
            for name in lengths
            for key in (self._key(place, f"import:{token}:{name}"), self._key(place, name))
        ]
        kept = [x for pair in begins.meta.items() if pair[0] not in _CLAIM for x in pair]
        stood = (before.get("offset", b""), before.get("begun", b""))
        counts = msgspec.msgpack.encode([*lengths.values()])
        args = [len(removed), QUIET_SECONDS, *stood, self._expiry_seconds, counts, *kept]
        try:
            with self._plain_errors():
                await self._import(keys=[self._key(place, "meta"), *removed, *pairs], args=args)
        except ImportRefused as refused:
            raise refused.error_of(place) from refused

    async def drop_staged(self, place: Place, token: str, names: Iterable[str]) -> None:
        """Remove what was put together and is not wanted any more."""
        keys = [self._key(place, f"import:{token}:{name}") for name in names]
        with self._plain_errors():
            for first in range(0, len(keys), 1000):
                await self._client.unlink(*keys[first : first + 1000])

    def _key(self, place: Place, part: str) -> str:
        return f"{self._prefix}:{{{place.topic}:{place.partition}}}:{part}"

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            code, _, told = str(error).partition(" ")
            if code in {"WORKS", "CHANGED", "LACKS"}:
                raise ImportRefused(code, told) from error
            raise refused_of(self._url_shown, error) from error
        except CONNECTION_LOST as error:
            raise unreachable_of(self._url_shown, error) from error


class ImportRefused(Exception):
    """What the script says when it does nothing."""

    def __init__(self, code: str, told: str) -> None:
        super().__init__(code, told)
        self._code, self._told = code, told

    def error_of(self, place: Place) -> DataError:
        """The error in plain words."""
        if self._code == "WORKS":
            return WorkerWrites(place, int(self._told))
        where = f"{place.topic}[{place.partition}]"
        if self._code == "LACKS":
            return DataError(
                f"{where} was left as it is: Redis has lost some of what was put together, or it "
                "took more than an hour: import again"
            )
        return DataError(f"{where} was changed meanwhile, so it was left as it is: import again")


class Staging:
    """A backup of one partition, put together beside it."""

    def __init__(self, states: RedisStates, begins: PlaceBegins) -> None:
        self._states = states
        self._begins = begins
        self._token = uuid.uuid4().hex[:12]
        self._lengths: Counter[str] = Counter()

    async def put(self, hashes: Hashes) -> None:
        """Add some hashes, or parts of them."""
        for name, pairs in hashes.parts:
            self._lengths[name] += len(pairs) // 2
        await self._states.put_staged(self._begins.place, self._token, hashes.parts)

    async def swap(self, before: Meta) -> None:
        """See `RedisStates.swap`."""
        await self._states.swap(self._begins, before, self._token, self._lengths)

    async def drop(self) -> None:
        """See `RedisStates.drop_staged`."""
        await self._states.drop_staged(self._begins.place, self._token, self._lengths)


def _script(name: str) -> str:
    return resources.files("streams.edges.redis").joinpath(name).read_text(encoding="utf-8")


def state_in(meta: Meta) -> dict[str, bytes]:
    """Fields of a meta that are state, without who claimed it."""
    return {name: value for name, value in sorted(meta.items()) if name not in _CLAIM}


def _parts_of(
    hashes: Iterable[tuple[str, dict[bytes, bytes]]],
) -> Iterator[list[tuple[str, list[bytes]]]]:
    """Hashes as lists of some megabytes; a longer hash comes in several parts."""
    parts, size_bytes = list[tuple[str, list[bytes]]](), 0
    for name, held in hashes:
        pairs: list[bytes] = []
        for field, value in held.items():
            pairs += (field, value)
            size_bytes += len(field) + len(value)
            if size_bytes >= _PART_BYTES:
                yield [*parts, (name, pairs)]
                parts, pairs, size_bytes = [], [], 0
        if pairs:
            parts.append((name, pairs))
    if parts:
        yield parts
