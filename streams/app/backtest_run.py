"""Runs the worker's own jobs over files, with no servers: the work of ``surgewatch backtest``.

The records of a file are dealt to as many partitions as the topics have, each creator to the one
that Kafka's producers choose. The watermark is the partition's, as in a worker, so the surges are
those that workers announce when they read the same records in the same order.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from streams.app.jobs import comment_partition_of, follow_partition_of, limits_of
from streams.core.dealing import Dealer
from streams.core.events import DeadRecord, RawChunk, Reason
from streams.core.partition_state import Outcome
from streams.core.surges import Surge
from streams.edges.codec import Decoded, Limits, decode_comments, decode_follows
from streams.edges.codec_faults import AT_MS_END
from streams.edges.files import RecordFile
from streams.edges.producer import partition_of
from streams.edges.settings_list import Settings

_RECORDS_EACH: Final = 2_500
"""Records that a partition gets of one chunk on average: fewer cost more time a record."""
_CHUNK_RECORDS_MIN: Final = 10_000
_CHUNK_RECORDS_MAX: Final = 100_000

Bury = Callable[[list[DeadRecord]], None]


@dataclass(slots=True)
class BacktestResult:
    """What came of the files read so far; ``dead`` counts by reason."""

    records: dict[str, int] = field(default_factory=dict)
    counted: int = 0
    late: int = 0
    repeated: int = 0
    dead: Counter[Reason] = field(default_factory=Counter)
    _told: list[tuple[int, int, int, Surge]] = field(default_factory=list)

    def surges(self) -> list[Surge]:
        """Surges by ``seen_ms``, those of one partition in the order in which they were told."""
        ordered = sorted(self._told, key=lambda told: told[:3])
        return [surge for _, _, _, surge in ordered]

    def add(self, place: tuple[int, int], outcome: Outcome) -> None:
        """Add what came of records of one partition (number of the file, partition)."""
        self.counted += outcome.counted
        self.late += outcome.late
        self.repeated += outcome.repeated
        self._told += [(surge.seen_ms, *place, surge) for surge in outcome.surges]


@dataclass(frozen=True, slots=True)
class _Trade:
    """What is done with one topic's chunks; a chunk's kind is the topic's own."""

    decode: Callable[[RawChunk, int, Limits], Decoded[Any]]
    deal: Callable[[Any], Iterator[tuple[int, Any]]]
    build: Callable[[Settings], Any]


class Backtest:
    """One back-test. ``bury`` gets the records that cannot be used, placed by their line.

    ``chunk_records`` makes no difference to the surges.
    """

    def __init__(self, settings: Settings, bury: Bury, chunk_records: int | None = None) -> None:
        self._settings = settings
        self._bury = bury
        count = settings.topic_partitions
        wanted = min(max(_RECORDS_EACH * count, _CHUNK_RECORDS_MIN), _CHUNK_RECORDS_MAX)
        self._chunk_records = chunk_records or wanted
        dealer = Dealer(count, lambda creator_id: partition_of(creator_id, count))
        self._trades = {
            settings.topic_follows: _Trade(
                decode_follows, dealer.deal_follows, follow_partition_of
            ),
            settings.topic_comments: _Trade(
                decode_comments, dealer.deal_comments, comment_partition_of
            ),
        }
        self.result = BacktestResult()

    def take(self, file: RecordFile, told: Callable[[], None] = lambda: None) -> None:
        """Take a whole file; ``told`` is called after each chunk. Raises FileBroken."""
        settings, result, trade = self._settings, self.result, self._trades[file.topic]
        limits = limits_of(settings)
        jobs: dict[int, Any] = {}
        number = len(result.records)
        result.records[file.topic] = 0
        for raw in file.chunks(self._chunk_records):
            decoded = trade.decode(raw, AT_MS_END, limits)  # no clock: nothing is in the future
            if decoded.dead:
                result.dead.update(dead.reason for dead in decoded.dead)
                self._bury(decoded.dead)
            for partition, part in trade.deal(decoded.chunk):
                if partition not in jobs:
                    jobs[partition] = trade.build(settings)
                result.add((number, partition), jobs[partition].take(part))
            result.records[file.topic] += len(raw.values)
            told()
        for partition, job in sorted(jobs.items()):
            result.add((number, partition), job.take_held())
