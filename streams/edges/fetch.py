"""Below the record object: what aiokafka 0.14 has fetched, taken out as raw chunks.

A twin of ``Fetcher.fetched_records`` that makes no ``ConsumerRecord``: 0.35 us of CPU a record
instead of 1.5. It leans on private names, listed in ``check_aiokafka``; where one is missing,
``fetch_public`` does the same work through the public interface, record by record.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import (
    READ_COMMITTED,
    Fetcher,
    FetchError,
    FetchResult,
    PartitionRecords,
)
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from streams.core.events import RawChunk

_PUBLIC_POLL_SECONDS: Final = 0.02
_UNREAD: Final = "_surgewatch_unread"


class Fetched(NamedTuple):
    """A chunk, and the position that it was read from.

    ``start_offset`` is at most the chunk's first offset (holes); None on the public path.
    """

    start_offset: int | None
    chunk: RawChunk


class _Part(NamedTuple):
    """One record batch, or what is left of one; empty for a control or an aborted batch."""

    values: list[bytes | None]
    offsets: Sequence[int]
    next_offset: int
    newest_ms: int


class _Unread:
    """What a fetch response still holds: its unread batches, and the rest of one cut in two."""

    __slots__ = ("parts", "rest")

    def __init__(self, parts: Iterator[_Part]) -> None:
        self.parts = parts
        self.rest: _Part | None = None

    def next_part(self, records_max: int) -> _Part | None:
        """Next part, of at most ``records_max`` (>= 1) records; None at the end."""
        part, self.rest = self.rest or next(self.parts, None), None
        if part is None or len(part.values) <= records_max:
            return part
        offsets = part.offsets[:records_max]
        head = _Part(part.values[:records_max], offsets, offsets[-1] + 1, part.newest_ms)
        self.rest = part._replace(
            values=part.values[records_max:], offsets=part.offsets[records_max:]
        )
        return head


def check_aiokafka(fetcher: Fetcher | None = None) -> tuple[str, ...]:
    """Names that this file relies on and that the installed aiokafka lacks; empty: all there.

    ``fetcher``: the consumer's, whose attributes are then checked as well.
    """
    records = PartitionRecords(
        TopicPartition("t", 0), MemoryRecords(b""), [], 0, None, None, True, READ_COMMITTED
    )
    result = FetchResult(None, assignment=None, partition_records=records, backoff=0)
    wanted: list[tuple[Any, str]] = [
        (records, "_tp _records _check_crcs _isolation_level _aborted_producers"),
        (records, "next_fetch_offset _consume_aborted_up_to _contains_abort_marker"),
        (result, "_topic_partition _partition_records _assignment"),
        (result, "check_assignment has_more _update_position"),
        (FetchError(error=None, backoff=0), "check_raise"),
        (MemoryRecords, "has_next next_batch"),
        (DefaultRecordBatch, "validate_crc producer_id base_offset next_offset max_timestamp"),
        (DefaultRecordBatch, "is_control_batch is_transactional last_offset_delta"),
        (Fetcher, "_notify _create_fetch_waiter"),
    ]
    if fetcher is not None:
        subscriptions = getattr(fetcher, "_subscriptions", None)
        wanted += [
            (fetcher, "_records _subscriptions _wait_consume_future _closed _prefetch_backoff"),
            (subscriptions, "reassignment_in_progress wait_for_assignment is_assigned"),
            (fetcher, "_fetch_max_wait_ms"),
            (subscriptions, "fetch_context"),
        ]
    return tuple(
        f"{getattr(thing, '__name__', type(thing).__name__)}.{name}"
        for thing, names in wanted
        for name in names.split()
        if not hasattr(thing, name)
    )


async def fetch_chunks(
    fetcher: Fetcher,
    partitions: Collection[TopicPartition],
    timeout_seconds: float,
    records_max: int,
    is_open: Callable[[], bool] = lambda: True,
) -> dict[TopicPartition, Fetched]:
    """Take what was fetched: a chunk for each partition, of at most ``records_max`` records.

    Waits up to ``timeout_seconds`` when there is nothing. ``is_open`` is asked in the same step
    of the loop in which records are taken: while it says no, nothing is taken. A chunk without
    records is returned when only the position moved (control batches, aborted transactions).
    Raises what aiokafka's fetcher raises; an error never swallows what other partitions gave.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        if fetcher._closed:
            raise ConsumerStoppedError
        if fetcher._subscriptions.reassignment_in_progress:
            waiter = fetcher._subscriptions.wait_for_assignment()
        else:
            taken = _drain(fetcher, partitions, records_max) if is_open() else {}
            if taken:
                return taken
            waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=max(0.0, deadline - time.monotonic()))
        if not done:
            waiter.cancel()
            return {}
        waiter.result()  # raises what the coordinator or the fetcher was told, as fetched_records


async def fetch_public(
    consumer: Any,
    partitions: Collection[TopicPartition],
    timeout_seconds: float,
    records_max: int,
    is_open: Callable[[], bool] = lambda: True,
) -> dict[TopicPartition, Fetched]:
    """As ``fetch_chunks``, through ``AIOKafkaConsumer.getmany``; slower, no empty chunks."""
    # Polls: a waiting getmany could take records after is_open has turned to no.
    found: dict[TopicPartition, list[Any]] = {}
    deadline = time.monotonic() + timeout_seconds
    while True:
        if is_open() and partitions:
            wanted = [TopicPartition(*tp) for tp in partitions]
            found = await consumer.getmany(*wanted, timeout_ms=0, max_records=records_max)
        if found:
            return {tp: await _public_chunk_of(consumer, tp, rs) for tp, rs in found.items()}
        if time.monotonic() >= deadline:
            return {}
        await asyncio.sleep(_PUBLIC_POLL_SECONDS)


