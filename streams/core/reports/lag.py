"""How far behind the counts of a partition are: records, seconds, and records that are lost.

The offset in the store is the truth: what is counted ends there. The offset that the group
committed to Kafka is for other tools, and may be behind it.
"""

from collections.abc import Iterable

import msgspec


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one partition; offsets are of the next record. None: not known, or none.

    ``first_offset`` to ``end_offset``, half-open, is what Kafka keeps. ``waiting_ms`` is the event
    time of the first record that is not counted, ``newest_ms`` that of the last one there is;
    ``stored_ms`` is when the store was written last.
    """

    topic: str
    partition: int
    stored_offset: int | None
    committed_offset: int | None
    first_offset: int
    end_offset: int
    waiting_ms: int | None = None
    newest_ms: int | None = None
    stored_ms: int | None = None
    member: str | None = None


class PartitionLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far behind one partition is.

    ``lag_seconds`` is event time from the first record that waits to the newest; 0: none waits,
    None: the times could not be read. ``records_missed`` were deleted before they were counted;
    ``beyond_end`` is by how much the stored offset lies past the end, which no right one does.
    """

    topic: str
    partition: int
    member: str | None
    stored_offset: int | None
    committed_offset: int | None
    first_offset: int
    end_offset: int
    lag_records: int
    lag_seconds: float | None
    records_missed: int
    beyond_end: int
    stored_ms: int | None


class LagSum(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over partitions; ``lag_seconds`` is the largest that is known."""

    topic: str | None
    partitions: int
    held: int
    lag_records: int
    lag_seconds: float | None
    records_missed: int


def begin_of(one: Standing) -> int:
    """Offset of the first record that waits; the end, if none does.

    >>> begin_of(Standing(topic="t", partition=0, stored_offset=3, committed_offset=None,
    ...     first_offset=5, end_offset=9))
    5
    """
    return min(max(one.stored_offset or 0, one.first_offset), one.end_offset)


def lag_of(one: Standing) -> PartitionLag:
    """How far behind a partition is."""
    stored = one.stored_offset
    lag_records = one.end_offset - begin_of(one)
    missed = 0 if stored is None else max(0, one.first_offset - stored)
    return PartitionLag(
        topic=one.topic,
        partition=one.partition,
        member=one.member,
        stored_offset=stored,
        committed_offset=one.committed_offset,
        first_offset=one.first_offset,
        end_offset=one.end_offset,
        lag_records=lag_records,
        lag_seconds=_seconds_of(one) if lag_records else 0.0,
        records_missed=missed,
        beyond_end=0 if stored is None else max(0, stored - one.end_offset),
        stored_ms=one.stored_ms,
    )


def sum_of(lags: Iterable[PartitionLag], topic: str | None = None) -> LagSum:
    """Sum over the partitions of one topic; None: over all."""
    chosen = [one for one in lags if topic in {None, one.topic}]
    known = [one.lag_seconds for one in chosen if one.lag_seconds is not None]
    return LagSum(
        topic=topic,
        partitions=len(chosen),
        held=sum(one.member is not None for one in chosen),
        lag_records=sum(one.lag_records for one in chosen),
        lag_seconds=max(known, default=None),
        records_missed=sum(one.records_missed for one in chosen),
    )


def _seconds_of(one: Standing) -> float | None:
    if one.waiting_ms is None or one.newest_ms is None:
        return None
    return max(0, one.newest_ms - one.waiting_ms) / 1000
