"""Events of a bucket by cohort, held so that no key's own surge makes a wave.

A key counts at most as far as its own expectation allows: as a count teaches its rate, up to six
standard deviations and one. In a wave that is too little for everybody, so the sums are held for
several lifts of the expectation; which of them is right is known when the bucket closes. And a
large key weighs no more than one that gets two events a bucket.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints
from streams.core.detection.cohorts import COHORTS_MAX, UNKNOWN
from streams.core.records.comers import GROUPS, OLD, UNTOLD, YOUNG, Comers, accounts_in, cohorts_in

LIFTS: Final = (1.0, 3.0, 9.0, 27.0)
"""Lifts of the expectation for which counts are held."""
RAW: Final = len(LIFTS)
"""Row of the sums that has all events."""
FIRST: Final = RAW + 1
"""Row that has the keys of the bucket by the cohort of who came first: one a key."""
USUAL: Final = RAW + 2
"""Rows of what the bucket's keys usually get in a bucket like any other, and in this one."""
TOLD: Final = RAW + 4
"""Row that has of those in `FIRST` whose accounts' age is told."""
YOUNG_GROUPS: Final = slice(TOLD + 1, TOLD + 1 + GROUPS)
"""Rows of those whose accounts are young, by group."""
AGES: Final = 1 + GROUPS
"""Rows of ages, the last ones. They are stored and sent apart: earlier versions have none."""
ROWS: Final = TOLD + AGES
_FINE: Final = 1024.0
LIFT_ROOM: Final = 2.5
"""A sum that is more times its lift above the mean was held too low."""
_LIFT_ROOMS: Final = LIFT_ROOM * np.array(LIFTS)[:, None]
_WIDTH: Final = COHORTS_MAX + 1
_EVENTS_WHOLE: Final = 2.0
"""Events a bucket up to which a key counts whole."""
_PARTS: Final = 16.0
"""Sums are kept in whole sixteenths of an event: the order of adding leaves no trace."""
_BUSY_WEIGHT: Final = 2.0
_NOISE: Final = 6.0
_SPREAD: Final = 0.25


class Counted:
    """Keys' counts in buckets before and after records came, with what was expected of a bucket."""

    __slots__ = ("after", "before", "cohorts", "expected", "exposure")

    def __init__(
        self,
        cohorts: NDArray[np.uint8],
        before: Ints,
        after: Ints,
        expected: Floats,
        exposure: Floats | float = 1.0,
    ) -> None:
        self.cohorts, self.before, self.after, self.expected = cohorts, before, after, expected
        self.exposure = exposure

    def sums(self, places: Ints, size: int) -> Ints:
        """Rows of sums by place: ``LIFTS``, then all events; that of the first is empty."""
        # by the rate, not by the hour: what is held must not change as a rhythm becomes known
        expected, after = self.expected / self.exposure, self.after
        sums = np.zeros((ROWS, size), dtype=np.int64)
        self._add_usual(sums, places, expected)
        added = after - self.before
        sums[RAW] = np.bincount(places, added, size)
        large = (expected > _EVENTS_WHOLE) | (after > _held(expected, 1.0))
        rows = large.nonzero()[0]
        if not len(rows):
            sums[:RAW] = sums[RAW] * int(_PARTS)
            return sums
        at = places[rows]
        rest = sums[RAW] - np.bincount(at, added[rows], size).astype(np.int64)
        usual, before, now = expected[rows], self.before[rows], after[rows]
        weight = _PARTS * np.minimum(1.0, _EVENTS_WHOLE / usual)
        for row, lift in enumerate(LIFTS):
            most = _held(usual, lift)
            more = np.floor(weight * np.minimum(now, most))
            more -= np.floor(weight * np.minimum(before, most))
            sums[row] = rest * int(_PARTS) + np.bincount(at, more, size).astype(np.int64)
        return sums

    def _add_usual(self, sums: Ints, places: Ints, expected: Floats) -> None:
        """Add what is usual of keys that have their first events in the bucket."""
        new = ((self.before == 0) & (self.after > 0)).nonzero()[0]
        at, size, exposure = places[new], sums.shape[1], self.exposure
        if not isinstance(exposure, float):  # a float holds for every key
            exposure = exposure[new]
        rate = np.minimum(expected[new], _EVENTS_WHOLE) * _FINE
        for row, usual in ((USUAL, rate), (USUAL + 1, rate * exposure)):
            sums[row] = np.bincount(at, np.rint(usual), size)


