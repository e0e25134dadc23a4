"""Taking a partition over: claimed, read from the store, and its lane made."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from faust.types import TP

from streams.app.worker.asking import UNREADABLE, cannot_be_read, patiently
from streams.app.worker.lane import Lane, PipelinePolicy, Trade
from streams.app.worker.room import keys_known
from streams.core.counting.packing import StateDamaged
from streams.core.records.dead_letter_limit import DeadLetterCount
from streams.core.reports.surging import open_pages_of
from streams.edges.kafka.report_lot import lot_in_outbox
from streams.edges.logs.lines import logger_of, placed
from streams.edges.metrics.progress import Progress
from streams.edges.store import (
    NO_LIMIT,
    Fence,
    FencedOff,
    Held,
    KeyLimit,
    Place,
    StateLost,
    StateTorn,
    Store,
)

log = logger_of(__name__)


class Loading:
    """Makes lanes of what the store holds."""

    def __init__(
        self,
        trades: Mapping[str, Trade],
        store: Store,
        policy: PipelinePolicy,
        progress: Progress,
    ) -> None:
        self._trades = trades
        self._store = store
        self._policy = policy
        self._progress = progress

    async def load(
        self, tp: TP, generation: int, lanes: Mapping[TP, Lane], shared: int
    ) -> tuple[Lane, int | None]:
        """A partition's lane, and where reading goes on.

        ``lanes`` are those loaded before it, of ``shared`` in all.
        """
        with placed(tp.topic, tp.partition):
            return await self._load(tp, generation, lanes, shared)

    async def _load(
        self, tp: TP, generation: int, lanes: Mapping[TP, Lane], shared: int
    ) -> tuple[Lane, int | None]:
        place = Place(tp.topic, tp.partition)
        fence = await patiently(
            lambda: self._store.claim(place, generation), "connect", self._progress
        )
        try:
            job, held = await self._restored(place, lanes, shared)
            resend = {name: lot_in_outbox(stored) for name, stored in held.outbox.items()}
        except (StateTorn, StateDamaged) as damage:
            await self._recount(place, fence, damage)
            return await self._load(tp, generation, lanes, shared)
        except UNREADABLE as error:
            raise cannot_be_read(place, error) from error
        lane = Lane(
            tp=tp,
            fence=fence,
            job=job,
            dead_count=DeadLetterCount(self._policy.dead_letters),
            stored_offset=held.next_offset,
            next_offset=held.next_offset or 0,
            resend=resend,
            forgets_at=asyncio.get_running_loop().time() + self._policy.forget_seconds,
        )
        lane.took_over(held)
        self._progress.found_open(open_pages_of(job))
        return lane, held.next_offset

    async def _restored(
        self, place: Place, lanes: Mapping[TP, Lane], shared: int
    ) -> tuple[Any, Held]:
        job = self._trades[place.topic].build()
        most, limit = self._policy.keys_in_memory_max, NO_LIMIT
        if most is not None:  # a lane loaded late may find little room, but never less than a share
            room = max(most - keys_known(lanes.values()), most // max(1, shared))
            limit = KeyLimit(room, job.watched)
        held = await patiently(lambda: self._store.read(place, limit), "read", self._progress)
        job.restore(held.state)
        return job, held

    async def _recount(self, place: Place, fence: Fence, damage: Exception) -> None:
        """Drop a partition that cannot be trusted: what Kafka still has is then counted anew."""
        log.error(
            "partition_recounted",
            "{topic}[{partition}] is dropped and counted anew from the beginning of what Kafka "
            "still has: {damage}",
            topic=place.topic,
            partition=place.partition,
            damage=damage,
        )
        self._progress.recounts()
        with suppress(FencedOff, StateLost):  # whoever claimed it, or emptied it: look again
            await patiently(lambda: self._store.drop(place, fence), "write", self._progress)
