"""One count series of a named world: the one that shows what the world is about."""

from collections.abc import Iterator

from streams.core.time.buckets import BUCKET_MS
from streams.core.worlds.counts import CountWorld


def series_creator_of(world: CountWorld) -> int | None:
    """Creator whose counts are the series; None: the sum over the platform.

    Of those to whom something happens, the one with the highest usual rate.
    """
    if world.plan.series == "platform":
        return None
    columns = world.columns
    return int(max([*columns.surges.creator.tolist(), *columns.jumps.creator.tolist()]))


def series_of(world: CountWorld) -> Iterator[tuple[int, int]]:
    """Start in ms and count of each bucket, empty ones too."""
    creator = series_creator_of(world)
    for step in world.buckets():
        counts = step.counts if creator is None else step.counts[step.creators == creator]
        yield step.bucket * BUCKET_MS, int(counts.sum())