def _held(expected: Floats, lift: float) -> Floats:
    lifted = lift * expected
    held: Floats = lifted + _NOISE * np.sqrt(lifted + _SPREAD * lifted * lifted) + 1.0
    return held


class WaveSums:
    """Sums of the buckets that have not closed yet, by cohort."""

    def __init__(self) -> None:
        self._of: dict[int, Ints] = {}

    @property
    def buckets(self) -> list[int]:
        """Buckets of which there are sums."""
        return list(self._of)

    def add(self, bucket: int, counted: Counted) -> None:
        """Add records of one bucket."""
        width = int(counted.cohorts.max()) + 1
        self._add(bucket, counted.sums(counted.cohorts.astype(np.int64), width))

    def add_first(self, bucket: int, comers: Comers) -> None:
        """Add who came first to keys in a bucket."""
        cohorts = cohorts_in(comers).astype(np.int64)
        sums = nothing(int(cohorts.max()) + 1)
        _add_first(sums, cohorts, comers)
        _leave_out_unknown(sums)
        self._add(bucket, sums)

    def add_all(self, sums: dict[int, Ints]) -> None:
        """Add sums of buckets."""
        for bucket, some in sums.items():
            self._add(bucket, some)

    def with_more(self, sums: dict[int, Ints], bucket: int) -> Ints:
        """Sums of a bucket with these added."""
        mine, more = self._of.get(bucket), sums.get(bucket)
        if mine is None or more is None:
            return mine if mine is not None else more if more is not None else nothing(0)
        return _sum_of(mine, more)

    def take(self, bucket: int) -> Ints:
        """Sums of a bucket that closes; they are forgotten."""
        found = self._of.pop(bucket, None)
        return nothing(0) if found is None else found

    def forget_from(self, bucket: int) -> None:
        """Forget the sums of this bucket and later ones."""
        self._of = {one: sums for one, sums in self._of.items() if one < bucket}

    def state(self) -> tuple[dict[str, list[list[int]]], dict[str, list[list[int]]]]:
        """Sums by bucket as plain numbers, and their ages where any is told.

        Cohorts without events at the end are left out.
        """
        trimmed = {str(bucket): _trimmed(sums) for bucket, sums in sorted(self._of.items())}
        sums = {bucket: one[:TOLD].tolist() for bucket, one in trimmed.items()}
        ages = {bucket: one[TOLD:] for bucket, one in trimmed.items()}
        return sums, {bucket: one.tolist() for bucket, one in ages.items() if one.any()}

    def restore(self, sums: dict[str, list[list[int]]], ages: dict[str, list[list[int]]]) -> None:
        """Put a state back."""
        for bucket, rows in sums.items():
            every = with_ages(rows, ages.get(bucket, []))
            self._of[int(bucket)] = np.array(every, dtype=np.int64).reshape(ROWS, -1)

    def _add(self, bucket: int, sums: Ints) -> None:
        mine = self._of.get(bucket)
        self._of[bucket] = sums if mine is None else _sum_of(mine, sums)


def sums_by_bucket(
    counted: Counted, buckets: Ints, first: Comers, first_buckets: Ints
) -> dict[int, Ints]:
    """Sums of each of the buckets, one a row of ``counted``; ``first`` is who came first."""
    if not len(buckets):
        return {}
    base = int(buckets.min())
    count = int(buckets.max()) - base + 1
    cohorts = cohorts_in(first).astype(np.int64)
    width = int(max(counted.cohorts.max(), cohorts.max(initial=0))) + 1
    places = (buckets - base) * width + counted.cohorts
    sums = counted.sums(places, count * width)
    if len(first):
        _add_first(sums, (first_buckets - base) * width + cohorts, first)
    sums = sums.reshape(ROWS, count, width)
    _leave_out_unknown(sums)
    some = np.flatnonzero(sums[RAW].any(axis=1)).tolist()
    return {base + row: np.ascontiguousarray(sums[:, row]) for row in some}


def _add_first(sums: Ints, places: Ints, comers: Comers) -> None:
    """Add who came first, at these places of the rows."""
    accounts, size = accounts_in(comers), sums.shape[1]
    if not accounts.any():
        sums[FIRST] = np.bincount(places, minlength=size)
        return
    by_age = np.bincount(
        accounts.astype(np.int64) * size + places, minlength=(YOUNG + GROUPS) * size
    )
    by_age = by_age.reshape(-1, size)
    sums[YOUNG_GROUPS] = by_age[YOUNG:]
    sums[TOLD] = by_age[OLD:].sum(axis=0)
    sums[FIRST] = by_age[UNTOLD] + sums[TOLD]


