"""What one process of a back-test does: it reads a whole file, and counts its share of it.

The records of a file are dealt to as many partitions as the topics have, each creator to the one
that Kafka's producers choose; each process counts some of these, under one lot of settings or two.
The jobs are the worker's own, and the watermark is the partition's, as in a worker: so the surges
are those that workers announce when they read the same records in the same order.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from streams.app.jobs import comment_partition_of, follow_partition_of, limits_of
from streams.core.partition_state import Outcome
from streams.core.records.chunks import DeadRecord, RawChunk, Reason
from streams.core.records.dealing import Dealer
from streams.core.reports.surging import Audience, audiences_of
from streams.core.surges.surge import Surge
from streams.edges.codec.events import Decoded, Limits, decode_comments, decode_follows
from streams.edges.files.records import RecordFile
from streams.edges.kafka.producer import partition_of
from streams.edges.settings.list import Settings

Parts = Sequence[tuple[int, Any]]
"""Records of a chunk by partition."""


class Share(NamedTuple):
    """Which partitions a process counts: every ``of``-th, from ``number`` on."""

    number: int = 0
    of: int = 1

    def has(self, partition: int) -> bool:
        """Whether it is one of them."""
        return partition % self.of == self.number


class SideTold(NamedTuple):
    """What came of a chunk under one lot of settings: outcomes by partition.

    ``dead`` counts those of the whole chunk, and is empty but in the first share.
    """

    outcomes: list[tuple[int, Outcome]]
    dead: Counter[Reason]
    first_ms: int
    last_ms: int


class ChunkTold(NamedTuple):
    """What came of a chunk of so many records; ``read_bytes``: of the file, so far.

    ``dead``: those that cannot be used under the first settings; none but in the first share.
    """

    records: int
    read_bytes: int
    dead: list[DeadRecord]
    sides: list[SideTold]


class SideEnd(NamedTuple):
    """What came of a file's end under one lot of settings: of what was held, and who is known."""

    outcomes: list[tuple[int, Outcome]]
    audiences: dict[str, Audience]
    creators: int


FileEnd = list[SideEnd]
"""Of each lot of settings."""


class FileTask(NamedTuple):
    """How a file is read and counted, but for the share. ``is_follows``: else of comments."""

    topic: str
    is_follows: bool
    settings: tuple[Settings, ...]
    chunk_records: int


@dataclass(frozen=True, slots=True)
class _Trade:
    """What is done with one topic's chunks; a chunk's kind is the topic's own."""

    decode: Callable[[RawChunk, int | None, Limits], Decoded[Any]]
    deal: Callable[[Any], Iterator[tuple[int, Any]]]
    build: Callable[[Settings], Any]


class _Side:
    """The jobs of a share of a file's partitions under one lot of settings."""

    def __init__(self, settings: Settings, is_follows: bool, share: Share) -> None:
        self.settings = settings
        self.limits = limits_of(settings)
        count = settings.topic_partitions
        dealer = Dealer(count, lambda creator_id: partition_of(creator_id, count))
        follows = _Trade(decode_follows, dealer.deal_follows, follow_partition_of)
        comments = _Trade(decode_comments, dealer.deal_comments, comment_partition_of)
        self.trade = follows if is_follows else comments
        self._share = share
        self._jobs: dict[int, Any] = {}
        self._opened: dict[int, list[Surge]] = {}

    def count(self, parts: Parts, dead: list[DeadRecord]) -> SideTold:
        """Count the share's records of a dealt chunk."""
        outcomes: list[tuple[int, Outcome]] = []
        first_ms = last_ms = -1
        for partition, part in parts:
            if not self._share.has(partition):
                continue
            if partition not in self._jobs:
                self._jobs[partition] = self.trade.build(self.settings)
                self._opened[partition] = []
            if len(part.at_ms):
                first, last_ms = int(part.at_ms.min()), max(last_ms, int(part.at_ms.max()))
                first_ms = first if first_ms < 0 else min(first_ms, first)
            outcomes.append((partition, self._jobs[partition].take(part)))
        self._note(outcomes)
        return SideTold(outcomes, Counter(one.reason for one in dead), first_ms, last_ms)

    def end(self) -> SideEnd:
        """Count what is held, as the file ends."""
        outcomes = [(partition, job.take_held()) for partition, job in self._jobs.items()]
        self._note(outcomes)
        audiences: dict[str, Audience] = {}
        for partition, surges in self._opened.items():
            audiences |= audiences_of(self._jobs[partition], surges)
        return SideEnd(outcomes, audiences, sum(job.creators_known for job in self._jobs.values()))

    def _note(self, outcomes: list[tuple[int, Outcome]]) -> None:
        for partition, outcome in outcomes:
            self._opened[partition] += [one for one in outcome.surges if one.state == "opened"]


def counted(file: RecordFile, task: FileTask, share: Share) -> Iterator[ChunkTold | FileEnd]:
    """Count a share of a file, chunk by chunk; last comes what the end says of each settings.

    Records are decoded and dealt once where that comes to the same under both settings. Raises
    FileBroken.
    """
    sides = [_Side(each, task.is_follows, share) for each in task.settings]
    for raw in file.chunks(task.chunk_records):
        decoded: dict[Limits, Decoded[Any]] = {}
        dealt: dict[tuple[Limits, int], Parts] = {}
        told: list[SideTold] = []
        for side in sides:
            limits, how = side.limits, (side.limits, side.settings.topic_partitions)
            if limits not in decoded:
                # files do not say when a record arrived: nothing is from the future
                decoded[limits] = side.trade.decode(raw, None, limits)
            if how not in dealt:
                dealt[how] = list(side.trade.deal(decoded[limits].chunk))
            told.append(side.count(dealt[how], decoded[limits].dead if not share.number else []))
        dead = decoded[sides[0].limits].dead if not share.number else []
        yield ChunkTold(len(raw.values), file.position_bytes, dead, told)
    yield [side.end() for side in sides]
