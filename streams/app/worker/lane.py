"""One partition's way through the worker, and what a worker is told about its topics."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from faust.types import TP

from streams.app.worker.rereading import FromFuture, Rereading
from streams.core.partition import CommentPartition, FollowPartition
from streams.core.partition_state import Outcome
from streams.core.records.chunks import CommentChunk, DeadRecord, FollowChunk, RawChunk, Reason
from streams.core.records.dead_letter_limit import DeadLetterCount, DeadLetterLimit
from streams.core.records.repeats import Lookback, Moment, Reread
from streams.core.records.texts import Ints
from streams.core.reports.surging import Pages
from streams.core.surges.surge import Surge
from streams.core.waves.fleet import FleetWaves
from streams.core.waves.report import ReportChunk, WaveReport
from streams.edges.codec.events import Decoded
from streams.edges.errors import DataError
from streams.edges.kafka.report_lot import Lot, report_lots_of
from streams.edges.kafka.surge_lot import lots_of
from streams.edges.store import Fence, Held, Place, Write, frontier_of


class Announcer(Protocol):
    """Sends to Kafka; returns when the broker has everything, retrying for as long as it takes."""

    async def announce(self, lots: Sequence[Lot]) -> None:
        """Send surge records and wave reports in their order."""

    async def bury(self, dead: list[DeadRecord]) -> None:
        """Send records to dead letters."""


AnyDecoded = Decoded[FollowChunk] | Decoded[CommentChunk] | Decoded[ReportChunk]


@dataclass(frozen=True, slots=True)
class Trade:
    """What is done with one topic's chunks."""

    decode: Callable[[RawChunk], AnyDecoded]
    build: Callable[[], FollowPartition | CommentPartition | FleetWaves]
    decode_again: Callable[[RawChunk], AnyDecoded] | None = None

    def looked_at_by(self, look: Callable[[RawChunk, Any], None]) -> "Trade":
        """The same, with a look at each chunk that is decoded the first time."""
        decode = self.decode

        def decode_and_look(raw: RawChunk) -> AnyDecoded:
            decoded = decode(raw)
            look(raw, decoded.chunk)
            return decoded

        return replace(self, decode=decode_and_look)

    @property
    def decode_read(self) -> Callable[[RawChunk], AnyDecoded]:
        """Decodes what was read before: whether it was in the future was decided then."""
        return self.decode_again or self.decode


@dataclass(frozen=True, slots=True)
class PipelinePolicy:
    """When changed state is written, and when a topic is too broken.

    ``keys_in_memory_max``: of all partitions; None: all that there are. ``forget_seconds``: how
    often it is asked which keys that were let go the store holds no more. ``look_seconds``: after
    so long without a write one of nothing is made. ``settings_hash``: the digest to be told.
    """

    flush_interval_seconds: float
    flush_records_max: int
    dead_letters: DeadLetterLimit
    keys_in_memory_max: int | None = None
    forget_seconds: float = 86_400.0
    look_seconds: float = 5.0
    settings_hash: str = ""


