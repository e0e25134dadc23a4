"""Runs the worker's own jobs over files, with no servers: the work of ``surgewatch backtest``.

The records of a file are dealt to as many partitions as the topics have, each creator to the one
that Kafka's producers choose. The watermark is the partition's, as in a worker, so the surges are
those that workers announce when they read the same records in the same order. What partitions
report of their closed buckets goes straight to the job that tells waves.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from streams.app.jobs import comment_partition_of, follow_partition_of, limits_of
from streams.core.partition import Partition
from streams.core.partition_state import Outcome
from streams.core.records.chunks import DeadRecord, RawChunk, Reason
from streams.core.records.dealing import Dealer
from streams.core.records.texts import Ints
from streams.core.reports.surging import Audience, audiences_of
from streams.core.surges.surge import Surge
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import ReportChunk
from streams.edges.codec.events import Decoded, Limits, decode_comments, decode_follows
from streams.edges.files.records import RecordFile
from streams.edges.kafka.producer import partition_of
from streams.edges.settings.list import Settings

_RECORDS_EACH: Final = 2_500
"""Records that a partition gets of one chunk on average: fewer cost more time a record."""
_CHUNK_RECORDS_MIN: Final = 10_000
_CHUNK_RECORDS_MAX: Final = 100_000

Bury = Callable[[list[DeadRecord]], None]
Parts = Sequence[tuple[int, Any]]
"""Records of a chunk by partition."""


@dataclass(slots=True)
class BacktestResult:
    """What came of the files read so far; ``dead`` counts by reason.

    ``first_ms`` and ``last_ms``: event times of the first and the last record, -1: none.
    ``audiences``: by ``surge_id``, whose audience surges are of, as of the end of their file.
    """

    records: dict[str, int] = field(default_factory=dict)
    creators: dict[str, int] = field(default_factory=dict)
    counted: int = 0
    late: int = 0
    repeated: int = 0
    first_ms: int = -1
    last_ms: int = -1
    dead: Counter[Reason] = field(default_factory=Counter)
    audiences: dict[str, Audience] = field(default_factory=dict)
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

    def learn_audiences(self, number: int, jobs: Mapping[int, Partition]) -> None:
        """Ask the jobs of a file whose audience its surges are of."""
        mine: dict[int, list[Surge]] = {partition: [] for partition in jobs}
        for _, file, partition, surge in self._told:
            if file == number and partition in mine and surge.state == "opened":
                mine[partition].append(surge)
        for partition, surges in mine.items():
            self.audiences |= audiences_of(jobs[partition], surges)

    def live(self, at_ms: Ints) -> None:
        """Take note of the event times of some records."""
        if len(at_ms):
            first_ms, last_ms = int(at_ms.min()), int(at_ms.max())
            self.first_ms = first_ms if self.first_ms < 0 else min(self.first_ms, first_ms)
            self.last_ms = max(self.last_ms, last_ms)


@dataclass(frozen=True, slots=True)
class _Trade:
    """What is done with one topic's chunks; a chunk's kind is the topic's own."""

    decode: Callable[[RawChunk, int | None, Limits], Decoded[Any]]
    deal: Callable[[Any], Iterator[tuple[int, Any]]]
    build: Callable[[Settings], Any]


class _Side:
    """The jobs under one lot of settings. ``topics`` are the names of follows and comments."""

    def __init__(self, settings: Settings, topics: tuple[str, str]) -> None:
        self.settings = settings
        self.limits = limits_of(settings)
        self.result = BacktestResult()
        count = settings.topic_partitions
        dealer = Dealer(count, lambda creator_id: partition_of(creator_id, count))
        follows = _Trade(decode_follows, dealer.deal_follows, follow_partition_of)
        comments = _Trade(decode_comments, dealer.deal_comments, comment_partition_of)
        self.trades = dict(zip(topics, (follows, comments), strict=True))
        self._jobs: dict[int, Any] = {}
        self._fleet = FleetWaves(count)
        self._number = -1

    def begin(self, topic: str) -> None:
        """Begin a file."""
        self._jobs = {}
        self._fleet = FleetWaves(self.settings.topic_partitions)
        self._number = len(self.result.records)
        self.result.records[topic] = 0

    def count(self, topic: str, parts: Parts) -> None:
        """Count the dealt records of a chunk."""
        for partition, part in parts:
            if partition not in self._jobs:
                self._jobs[partition] = self.trades[topic].build(self.settings)
            self.result.live(part.at_ms)
            self._add(partition, self._jobs[partition].take(part))

    def end(self, topic: str) -> None:
        """Count what is held, as the file ends."""
        for partition, job in sorted(self._jobs.items()):
            self._add(partition, job.take_held())
        self._tell(self._fleet.take_held())
        self.result.learn_audiences(self._number, self._jobs)
        self.result.creators[topic] = sum(job.creators_known for job in self._jobs.values())

    def _add(self, partition: int, outcome: Outcome) -> None:
        self.result.add((self._number, partition), outcome)
        reports = [report.of_partition(partition) for report in outcome.reports]
        self._tell(self._fleet.take(ReportChunk(reports)))

    def _tell(self, outcome: Outcome) -> None:
        """Add what was told of waves: they are of no partition."""
        place = self._number, self.settings.topic_partitions
        self.result.add(place, Outcome(0, 0, outcome.surges))


class Backtest:
    """One back-test. ``bury`` gets the records that cannot be used, placed by their line.

    ``chunk_records`` makes no difference to the surges. With ``other`` settings the same records
    are counted under these too; they are decoded and dealt once where that comes to the same.
    """

    def __init__(
        self,
        settings: Settings,
        bury: Bury,
        chunk_records: int | None = None,
        other: Settings | None = None,
    ) -> None:
        self._bury = bury
        wanted = min(
            max(_RECORDS_EACH * settings.topic_partitions, _CHUNK_RECORDS_MIN), _CHUNK_RECORDS_MAX
        )
        self._chunk_records = chunk_records or wanted
        topics = (settings.topic_follows, settings.topic_comments)
        self._sides = [_Side(each, topics) for each in (settings, other) if each is not None]
        self.result = self._sides[0].result
        self.other = None if other is None else self._sides[1].result

    def take(self, file: RecordFile, told: Callable[[], None] = lambda: None) -> None:
        """Take a whole file; ``told`` is called after each chunk. Raises FileBroken."""
        topic = file.topic
        for side in self._sides:
            side.begin(topic)
        for raw in file.chunks(self._chunk_records):
            self._take(topic, raw)
            told()
        for side in self._sides:
            side.end(topic)

    def _take(self, topic: str, raw: RawChunk) -> None:
        decoded: dict[Limits, Decoded[Any]] = {}
        dealt: dict[tuple[Limits, int], Parts] = {}
        for side in self._sides:
            trade, limits = side.trades[topic], side.limits
            if limits not in decoded:
                # files do not say when a record arrived: nothing is from the future
                decoded[limits] = trade.decode(raw, None, limits)
            mine = decoded[limits]
            if mine.dead:
                side.result.dead.update(dead.reason for dead in mine.dead)
                if side is self._sides[0]:
                    self._bury(mine.dead)
            how = (limits, side.settings.topic_partitions)
            if how not in dealt:
                dealt[how] = list(trade.deal(mine.chunk))
            side.count(topic, dealt[how])
            side.result.records[topic] += len(raw.values)
