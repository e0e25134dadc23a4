"""Newcomers by the age of their accounts: those younger than a day, among who came.

Of each node the usual share of young accounts is followed, and how far their number scatters more
than chance lets it. Far more of them than that share allows, and than their usual number, is a wave
of newcomers, told when all follows together are hardly more than usual: a share knows the hour, a
rush of everybody is none, and neither is an outage of others. They are counted in groups of
accounts (`comers.py`), and all groups but two must say so: one account that follows hundreds is no
wave, and as of each key only the first comer counts, neither is one creator with thousands.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats
from streams.core.records.comers import GROUPS

WARM_BUCKETS: Final = 36
"""Buckets in which ages were told before anything is said."""
BARS: Final = (5.0, 4.3, 3.7)
"""Standard deviations above what is allowed, by the sums of so many buckets."""
_YOUNG_MIN: Final = 10.0
"""So few of them are no wave, however rare they are."""
_HOLDS: Final = 2.0
"""While a wave lasts."""
_ALLOWED: Final = 2.0
"""Times the usual share that is no wave: a campaign, a morning of registrations."""
_SHARE_FIRST: Final = 0.02
_SHARE_WEIGHT: Final = 200.0
"""What is believed of a share before anybody came, and how many comers weigh as much."""
_KEPT: Final = float(np.exp(-1 / 576))
"""Two days."""
_IN_WAVE: Final = 1.1
"""Times the usual that is learnt of a bucket with far more."""
_SCATTER_WEIGHT: Final = 12.0
_SCATTER_AGE_MAX: Final = 288.0
_SCATTER_CLIP: Final = 25.0
_CONTINUITY: Final = 0.375
_LEFT_OUT: Final = 2
"""Groups that need not say so."""
_LOW: Final = 0.6
"""How far the lowest of groups that are left is below their mean by chance, at least."""
_QUIET: Final = 1.5
"""Standard deviations up to which a bucket teaches how far they scatter."""
_NEWLY_TOLD: Final = 1.5
"""Times the usual part of all comers: if so many tell their age, another producer tells it now."""
ROWS: Final = ("age", "buckets", "came", "told", "young", "scatter")
"""Buckets in which ages were told; then, fading, those, comers, of these told, of these young."""
COUNTS: Final = 2 + GROUPS
"""Rows of a bucket's counts: comers, those whose accounts' age is told, the young ones by group."""


class Evidence(NamedTuple):
    """How young who came is, by node: standard deviations, and whether a wave begins by it."""

    sigmas: Floats
    """In the last bucket, of all groups but two."""
    begins: NDArray[np.bool_]
    told: Floats
    """Comers of the last bucket who told their age, young ones, and as many as are usual."""
    young: Floats
    usual: Floats

    @property
    def holds(self) -> NDArray[np.bool_]:
        """Where a wave that lasts goes on."""
        return self.sigmas >= _HOLDS


class Young:
    """Shares of all nodes after some bucket. `after` gives those after the next; nothing is set."""

    def __init__(self, rows: Floats, recent: tuple[Floats, ...] = ()) -> None:
        self._rows, self._recent = rows, recent  # what the last buckets counted

    @classmethod
    def of_none(cls) -> "Young":
        """Of no node yet."""
        return cls(np.zeros((len(ROWS), 0)))

    def ahead(self, counts: Floats | None) -> list[tuple["Young", Evidence]]:
        """What `after` gives of each of these buckets in turn; nothing where no age is told."""
        if counts is None or not (self._rows.any() or counts[:, 1].any()):
            return []
        found, young = list[tuple[Young, Evidence]](), self
        for of_one in counts:
            young, evidence = young.after(of_one)
            found.append((young, evidence))
        return found

    def after(self, counts: Floats) -> tuple["Young", Evidence]:
        """See and learn a bucket: rows of `COUNTS`, a column a node."""
        came, told, groups = counts[0], counts[1], counts[2:]
        size, young = len(told), groups.sum(axis=0)
        if not (self._rows.any() or told.any()):  # as long as nothing is told nothing is kept
            return self, Evidence(np.zeros(size), np.zeros(size, np.bool_), told, young, young)
        rows = _widened(self._rows, size)
        age, buckets, came_before, told_before, young_before, scatter = rows
        share = young_before + _SHARE_FIRST * _SHARE_WEIGHT
        share = share / (told_before + _SHARE_WEIGHT)
        number, spread = young_before / np.maximum(buckets, 1.0), np.sqrt(1.0 + scatter)
        known, sums = age >= WARM_BUCKETS, counts
        last = _sigmas_of(share, number, sums) / spread
        begins = (last >= BARS[0]) & _are_many(sums)
        for more, before in enumerate(reversed(self._recent), start=1):
            sums = sums + _widened(before, size)
            sigmas = _sigmas_of(share, (1 + more) * number, sums) / spread
            begins |= (sigmas >= BARS[more]) & _are_many(sums)
        newly = told * came_before > _NEWLY_TOLD * came * told_before
        begins &= known & (last >= _HOLDS) & ~newly
        usual, after = share * told, np.empty_like(rows)
        # a wave must not become the usual; what another producer tells has to, at once
        most = _ALLOWED * usual + 3.0 * spread * np.sqrt(usual) + 3.0
        most = np.where(last >= _HOLDS, _IN_WAVE * usual + 0.5, most)
        most = np.where(newly, young, most)
        after[0] = age + (told > 0)
        for row, value in enumerate((told > 0, came, told, np.minimum(young, most)), start=1):
            after[row] = rows[row] * _KEPT + value
        after[5] = np.where(last < _QUIET, _scatter_after(rows, young, usual, told), scatter)
        evidence = Evidence(np.where(known, last, 0.0), begins, told, young, usual)
        return Young(after, (*self._recent, counts)[1 - len(BARS) :]), evidence

    def accepted(self, lifted: NDArray[np.bool_]) -> "Young":
        """With the last buckets' share as usual of lifted nodes: their wave has lasted for long."""
        sums = sum((_widened(one, len(lifted)) for one in self._recent), np.zeros((COUNTS, 1)))
        share = sums[2:].sum(axis=0) / np.maximum(sums[1], 1.0)
        rows = _widened(self._rows, len(lifted)).copy()
        rows[4] = np.where(lifted, np.maximum(rows[4], share * rows[3]), rows[4])
        return Young(rows, self._recent)

    def state(self) -> dict[str, Any]:
        """All of it as plain values, without nodes at the end of which no age was told."""
        last = int(np.append(self._rows[0].nonzero()[0], -1).max()) + 1
        recent = [_widened(one, last)[:, :last].tolist() for one in self._recent]
        return {"rows": self._rows[:, :last].tolist(), "recent": recent}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Young":
        """Of a state."""
        rows = np.array(state["rows"], dtype=np.float64).reshape(len(ROWS), -1)
        recent = (np.array(one, dtype=np.float64).reshape(COUNTS, -1) for one in state["recent"])
        return cls(rows, tuple(recent))


