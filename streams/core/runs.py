"""Stretches and runs: how the records of a chunk are laid out to be counted in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streams.core.texts import Ints, Texts


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of one chunk while the watermark stands in bucket ``water``.

    ``slots``, ``buckets`` and ``at_ms`` have one row a record, in order, without those that are
    late; ``indexes`` are the records' places in their chunk, whose creators are ``creator_ids``,
    and ``seen_ms`` the watermark at each.
    """

    slots: Ints
    buckets: Ints
    at_ms: Ints
    seen_ms: Ints
    indexes: Ints
    creator_ids: Texts
    water: int


class Runs(NamedTuple):
    """Records of distinct slots, each slot's in one bucket and next to each other in time.

    ``first`` records of each run were taken before these. ``in_open``: every run is of the bucket
    in which the watermark stands, so none is of a bucket before its slot's newest.
    """

    slots: Ints
    buckets: Ints
    counts: Ints
    round_no: int
    first: int = 0
    in_open: bool = False


def runs_of(stretch: Stretch) -> Iterator[Runs]:
    """Cut a stretch into rounds of runs: the nth run of each slot is in the nth round."""
    if not len(stretch.slots):
        return
    if (stretch.buckets == stretch.water).all():
        slots, counts = _distinct(stretch.slots)
        yield Runs(slots, np.full(len(slots), stretch.water), counts, 0, in_open=True)
        return
    order, begins, rounds = _cut(stretch)
    counts = np.diff(begins, append=len(order))
    slots, buckets = stretch.slots[order][begins], stretch.buckets[order][begins]
    for round_no in range(int(rounds.max()) + 1):
        here = rounds == round_no
        yield Runs(slots[here], buckets[here], counts[here], round_no)


def _distinct(slots: Ints) -> tuple[Ints, Ints]:
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


def rows_of_run(stretch: Stretch, slot: int, round_no: int) -> Ints:
    """Rows of the stretch that make up the slot's run of this round."""
    rows = np.flatnonzero(stretch.slots == slot)
    buckets = stretch.buckets[rows]
    run_nos = np.cumsum(np.diff(buckets, prepend=buckets[0]) != 0)
    run: Ints = rows[run_nos == round_no]
    return run
