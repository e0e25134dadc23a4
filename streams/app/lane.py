"""One partition's way through the worker, and what a worker is told about its topics."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec
from faust.types import TP

from streams.app.rereading import Rereading
from streams.core.block_state import DetectorStateError
from streams.core.dead_letter_limit import DeadLetterCount, DeadLetterLimit
from streams.core.detector_river import RiverStateError
from streams.core.events import CommentChunk, DeadRecord, FollowChunk, RawChunk
from streams.core.packing import LayoutUnknown
from streams.core.partition import CommentPartition, FollowPartition
from streams.core.repeats import Lookback, Reread
from streams.core.surges import Surge
from streams.edges.codec import Decoded
from streams.edges.errors import DataError
from streams.edges.store import Fence, Place
from streams.edges.surge_lot import SurgeLot, lots_of

UNREADABLE: Final = (LayoutUnknown, DetectorStateError, RiverStateError, msgspec.DecodeError)
"""What stored state is that this version cannot read."""


def cannot_be_read(place: Place, error: Exception) -> DataError:
    """Say that, and what to do about it."""
    return DataError(
        f"{place.topic}[{place.partition}]: the state in the store cannot be read: {error}. "
        "Remove this prefix's keys, or set another SURGEWATCH_REDIS_PREFIX: the worker then "
        "counts what Kafka still has"
    )


class Announcer(Protocol):
    """Sends to Kafka; returns when the broker has everything, retrying for as long as it takes."""

    async def announce(self, lots: Sequence[SurgeLot]) -> None:
        """Send surge records in their order."""

    async def bury(self, dead: list[DeadRecord]) -> None:
        """Send records to dead letters."""


@dataclass(frozen=True, slots=True)
class Trade:
    """What is done with one topic's chunks."""

    decode: Callable[[RawChunk], Decoded[FollowChunk] | Decoded[CommentChunk]]
    build: Callable[[], FollowPartition | CommentPartition]


@dataclass(frozen=True, slots=True)
class PipelinePolicy:
    """When changed state is written, and when a topic is too broken.

    ``repeats_horizon_ms``: how far back reading begins again to learn the event ids; 0: not at all.
    ``keys_in_memory_max``: of all partitions; None: all that there are.
    """

    flush_interval_seconds: float
    flush_records_max: int
    dead_letters: DeadLetterLimit
    repeats_horizon_ms: int = 0
    keys_in_memory_max: int | None = None


@dataclass(slots=True)
class Lane:
    """One partition's way: its job, and what waits for the next write."""

    tp: TP
    fence: Fence
    job: Any  # FollowPartition or CommentPartition, whichever the trade builds
    dead_count: DeadLetterCount
    stored_offset: int | None
    next_offset: int
    lookback: Lookback | None = None
    reread: Reread | None = None
    rereading: Rereading | None = None
    unstored: int = 0
    messages: list[Any] = field(default_factory=list)
    told: list[Surge] = field(default_factory=list)
    resend: dict[str, SurgeLot] = field(default_factory=dict)
    announced: list[str] = field(default_factory=list)
    flushing: asyncio.Task[None] | None = None
    lost: bool = False
    reads_back: bool = False

    @property
    def place(self) -> Place:
        """The partition, as the store names it."""
        return Place(self.tp.topic, self.tp.partition)

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
        return bool(self.messages or self.told or self.resend or self.announced)

    def take_lots(self) -> dict[str, SurgeLot]:
        """Lots of what was told since the last call, by names that rise and are used only once."""
        told, self.told = self.told, []
        offset, owner = self.next_offset, self.fence.owner
        return {
            f"{offset:020d}.{number:04d}.{owner}": lot for number, lot in enumerate(lots_of(told))
        }
