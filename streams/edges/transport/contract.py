"""What the batch transport asks of the app that carries it, and the faults that stop it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from faust.types import TP

from streams.core.records.chunks import RawChunk
from streams.edges.errors import DataError, SurgewatchError, UnreachableError


class OffsetBeyondEnd(DataError):
    """The owner's offset lies past the end of the partition: another topic, or one cut off."""

    def __init__(self, tp: TP, offset: int, end_offset: int) -> None:
        super().__init__(
            f"{tp.topic}/{tp.partition}: the stored offset is {offset}, but the partition ends at"
            f" {end_offset}: was the topic deleted and made again, or did it lose its end (unclean"
            " leader election)? Set another SURGEWATCH_REDIS_PREFIX to count what it holds now"
        )
        self.tp, self.offset, self.end_offset = tp, offset, end_offset


class TakeOverFailed(UnreachableError):
    """Where to begin could not be told in time, or not at all."""


class ReadGap(SurgewatchError):
    """A fetched chunk does not begin where the one before it ended."""

    def __init__(self, tp: TP, expected_offset: int, offset: int) -> None:
        super().__init__(
            f"{tp.topic}/{tp.partition}: read on at {offset} instead of {expected_offset}."
            " Start the worker again: it continues from the stored offset."
        )
        self.tp, self.expected_offset, self.offset = tp, expected_offset, offset


class ReadBack(DataError):
    """Kafka gives records from before where we were: the partition ended before our offset."""

    def __init__(self, tp: TP, expected_offset: int, offset: int) -> None:
        super().__init__(
            f"{tp.topic}/{tp.partition}: Kafka goes on at offset {offset} after {expected_offset}"
            " was reached: was the topic deleted and made again, or did it lose its end (unclean"
            " leader election)? Set another SURGEWATCH_REDIS_PREFIX to count what it holds now"
        )
        self.tp, self.expected_offset, self.offset = tp, expected_offset, offset


class RecordsGone(DataError):
    """Kafka has deleted records that were not counted yet."""

    def __init__(self, tp: TP, expected_offset: int, first_offset: int) -> None:
        count = first_offset - expected_offset
        super().__init__(
            f"{tp.topic}/{tp.partition}: {count} records (offsets {expected_offset} to"
            f" {first_offset - 1}) were deleted by Kafka's retention before they were counted. Set"
            " SURGEWATCH_ON_RECORDS_GONE=skip to go on without them (counts are too low by them"
            " for 24 hours), or another SURGEWATCH_REDIS_PREFIX to count anew what Kafka still"
            " has; and let it keep records for longer than workers may be away"
        )
        self.tp, self.count = tp, count


def stop_at_gone(tp: TP, expected_offset: int, first_offset: int) -> None:
    """Raise RecordsGone, whatever was missed: the default."""
    raise RecordsGone(tp, expected_offset, first_offset)


def pass_over(_tp: TP, _count: int) -> None:
    """Tell nobody: the default."""


def say_nothing() -> None:
    """Tell nobody: the default."""


class PartitionOwner(Protocol):
    """Who keeps the state of partitions; the app carries it as ``app.partition_owner``."""

    async def take_over(self, partitions: set[TP], generation: int) -> Mapping[TP, int | None]:
        """Load state; give the next offset to read, None for the beginning of the partition.

        May be cancelled at any await when the group rebalances again.
        """

    @property
    def rereads(self) -> Mapping[TP, tuple[int, int]]:
        """Where to begin instead, in partitions of which some records are to be read once more.

        As far back as Kafka still has them; what is gone is not missed before the second offset.
        """

    async def give_up(self, partitions: set[TP]) -> None:
        """Store and ack everything handed over so far; queued chunks are already dropped."""


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What Faust has no setting for; the app may carry it as ``app.transport_options``.

    ``chunk_records_max`` bounds a chunk; ``partition_fetch_bytes_max`` is Faust's
    ``consumer_max_fetch_size``. ``fetch_wait_ms_max`` is how long the broker may hold an empty
    fetch: it answers at once when there is a byte. Taking over ends before Faust's wait for it
    does (``broker_request_timeout``), after which nobody would seek any more. Stopping takes at
    most giving up, one commit and leaving: 29 s, so that a grace period of 30 s is enough.
    ``records_gone`` hears, on either thread, where reading should go on and the first offset that
    Kafka still has; it raises, or returns to have the records between left out. ``ids_gone`` hears
    of how many records that were only to be read once more Kafka has no more; ``counts_gone``, for
    a partition of which the owner has nothing though the group committed offsets, of how many were
    counted once and are in Kafka no more, though what is left begins less than a day ago.
    ``commit_failed`` hears of each commit that Kafka refused or did not answer. For traces, in Unix
    time (ns): ``fetched`` hears of each chunk, and when it was asked for; ``committed`` of offsets
    that Kafka has, and when it was told them.
    """

    chunk_records_max: int = 16_384
    fetch_bytes_max: int = 16 * 2**20
    fetch_wait_ms_max: int = 500
    isolation_level: str = "read_committed"
    take_over_seconds_max: float = 55.0
    give_up_seconds_max: float = 20.0
    commit_seconds_max: float = 5.0
    leave_seconds_max: float = 4.0
    records_gone: Callable[[TP, int, int], None] = stop_at_gone
    ids_gone: Callable[[TP, int], None] = pass_over
    counts_gone: Callable[[TP, int], None] = pass_over
    commit_failed: Callable[[], object] = say_nothing
    fetched: Callable[[TP, RawChunk, int], None] | None = None
    committed: Callable[[Mapping[TP, int], int], None] | None = None
