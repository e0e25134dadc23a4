"""Reads single records at given offsets, without a group: when they happened, when Kafka took them.

Nothing but times leaves this file: no id and no text of a record is kept.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.edges.errors import KafkaUnreachable
from streams.edges.kafka.producer import client_options_of
from streams.edges.settings.list import Settings
from streams.edges.store import Place

_APPEND_TIME: Final = 1
_MARKERS_BACK: Final = 8
"""The last offsets may be markers of transactions, or compacted away: look from before them."""
_QUIET_SECONDS: Final = 2.0
"""After so long without a record nothing more comes: markers are never told."""


class RecordTimes(NamedTuple):
    """``event_ms`` is the record's ``at_ms``, else Kafka's time of it.

    ``append_ms``: when the broker took it, by its clock; None: the producer's time stands there.
    """

    event_ms: int
    append_ms: int | None


class _Timed(msgspec.Struct):
    at_ms: int


class Peeked(NamedTuple):
    """The record that waits first, and the newest, of each partition in which they were found."""

    waiting: dict[Place, RecordTimes]
    newest: dict[Place, RecordTimes]


def read_times(
    settings: Settings, waiting: Mapping[Place, int], ends: Mapping[Place, int]
) -> Peeked:
    """Read times of the records at the offsets in ``waiting``, and of the newest before ``ends``.

    Takes at most ``kafka_timeout_ms`` for each of the two; what is not found by then is missing.
    Raises KafkaUnreachable.
    """
    if not waiting and not ends:
        return Peeked({}, {})
    return asyncio.run(_read_times(settings, waiting, ends))


async def _read_times(
    settings: Settings, waiting: Mapping[Place, int], ends: Mapping[Place, int]
) -> Peeked:
    consumer = AIOKafkaConsumer(
        **client_options_of(settings),
        client_id="surgewatch-peek",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=65_536,
    )
    limit_seconds = settings.kafka_timeout_ms / 1000
    try:
        async with asyncio.timeout(limit_seconds):
            await consumer.start()
        first = await _first_from(consumer, waiting, limit_seconds)
        newest = await _last_before(consumer, ends, limit_seconds)
    except (KafkaError, OSError, TimeoutError) as error:
        cause = str(error) or type(error).__name__
        raise KafkaUnreachable(settings.kafka_bootstrap_servers, cause) from error
    finally:
        await asyncio.sleep(0)  # aiokafka 0.14: a task of its that had no turn yet makes stop raise
        await consumer.stop()
    return Peeked(first, newest)


async def _first_from(
    consumer: AIOKafkaConsumer, offsets: Mapping[Place, int], limit_seconds: float
) -> dict[Place, RecordTimes]:
    found: dict[Place, RecordTimes] = {}
    left = {place: offset for place, offset in offsets.items() if offset >= 0}
    async for place, records in _fetched(consumer, left, limit_seconds):
        found[place] = _times_of(records[0])
        del left[place]
    return found


async def _last_before(
    consumer: AIOKafkaConsumer, ends: Mapping[Place, int], limit_seconds: float
) -> dict[Place, RecordTimes]:
    found: dict[Place, RecordTimes] = {}
    left = {place: max(0, end - _MARKERS_BACK) for place, end in ends.items() if end > 0}
    async for place, records in _fetched(consumer, left, limit_seconds):
        found[place] = _times_of(records[-1])
        position = await consumer.position(TopicPartition(*place))
        if position >= ends[place]:
            del left[place]
    return found


async def _fetched(
    consumer: AIOKafkaConsumer, left: Mapping[Place, int], limit_seconds: float
) -> AsyncIterator[tuple[Place, list[Any]]]:
    """Yield (partition, records) until the caller has emptied ``left``, or nothing more comes."""
    if not left:
        return
    consumer.assign([TopicPartition(*place) for place in left])
    for place, offset in left.items():
        consumer.seek(TopicPartition(*place), offset)
    clock = asyncio.get_running_loop().time
    ends, quiet = clock() + limit_seconds, clock() + _QUIET_SECONDS
    while left and clock() < min(ends, quiet):
        for tp, records in (await consumer.getmany(timeout_ms=100)).items():
            quiet = clock() + _QUIET_SECONDS
            if Place(*tp) in left and records:
                yield Place(*tp), records
        consumer.pause(*[tp for tp in consumer.assignment() if Place(*tp) not in left])


def _times_of(record: Any) -> RecordTimes:
    append_ms = record.timestamp if record.timestamp_type == _APPEND_TIME else None
    try:
        event_ms = msgspec.json.decode(record.value or b"", type=_Timed).at_ms
    except (msgspec.MsgspecError, UnicodeDecodeError):
        event_ms = record.timestamp
    return RecordTimes(event_ms, append_ms)
