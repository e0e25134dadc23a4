"""Stretches and runs: how the records of a chunk are laid out to be counted in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.records.comers import Comers
from streams.core.records.texts import Ints, Texts


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of one chunk while the watermark stands in bucket ``water``.

    ``slots``, ``buckets`` and ``at_ms`` have one row a record, in order, without those that are
    late; ``indexes`` are the records' places in their chunk, whose creators are ``creator_ids``,
    and ``seen_ms`` the watermark at each. ``comers``: who followed or commented, of all the
    chunk's records; None: not known.
    """

    slots: Ints
    buckets: Ints
    at_ms: Ints
    seen_ms: Ints
    indexes: Ints
    creator_ids: Texts
    water: int
    comers: Comers | None = None


class Runs(NamedTuple):
    """Records of distinct slots, each slot's in one bucket and next to each other in time.

    ``order`` has the stretch's rows by slot, each slot's in their order; those of run i begin
    there at ``begins[i]``. Both are None where every run is of the bucket in which the watermark
    stands, so that none is of a bucket before its slot's newest: they are seldom asked for.
    """

    slots: Ints
    buckets: Ints
    counts: Ints
    order: Ints | None = None
    begins: Ints | None = None

    @property
    def in_open(self) -> bool:
        """Whether every run is of the bucket in which the watermark stands."""
        return self.order is None

    def take(self, rows: Ints | NDArray[np.bool_]) -> "Runs":
        """Only these runs."""
        slots, buckets, counts, order, begins = self
        begins = None if begins is None else begins[rows]
        return Runs(slots[rows], buckets[rows], counts[rows], order, begins)

    def placed(self, stretch: Stretch) -> "Runs":
        """These runs of the stretch with their places."""
        if self.order is not None:
            return self
        order = np.argsort(stretch.slots, kind="stable")
        begins = np.searchsorted(stretch.slots[order], self.slots)
        return self._replace(order=order, begins=begins)


def runs_of(stretch: Stretch) -> Iterator[Runs]:
    """Cut a stretch into rounds of runs: the nth run of each slot is in the nth round."""
    if not len(stretch.slots):
        return
    if (stretch.buckets == stretch.water).all():
        slots, counts = distinct(stretch.slots)
        yield Runs(slots, np.full(len(slots), stretch.water), counts)
        return
    order, begins, rounds = _cut(stretch)
    counts = np.diff(begins, append=len(order))
    slots, buckets = stretch.slots[order][begins], stretch.buckets[order][begins]
    every = Runs(slots, buckets, counts, order, begins)
    for round_no in range(int(rounds.max()) + 1):
        yield every.take(rounds == round_no)


def distinct(slots: Ints) -> tuple[Ints, Ints]:
    """Each slot once, rising, and how often it stood there: np.unique at half its cost."""
    ordered = np.sort(slots)
    is_first = np.empty(len(ordered), dtype=np.bool_)
    is_first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    begins = is_first.nonzero()[0]
    counts = np.empty_like(begins)
    np.subtract(begins[1:], begins[:-1], out=counts[:-1])
    counts[-1] = len(ordered) - begins[-1]
    return ordered[begins], counts


def _cut(stretch: Stretch) -> tuple[Ints, Ints, Ints]:
    """Rows sorted by slot, where each run begins among them, and which round each run is of."""
    order = np.argsort(stretch.slots, kind="stable")
    slots, buckets = stretch.slots[order], stretch.buckets[order]
    new_slot = np.diff(slots, prepend=-1) != 0
    begins = np.flatnonzero(new_slot | (np.diff(buckets, prepend=-1) != 0))
    first = new_slot[begins]
    runs = np.arange(len(begins))
    rounds = runs - np.maximum.accumulate(np.where(first, runs, 0))
    return order, begins, rounds