def _leave_out_unknown(sums: Ints) -> None:
    """Count nobody of whom nothing is told: in chunks that tell nothing they are not looked at."""
    sums[FIRST, ..., UNKNOWN] = 0
    sums[TOLD:, ..., UNKNOWN] = 0


def has_young(sums: Ints) -> bool:
    """Whether an account came that is young."""
    return bool(sums[YOUNG_GROUPS].any())


def with_ages(rows: list[list[int]], ages: list[list[int]]) -> list[list[int]]:
    """Rows of sums and of ages (none: nobody's is told, or an earlier version wrote them)."""
    return rows + (ages or [[0] * len(rows[0])] * AGES)


def added_up(first: dict[int, Ints], second: dict[int, Ints]) -> dict[int, Ints]:
    """Sums of both, by bucket."""
    both = {b: _sum_of(first[b], second[b]) for b in first.keys() & second.keys()}
    return {**first, **second, **both}


def nothing(width: int = _WIDTH) -> Ints:
    """Sums of a bucket without events, of so many cohorts."""
    return np.zeros((ROWS, width), dtype=np.int64)


def widened(sums: Ints, width: int) -> Ints:
    """The same with at least so many cohorts: sums have as many as had events."""
    if sums.shape[1] >= width:
        return sums
    wide = nothing(width)
    wide[:, : sums.shape[1]] = sums
    return wide


def are_equal(first: Ints, second: Ints) -> bool:
    """Whether both are of the same events."""
    if first is second:
        return True
    width = max(first.shape[1], second.shape[1])
    return np.array_equal(widened(first, width), widened(second, width))


def _sum_of(first: Ints, second: Ints) -> Ints:
    width = max(first.shape[1], second.shape[1])
    return widened(first, width) + widened(second, width)


def stacked(sums: Sequence[Ints], width: int) -> Ints:
    """Sums of some buckets, a layer a bucket, of so many cohorts."""
    layers = np.zeros((len(sums), ROWS, width), dtype=np.int64)
    for layer, of_one in zip(layers, sums, strict=True):
        layer[:, : of_one.shape[1]] = of_one[:, :width]
    return layers


def totals_of(sums: Ints, means: Floats) -> Floats:
    """Total of each cohort: held for the lift that it turned out to have.

    ``means`` are the cohorts' usual totals, 0 where not known.
    """
    size = len(means)
    held = sums[:RAW, :size] / _PARTS
    fits = (held <= _LIFT_ROOMS * means) | (means <= 0.0)
    fits[-1] = True
    chosen = np.argmax(fits, axis=0)
    totals: Floats = held[chosen, np.arange(size)]
    return totals


def plain_totals_of(layers: Ints) -> Floats:
    """Totals of each bucket's cohorts where none turns out to be lifted."""
    totals: Floats = layers[:, 0] / _PARTS
    return totals


def plain_count_of(layers: Ints, means: Floats) -> int:
    """How many buckets there are before one of which `totals_of` are not the plain ones.

    ``means`` has a row a bucket.
    """
    fits: Any = (plain_totals_of(layers) <= LIFT_ROOM * means) | (means <= 0.0)
    if fits.all():
        return len(layers)
    fits |= (layers[:, :1] == layers[:, :RAW]).all(axis=1)
    return int(np.argmin(np.append(fits.all(axis=1), False)))


def busy_of(layers: Ints) -> Floats | None:
    """How busy each bucket usually is for each cohort, by the keys that had events in it.

    Those of few keys are drawn toward all. None: all are like any other.
    """
    if np.array_equal(layers[:, USUAL], layers[:, USUAL + 1]):
        return None
    usual, now = layers[:, USUAL] / _FINE, layers[:, USUAL + 1] / _FINE
    every = (now.sum(axis=1) + _BUSY_WEIGHT) / (usual.sum(axis=1) + _BUSY_WEIGHT)
    busy: Floats = (now + _BUSY_WEIGHT * every[:, None]) / (usual + _BUSY_WEIGHT)
    return busy


def _trimmed(sums: Ints) -> Ints:
    some = np.flatnonzero(sums[RAW] + sums[FIRST])  # the others have no more
    return sums[:, : int(some[-1]) + 1 if len(some) else 0]