def _widened(rows: Floats, size: int) -> Floats:
    """With 0 of nodes met since."""
    room = np.zeros((len(rows), max(size - rows.shape[1], 0)))
    return np.concatenate((rows, room), axis=1) if room.size else rows


def _scatter_after(rows: Floats, young: Floats, usual: Floats, told: Floats) -> Floats:
    """How far young comers scatter more than by chance, after a bucket in which no wave rises."""
    age, scatter = rows[0], rows[5]
    gain = (told > 0) / (np.minimum(age, _SCATTER_AGE_MAX) + _SCATTER_WEIGHT)
    square = np.minimum((young - usual) ** 2 / (usual + 0.5), _SCATTER_CLIP * (1.0 + scatter))
    learnt: Floats = np.maximum(scatter + gain * (square - 1.0 - scatter), 0.0)
    return learnt


def _are_many(counts: Floats) -> NDArray[np.bool_]:
    many: NDArray[np.bool_] = counts[2:].sum(axis=0) >= _YOUNG_MIN
    return many


def _sigmas_of(share: Floats, number: Floats, counts: Floats) -> Floats:
    """How far young comers are above what is allowed: all together, and as their groups say.

    By Anscombe's transform (Biometrika 35, 1948), which makes a small count's noise 1. A part of
    the others may be away: then the share rises, and the usual ``number`` is allowed.
    """
    allowed, young = _ALLOWED * np.maximum(share * counts[1], number), counts[2:]
    every = _above(young.sum(axis=0), allowed)
    low = np.sort(_above(young, allowed / GROUPS), axis=0)[_LEFT_OUT]
    sigmas: Floats = np.minimum(every, (low + _LOW) * np.sqrt(GROUPS))
    return sigmas


def _above(count: Floats, allowed: Floats) -> Floats:
    above: Floats = 2.0 * (np.sqrt(count + _CONTINUITY) - np.sqrt(allowed + _CONTINUITY))
    return above
