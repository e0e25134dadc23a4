"""Reads what the workers hold in Redis, a batch at a time, and changes nothing.

The keys are those of ``edges/redis/store.py``. A worker may write meanwhile: what is read of a
partition is then of some moments, each creator's counts of one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Self, cast

from redis import RedisCluster
from redis.exceptions import NoPermissionError, ResponseError

from streams.core.counting.packing import LAYOUT_VERSION
from streams.core.records.keys import GROUP_KEYS
from streams.core.reports.stored_counts import Batch, StoredRows
from streams.edges.errors import DataError, SettingsError
from streams.edges.redis.client import sync_client_of
from streams.edges.redis.errors import (
    CONNECTION_LOST,
    node_of_cluster,
    refused_of,
)
from streams.edges.redis.probe import explained
from streams.edges.settings.list import Settings
from streams.edges.settings.specs import url_without_password
from streams.edges.store import Place

_BATCH_GROUPS: Final = 64
_LOOK_UP_GROUPS: Final = 1_000
_GROUPS: Final = b"groups:"


@dataclass(frozen=True, slots=True)
class Shelf:
    """What there is of one partition: its watermark (-1: nothing), and groups by series."""

    place: Place
    watermark_ms: int
    groups: dict[str, int]

    def is_watched(self, series: str) -> bool:
        """Whether the series' values hold a detector's state; River's stand apart from them."""
        return series in {"follows", "comments", "posts"} and f"{series}.models" not in self.groups


@dataclass(frozen=True, slots=True)
class Stand:
    """How far one partition is: the next offset (None: nothing was ever stored of it).

    ``stored_ms`` is when it was written last, by Redis' clock. ``torn``: half of a write stands
    in it. ``keys_max``: it holds no more keys than these.
    """

    offset: int | None
    stored_ms: int | None
    torn: bool
    keys_max: int


class RedisReader:
    """Reads states; a context manager. Raises RedisUnreachable, DataError, SettingsError."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.redis_prefix
        self._url_shown = url_without_password(settings.redis_url)
        with self._plain_errors():
            self._client = sync_client_of(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def partition_count(self) -> int:
        """Partitions of each topic, as the workers wrote it. DataError if they wrote nothing."""
        with self._plain_errors():
            held = self._hash(f"{self._prefix}:layout")
        if not held:
            self._check_alone()
            message = (
                f"Redis at {self._url_shown} holds no counts under {self._prefix!r}: has a worker "
                "run, and is SURGEWATCH_REDIS_PREFIX the one that it has?"
            )
            raise DataError(message)
        layout = held.get(b"layout", b"none").decode()
        if layout != str(LAYOUT_VERSION):
            message = (
                f"Redis at {self._url_shown} holds layout {layout} under {self._prefix!r}, this "
                f"version reads {LAYOUT_VERSION}: run the version that wrote it"
            )
            raise DataError(message)
        return int(held[b"partitions"])

    def _check_alone(self) -> None:
        """Raise SettingsError if it is one node of a cluster: another may hold what it lacks."""
        if isinstance(self._client, RedisCluster):
            return
        with self._plain_errors(), suppress(NoPermissionError):
            if self._client.info("cluster").get("cluster_enabled"):
                raise SettingsError(node_of_cluster(self._url_shown))

    def layout(self) -> dict[str, str]:
        """What kind of state is held (``layout.py``); empty: no worker has begun here."""
        with self._plain_errors():
            held = self._hash(f"{self._prefix}:layout")
        return {field.decode(): value.decode() for field, value in held.items()}

    def stands(self, places: Sequence[Place]) -> dict[Place, Stand]:
        """How far partitions are, asked in one go."""
        pipeline = self._client.pipeline(transaction=False)
        for place in places:
            pipeline.hgetall(self._key(place, "meta"))
        with self._plain_errors():
            metas: Sequence[dict[bytes, bytes]] = pipeline.execute() if places else []
        return {place: _stand_of(meta) for place, meta in zip(places, metas, strict=True)}

    def shelf(self, place: Place) -> Shelf:
        """What there is of a partition. DataError if half of a write stands in it."""
        with self._plain_errors():
            meta = self._hash(self._key(place, "meta"))
        if meta.get(b"begun") != meta.get(b"done"):
            message = (
                f"Redis at {self._url_shown} holds half of a write in {place.topic}"
                f"[{place.partition}]: ask again when a worker has counted it anew"
            )
            raise DataError(message)
        return Shelf(place, int(meta.get(b"watermark_ms", -1)), _groups_of(meta))

    def rows(self, shelf: Shelf, series: str) -> StoredRows:
        """All keys of a series, some thousands at a time."""
        return StoredRows(self._batches(shelf, series), shelf.is_watched(series))

    def value(self, shelf: Shelf, series: str, key: str) -> bytes | None:
        """One key's value. Which group holds it stands nowhere, so all are asked, in parts."""
        groups = shelf.groups.get(series, 0)
        for first in range(0, groups, _LOOK_UP_GROUPS):
            pipeline = self._client.pipeline(transaction=False)
            for group in range(first, min(first + _LOOK_UP_GROUPS, groups)):
                pipeline.hget(self._key(shelf.place, f"s:{series}:{group}"), key)
            with self._plain_errors():
                found = [value for value in pipeline.execute() if value is not None]
            if found:
                return cast("bytes", found[0])
        return None

    def values_under(self, shelf: Shelf, series: str, prefix: str) -> Batch:
        """Keys that begin with ``prefix``, without it, and their values; reads the whole series."""
        keys, values = list[str](), list[bytes]()
        for batch in self._batches(shelf, series):
            for key, value in zip(batch.keys, batch.values, strict=True):
                if key.startswith(prefix):
                    keys.append(key.removeprefix(prefix))
                    values.append(value)
        return Batch(keys, values)

    def _batches(self, shelf: Shelf, series: str) -> Iterator[Batch]:
        groups = shelf.groups.get(series, 0)
        for first in range(0, groups, _BATCH_GROUPS):
            pipeline = self._client.pipeline(transaction=False)
            for group in range(first, min(first + _BATCH_GROUPS, groups)):
                pipeline.hgetall(self._key(shelf.place, f"s:{series}:{group}"))
            with self._plain_errors():
                hashes: Sequence[dict[bytes, bytes]] = pipeline.execute()
            yield Batch(
                [key.decode() for held in hashes for key in held],
                [value for held in hashes for value in held.values()],
            )

    def _hash(self, key: str) -> dict[bytes, bytes]:
        return cast("dict[bytes, bytes]", self._client.hgetall(key))

    def _key(self, place: Place, part: str) -> str:
        return f"{self._prefix}:{{{place.topic}:{place.partition}}}:{part}"

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            raise refused_of(self._url_shown, error) from error
        except CONNECTION_LOST as error:
            raise explained(self._url_shown, error) from error


def _groups_of(meta: Mapping[bytes, bytes]) -> dict[str, int]:
    return {
        field.removeprefix(_GROUPS).decode(): int(highest) + 1
        for field, highest in meta.items()
        if field.startswith(_GROUPS)
    }


def _stand_of(meta: Mapping[bytes, bytes]) -> Stand:
    offset, written_s = meta.get(b"offset"), meta.get(b"written_s")
    return Stand(
        None if offset is None else int(offset),
        None if written_s is None else 1000 * int(written_s),
        meta.get(b"begun") != meta.get(b"done"),
        GROUP_KEYS * sum(_groups_of(meta).values()),
    )
