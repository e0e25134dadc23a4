"""Room in memory: lanes let go of keys, and at last forget where those stood in the store."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from streams.app.worker.lane import Lane
from streams.core.records.texts import Ints
from streams.edges.metrics.progress import Progress

AskGone = Callable[[Mapping[str, Ints]], Awaitable[Mapping[str, Ints]]]
"""Says in which of these groups of each series the store holds nothing any more."""


def keys_known(lanes: Iterable[Lane]) -> int:
    """Keys in memory, of all these lanes."""
    return sum(lane.job.keys_known for lane in lanes)


def let_go(lane: Lane, known: int, keys_max: int | None, progress: Progress) -> None:
    """Let go of keys that have not been met for long, if all lanes' ``known`` are too many."""
    if keys_max is None or lane.reads_back or lane.lost or known <= keys_max:
        return
    progress.let_go(lane.tp.topic, lane.job.let_go(keys_max * lane.job.keys_known // known))


async def forget_gone(lane: Lane, interval_seconds: float, ask: AskGone) -> None:
    """Forget where keys stood that the store holds no more; every so many seconds.

    Nothing of the lane may be written or let go meanwhile: the answer would be of no moment.
    """
    now = asyncio.get_running_loop().time()
    if now < lane.forgets_at or lane.lost:
        return
    lane.forgets_at = now + interval_seconds
    held = {table.name: table.directory.groups() for table in lane.job.tables}
    gone = await ask({name: groups for name, groups in held.items() if len(groups)})
    for table in lane.job.tables:
        if len(groups := gone.get(table.name, ())):
            table.directory.forget(groups)
