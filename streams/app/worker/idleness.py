"""Says which partitions have had no record for long, so that no wave waits for them.

A wave is told when all partitions have closed the bucket, and one without records closes none.
Nothing of this is stored: who takes such a partition over finds the same, and says it again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from faust.types import TP

from streams.app.worker.lane import Announcer, Lane
from streams.edges.kafka.report_lot import report_lots_of

IDLE_SECONDS: Final = 300.0
"""As long as a bucket: on a platform that is large enough for a wave none is silent by chance."""


@dataclass(slots=True)
class _Silence:
    lane: Lane
    reached: int
    since: float
    is_told: bool = False


class Idleness:
    """One worker's look at its lanes."""

    def __init__(self, announcer: Announcer, seconds: Callable[[], float] = time.monotonic) -> None:
        self._announcer = announcer
        self._seconds = seconds
        self._silent: dict[TP, _Silence] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def look(
        self,
        lanes: Mapping[TP, Lane],
        fresh_end_offsets: Mapping[TP, int],
        positions: Mapping[TP, int | None],
    ) -> None:
        """Tell of lanes that have become idle; to be called every second.

        The offsets are those that Kafka told just now: of a partition that is not heard of nothing
        is known. ``positions`` are where reading began, for lanes that have taken nothing yet.
        """
        self._raise_failures()
        silent = {}
        for tp, lane in lanes.items():
            reached = lane.reached if lane.reached is not None else positions.get(tp)
            if reached is None or not _has_all(lane, reached, fresh_end_offsets.get(tp)):
                continue
            known = self._silent.get(tp)
            if known is None or known.lane is not lane or known.reached != reached:
                known = _Silence(lane, reached, self._seconds())
            silent[tp] = known
            if not known.is_told and self._seconds() - known.since >= IDLE_SECONDS:
                known.is_told = True
                self._tell(lane)
        self._silent = silent

    def _tell(self, lane: Lane) -> None:
        every = (waves.idle_report() for waves in lane.job.waves)
        reports = [one.of_partition(lane.tp.partition) for one in every if one is not None]
        if reports:
            self._tasks.add(asyncio.create_task(self._announcer.announce(report_lots_of(reports))))

    def _raise_failures(self) -> None:
        done = {task for task in self._tasks if task.done()}
        self._tasks -= done
        for task in done:
            task.result()


def _has_all(lane: Lane, reached: int, end_offset: int | None) -> bool:
    """Whether all records of a lane were counted, and all that came of it was announced."""
    is_busy = lane.waiting or lane.lost or lane.rereading is not None
    return not is_busy and end_offset is not None and end_offset <= reached