@dataclass(slots=True)
class Lane:
    """One partition's way: its job, and what waits for the next write."""

    tp: TP
    fence: Fence
    job: Any  # FollowPartition, CommentPartition or FleetWaves, whichever the trade builds
    dead_count: DeadLetterCount
    stored_offset: int | None
    next_offset: int
    lookback: Lookback | None = None
    reread: Reread | None = None
    rereading: Rereading | None = None
    from_future: FromFuture = field(default_factory=dict)
    stored_frontier: int | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    quiet_since: float | None = None
    letting_go: asyncio.Task[None] | None = None
    unstored: int = 0
    messages: list[Any] = field(default_factory=list)
    told: list[Surge] = field(default_factory=list)
    reports: list[WaveReport] = field(default_factory=list)
    resend: dict[str, Lot] = field(default_factory=dict)
    announced: list[str] = field(default_factory=list)
    pages: Pages = field(default_factory=dict)
    lots_made: tuple[int, int] = (0, 0)
    flushing: asyncio.Task[None] | None = None
    lost: bool = False
    reads_back: bool = False
    forgets_at: float = 0.0
    written_at: float = field(default_factory=time.monotonic)
    times: list[Ints] = field(default_factory=list)
    asked_ms: int | None = None

    @property
    def place(self) -> Place:
        """The partition, as the store names it."""
        return Place(self.tp.topic, self.tp.partition)

    @property
    def offsets(self) -> tuple[int | None, int]:
        """Offset that is stored, and the one that the next write stores."""
        return self.stored_offset, self.next_offset

    @property
    def reached(self) -> int | None:
        """Offset up to which all is stored; None: nothing was taken, nor stored before.

        What is taken but not stored counts as behind: a worker whose store hangs stands still.
        """
        if self.messages or (self.flushing is not None and not self.flushing.done()):
            return self.stored_offset or 0
        return self.next_offset or self.stored_offset

    @property
    def waiting(self) -> bool:
        """Whether anything waits for a write."""
        told = self.told or self.reports or self.resend or self.announced
        return bool(self.messages or told or self.unstored)

    def is_to_be_written(self, look_seconds: float) -> bool:
        """Whether anything waits for a write, or the last one was so long ago.

        A store may have gone back to an older moment, or been emptied: a write tells, even of
        nothing.
        """
        is_stored = self.rereading is None and self.stored_offset == self.next_offset
        due = is_stored and time.monotonic() - self.written_at >= look_seconds
        return not self.lost and (self.waiting or due)

    def stored(self, write: Write) -> None:
        """Take note of a write that was done."""
        self.stored_offset, self.stored_frontier = write.next_offset, write.frontier
        self.written_at = time.monotonic()

    @property
    def allowed_lateness_ms(self) -> int:
        """For how long records are held back; 0: not at all."""
        return 0 if self.job.hold is None else int(self.job.hold.allowed_ms)

    def took_over(self, held: Held) -> None:
        """Take up what was held, and what of it is to be read once more."""
        self.stored_frontier = frontier_of(held.state.standing)
        repeats = None if self.job.repeats is None else self.job.repeats.policy
        if repeats is not None or self.job.hold is not None:
            self.lookback = Lookback(repeats, self.allowed_lateness_ms)
            if held.reread is not None and held.next_offset is not None:
                self._read_once_more(held.reread, held.next_offset)

    def _read_once_more(self, reread: Reread, next_offset: int) -> None:
        self.reread, self.from_future = reread, dict.fromkeys(reread.dead_offsets, -1)
        self.job.clock.state = reread.agreed
        self.rereading = Rereading(next_offset, reread.watermark_ms, self.from_future)

    def took(self, offsets: Sequence[int], before: Moment, read_ms: int) -> None:
        """Take note of records that were taken; ``read_ms`` is the watermark after them."""
        if self.lookback is not None and offsets:
            clock = self.job.clock
            after = Moment(read_ms, clock.state)
            self.lookback.took(offsets[0], clock.newest_ms, before, after)

    def buried(self, from_future: FromFuture) -> None:
        """Take note of records that are dead for their time alone: a next owner must know them."""
        if self.lookback is not None:
            self.from_future |= from_future

    def reread_now(self) -> Reread | None:
        """Where the next owner begins to read again if it takes over what was counted so far."""
        if self.rereading is not None:
            return self.reread  # what it is to bring is not all here
        if self.lookback is None or self.lookback.begin is None:
            return None
        begin, read_ms = self.lookback.begin, self.job.read_ms
        if self.from_future:
            self.from_future = {at: ms for at, ms in self.from_future.items() if at >= begin.offset}
        dead = sorted(offset for offset, at_ms in self.from_future.items() if at_ms <= read_ms)
        held = (
            None
            if self.job.standing is None
            else self.lookback.first_beyond(self.job.standing.frontier_ms)
        )
        return begin._replace(held_offset=held, dead_offsets=tuple(dead))

    def refuse_if_broken(self, chunk: RawChunk, dead: Sequence[DeadRecord]) -> None:
        """Take note of what could not be used; raises DataError if that is more than allowed."""
        broken = self.dead_count.take(chunk.offsets, [one.offset for one in dead])
        if broken is not None:
            clocks = any(one.reason is Reason.AT_MS_IN_FUTURE for one in dead)
            mend = "mend the producers' clocks, or the brokers'" if clocks else "mend the producer"
            msg = (
                f"{self.tp.topic}[{self.tp.partition}] is broken up to offset {chunk.next_offset}: "
                f"{broken}. They are in dead letters; {mend}, or raise "
                "SURGEWATCH_DEAD_LETTERS_SHARE_MAX and _ROW_MAX, then start again"
            )
            raise DataError(msg)

    def is_quiet(self, end_offset: int | None, now: float) -> bool:
        """Whether no record came for the allowed lateness; ``end_offset`` as told just now."""
        hold = self.job.hold
        if end_offset is None or end_offset > self.next_offset or self.turn.locked() or not hold:
            self.quiet_since = None
        elif self.quiet_since is None:
            self.quiet_since = now
        quiet = self.quiet_since is not None and self.rereading is None and not self.lost
        return quiet and now - (self.quiet_since or now) >= self.allowed_lateness_ms / 1000

    def counted(self, outcome: Outcome, chunk: Any) -> None:
        """Take note of what came of a chunk, to be told with the next write."""
        self.told += outcome.surges
        if outcome.counted and not isinstance(chunk, ReportChunk):
            self.times.append(chunk.at_ms + self.allowed_lateness_ms)
        self.reports += [one.of_partition(self.tp.partition) for one in outcome.reports]

    def became_pages(self, pages: Pages) -> None:
        """Take note of surges that became pages, to be told with the next write."""
        for of, surge_ids in pages.items():
            self.pages.setdefault(of, []).extend(surge_ids)

    def take_times(self) -> list[Ints]:
        """When each record that was counted since the last call was first to be counted.

        Its own time, and the allowed lateness after it: that wait was asked for.
        """
        times, self.times = self.times, []
        return times

    def take_counted_days(self) -> float:
        """Days of event time that were counted since the last call; 0 at the first."""
        now_ms = self.job.watermark_ms
        if now_ms < 0:
            return 0.0
        since_ms, self.asked_ms = self.asked_ms, now_ms
        return 0.0 if since_ms is None else (now_ms - since_ms) / 86_400_000

    def take_lots(self) -> dict[str, Lot]:
        """Lots of what was told since the last call, by names that rise and are used only once."""
        told, self.told = self.told, []
        reports, self.reports = self.reports, []
        offset, owner = self.next_offset, self.fence.owner
        here, begin = self.lots_made  # held records are let through while no offset moves
        lots: list[Lot] = [*lots_of(told), *report_lots_of(reports)]
        begin = begin if here == offset else 0
        self.lots_made = (offset, begin + len(lots))
        return {
            f"{offset:020d}.{number:04d}.{owner}": lot for number, lot in enumerate(lots, begin)
        }
