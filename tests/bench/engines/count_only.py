"""Surgewatch's way without detector and store: batch transport, decoder, counts, the rule."""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import uvloop
from faust.types import TP
from numpy.typing import NDArray

from streams.app.worker.faust_app import build_app
from streams.app.worker.pipeline import Pipeline
from streams.core.detection.block import DetectorBlock
from streams.core.detection.block_ahead import Course
from streams.core.detection.block_maths import ScoreColumns
from streams.core.detection.block_tables import Ints
from streams.core.detection.policy import DetectorPolicy
from streams.core.partition import FollowPartition
from streams.core.surges.rules import Rule
from streams.core.surges.watch import Watch
from streams.core.surges.watch_policy import WatchPolicy
from streams.core.waves.factors import WaveFactors
from streams.edges.codec.events import Limits, decode_follows
from streams.edges.codec.faults import AT_MS_END
from streams.edges.process.allocator import keep_freed_memory
from streams.edges.settings.reading import read_settings
from tests.bench.engines.protocol import Order, Stamp, answer, order_of, stamp


class NothingAhead(NamedTuple):
    """Scores of 0, and nothing to keep."""

    score: NDArray[np.float64]
    expected: NDArray[np.float64]
    exposure: NDArray[np.float64]

    def keep(self, keys: NDArray[np.bool_] | None) -> None:
        """Keep nothing."""


class NoDetector(DetectorBlock):
    """Learns nothing and never alarms."""

    def grow(self, size: int) -> None:
        """Keep nothing."""

    def begin(self, slots: Ints, bucket: int) -> None:
        """Keep nothing."""

    def advance(self, slots: Ints, opened: Ints, counts: Ints, bucket: Ints | int) -> None:
        """Learn nothing."""

    def amend(self, slots: Ints, late_bucket: Ints, opened: Ints, counts: Ints) -> None:
        """Learn nothing."""

    def lift_by(self, factors: WaveFactors) -> bool:
        """Expect nothing, whatever the wave."""
        return False

    def score(
        self, slots: Ints, counts: Ints, *, opened: Ints | int, lift: float = 1.0
    ) -> ScoreColumns:
        """Score 0."""
        zeros = np.zeros(len(slots))
        return ScoreColumns(zeros, zeros, zeros, zeros, np.zeros(len(slots), dtype=np.int64))

    def run_ahead(self, course: Course) -> NothingAhead:  # type: ignore[override]  # NoDetector keeps no block
        """Score 0."""
        zeros = np.zeros(len(course.buckets))
        return NothingAhead(zeros, zeros, zeros)


class Counter:
    """Takes the pipeline's place: counts each chunk and acks it at once."""

    def __init__(self, records: int, threshold: int) -> None:
        self.done = asyncio.Event()
        self.error: Exception | None = None
        self.rereads: Mapping[TP, tuple[int, int]] = {}
        self.crossed: dict[str, int] = {}
        self.stamps: list[Stamp] = []
        self._left = records
        self._threshold = threshold
        self._watches: list[Watch] = []
        self._jobs: dict[TP, FollowPartition] = {}

    async def take_over(self, partitions: set[TP], generation: int) -> Mapping[TP, int | None]:
        """Begin every partition at its first record."""
        for tp in sorted(partitions):
            policy = WatchPolicy("follows", "followers", Rule(self._threshold), "none", 0.0)
            self._watches.append(Watch(policy, NoDetector(DetectorPolicy())))
            self._jobs[tp] = FollowPartition(self._watches[-1])
        return dict.fromkeys(partitions)

    async def give_up(self, partitions: set[TP]) -> None:
        """Nothing is kept."""

    async def take(self, event: Any) -> None:
        """Decode and count a chunk; an error ends the run, as an agent would go on past it."""
        try:
            self._take(event)
        except Exception as error:  # an agent's is seen by nobody: `run` raises it
            self.error = error
            self.done.set()

    def _take(self, event: Any) -> None:
        if not self.stamps:
            self.stamps.append(stamp())
        message = event.message
        decoded = decode_follows(event.value, AT_MS_END, Limits())
        outcome = self._jobs[message.tp].take(decoded.chunk)
        for surge in outcome.surges:
            if surge.state == "opened":
                self.crossed[surge.creator_id] = surge.opened_ms
        message.acked = True
        self._left -= outcome.counted
        if not self._left:
            self.stamps.append(stamp())
            self.done.set()

    def report(self) -> None:
        """Answer from the counts themselves."""
        totals = [watch.counts.total for watch in self._watches]
        first, last = self.stamps
        answer(
            total=sum(int(column.sum()) for column in totals),
            largest=max(int(column.max(initial=0)) for column in totals),
            crossed=self.crossed,
            first=first,
            last=last,
        )


async def run(order: Order) -> None:
    """Read the topic once."""
    keep_freed_memory()
    settings = read_settings(order.environment)
    counter = Counter(order.records, order.threshold)
    with tempfile.TemporaryDirectory(dir=order.folder) as datadir:
        app = build_app(settings, cast("Pipeline", counter), datadir)
        await app.start()
        done = asyncio.create_task(counter.done.wait())
        await asyncio.wait(
            [done, asyncio.create_task(app.wait_until_stopped())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        try:
            if (error := app.crash_reason or counter.error) is not None:
                raise error
            counter.report()
        finally:
            await app.stop()


if __name__ == "__main__":
    uvloop.run(run(order_of(sys.argv)))