async def _public_chunk_of(consumer: Any, tp: TopicPartition, records: list[Any]) -> Fetched:
    next_offset = await consumer.position(tp)  # known, so there is no wait; past control batches
    chunk = RawChunk(
        topic=tp.topic,
        partition=tp.partition,
        values=[record.value for record in records],
        offsets=[record.offset for record in records],
        next_offset=next_offset,
        appended_ms=max(record.timestamp for record in records),
        end_offset=consumer.highwater(tp) or next_offset,
    )
    return Fetched(None, chunk)


def _drain(
    fetcher: Fetcher, partitions: Collection[TopicPartition], records_max: int
) -> dict[TopicPartition, Fetched]:
    drained: dict[TopicPartition, Fetched] = {}
    for tp in list(fetcher._records):
        if tp not in partitions:
            if not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
            continue
        result = fetcher._records[tp]
        if type(result) is not FetchResult:
            if drained:
                return drained  # the error is raised by the next call
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
            result.check_raise()
            continue
        fetched, error = _take(result, records_max)
        if fetched is not None:
            drained[tp] = fetched
        if error is not None:
            fetcher._records[tp] = FetchError(error=error, backoff=fetcher._prefetch_backoff)
            return drained or _drain(fetcher, partitions, records_max)
        if not result.has_more():
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
    return drained


def _take(result: FetchResult, records_max: int) -> tuple[Fetched | None, Exception | None]:
    """Take up to ``records_max`` records out of a fetch response, and move the position."""
    if not result.has_more() or not result.check_assignment(result._topic_partition):
        return None, None
    records = result._partition_records
    unread: _Unread | None = getattr(records, _UNREAD, None)
    if unread is None:
        unread = _Unread(_parts_of(records))
        setattr(records, _UNREAD, unread)
    start_offset = records.next_fetch_offset
    values: list[bytes | None] = []
    spans: list[Sequence[int]] = []
    newest_ms, error = -1, None
    while len(values) < records_max:
        try:
            part = unread.next_part(records_max - len(values))
        except Exception as exc:  # whatever it is, it is told after what came before
            part, error = None, exc
        if part is None:
            break
        records.next_fetch_offset = part.next_offset
        if part.values:
            values += part.values
            spans.append(part.offsets)
            newest_ms = max(newest_ms, part.newest_ms)
    next_offset = records.next_fetch_offset
    result._update_position()
    if part is None:
        result._partition_records = None
    if next_offset == start_offset:
        return None, error
    tp = result._topic_partition
    end_offset = result._assignment.state_value(tp).highwater
    chunk = RawChunk(
        topic=tp.topic,
        partition=tp.partition,
        values=values,
        offsets=_joined(spans),
        next_offset=next_offset,
        appended_ms=newest_ms,
        end_offset=next_offset if end_offset is None else end_offset,
    )
    return Fetched(start_offset, chunk), error


def _parts_of(records: PartitionRecords) -> Iterator[_Part]:
    """Twin of ``PartitionRecords._unpack_records``, a batch at a time."""
    memory = records._records
    while memory.has_next():
        batch = memory.next_batch()
        if records._check_crcs and not batch.validate_crc():
            msg = f"Invalid CRC - {records._tp}"
            raise CorruptRecordException(msg)
        aborted = False
        if records._isolation_level == READ_COMMITTED and batch.producer_id is not None:
            records._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and records._contains_abort_marker(batch):
                records._aborted_producers.discard(batch.producer_id)
            aborted = batch.is_transactional and batch.producer_id in records._aborted_producers
        if aborted or batch.is_control_batch:
            yield _Part([], range(0), batch.next_offset, -1)
        else:
            yield _part_of(batch, records.next_fetch_offset)


def _part_of(batch: Any, position: int) -> _Part:
    # Each record is let go at once: thousands of them alive make the collector walk the heap
    # again and again (measured: 1.3 us a record, a third of the whole worker).
    values: list[bytes | None] = []
    places: list[int] = []
    newest_ms = -1
    add_value, add_offset = values.append, places.append
    if hasattr(batch, "last_offset_delta"):
        newest_ms = batch.max_timestamp
        for record in batch:
            add_value(record.value)
            add_offset(record.offset)
    else:  # formats before v2 keep no newest timestamp for the batch
        for record in batch:
            add_value(record.value)
            add_offset(record.offset)
            newest_ms = max(newest_ms, record.timestamp or -1)
    offsets = _joined([places])
    if offsets and offsets[0] < position:
        read = bisect_left(offsets, position)
        values, offsets = values[read:], offsets[read:]
    return _Part(values, offsets, max(position, batch.next_offset), newest_ms)


def _joined(spans: list[Sequence[int]]) -> Sequence[int]:
    """One range where the offsets have no hole, else a list."""
    spans = [span for span in spans if span]
    if not spans:
        return range(0)
    first, last = spans[0][0], spans[-1][-1]
    if last - first + 1 == sum(map(len, spans)):
        return range(first, last + 1)
    return [offset for span in spans for offset in span]
