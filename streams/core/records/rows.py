"""Rows of a chunk between which the partition's watermark stays in one bucket."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.counting.ahead import BUCKETS_MAX
from streams.core.counting.table import Table
from streams.core.records.comers import Comers
from streams.core.records.runs import Stretch
from streams.core.records.texts import Ints, Texts
from streams.core.surges.surge import Happening
from streams.core.surges.watch import Watch
from streams.core.time.buckets import BUCKET_MS


class Rows(NamedTuple):
    """Rows of a chunk that count while the watermark stands in bucket ``water``.

    ``comers`` are those of all the chunk's records (see `Stretch`).
    """

    indexes: Ints
    buckets: Ints
    at_ms: Ints
    seen_ms: Ints
    water: int
    comers: Comers | None = None

    def of(self, chosen: NDArray[np.bool_] | slice) -> "Rows":
        """Only the chosen rows."""
        indexes, buckets, at_ms, seen_ms, water, comers = self
        columns = (indexes[chosen], buckets[chosen], at_ms[chosen], seen_ms[chosen])
        return Rows(*columns, water, comers)

    def stretch(self, slots: Ints, creator_ids: Texts) -> Stretch:
        """These rows for one table; ``slots`` are those of the whole chunk in it."""
        indexes, buckets, at_ms, seen_ms, water, comers = self
        mine = slots[indexes]
        return Stretch(mine, buckets, at_ms, seen_ms, indexes, creator_ids, water, comers)


def slots_of_rows(table: Table, keys: Texts, rows: Ints) -> Ints:
    """Slots of these rows' keys in a column as long as the chunk; -1 in the other rows."""
    if len(rows) == len(keys):
        return table.slots_of(keys)
    column = np.full(len(keys), -1, dtype=np.int64)
    column[rows] = table.slots_of(keys.take(rows))
    return column


def parts_of(watches: Sequence[Watch], water: Ints, bounds: Sequence[int]) -> Iterator[slice]:
    """Cut rows where what keys share changes; it is changed before each part is given.

    ``water`` is the watermark's bucket at each row, which stays the same between ``bounds``. No
    part goes over more buckets than are run ahead at once.
    """
    detectors, cuts = [watch.detector for watch in watches], {len(water)}
    buckets = water[bounds[:-1]]
    for detector in detectors:
        detector.enter(int(water[0]))
        steps = np.diff(detector.epochs_of(buckets)).nonzero()[0] + 1
        cuts.update(bounds[step] for step in steps.tolist())
    begin = 0
    for end in sorted(cuts):
        if begin:
            for detector in detectors:
                detector.enter(int(water[begin]))
        while begin < end:
            first, begin = begin, int(np.searchsorted(water[:end], water[begin] + BUCKETS_MAX))
            yield slice(first, begin)


def nothing_left(rows: Rows) -> list[Happening]:
    """Count no rows: all were counted ahead, and nothing is told."""
    del rows
    return []


def count_of(
    watch: Watch, slots: Ints, ids: Texts, rows: Rows
) -> Callable[[Rows], list[Happening]]:
    """Have a watch run ahead over these rows, once, and give what counts those that are left."""
    comers = None if rows.comers is None else rows.comers[rows.indexes]
    water = rows.seen_ms // BUCKET_MS
    counted = watch.count_ahead(slots[rows.indexes], rows.buckets, water, comers)
    if counted is None:
        return lambda some: watch.count(some.stretch(slots, ids))
    if counted.all():
        return nothing_left
    left = np.zeros(len(slots), dtype=np.bool_)
    left[rows.indexes] = ~counted

    def count(some: Rows) -> list[Happening]:
        if not watch.is_ahead:
            return watch.count(some.stretch(slots, ids))
        here = left[some.indexes]
        return watch.count(some.of(here).stretch(slots, ids)) if here.any() else []

    return count
