"""Newcomers by the age of their accounts: those younger than a day, among who came.

Of each node the usual share of young accounts is followed, and how far their number scatters more
than chance lets it. Far more of them than that share allows is a wave of newcomers, told when all
follows together are hardly more than usual: a share knows the hour, and a rush of everybody is
none. They are counted in groups of accounts (`comers.py`), and all groups but one must say so: one
account that follows hundreds, or one creator with thousands of new followers, is no wave.
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
ROWS: Final = ("age", "told", "young", "scatter")


class Evidence(NamedTuple):
    """How young who came is, by node: standard deviations, and whether a wave begins by it."""

    sigmas: Floats
    """In the last bucket, of all groups but one."""
    begins: NDArray[np.bool_]
    young: Floats
    """Young ones of the last bucket, and as many as are usual of so many comers."""
    usual: Floats

    @property
    def holds(self) -> NDArray[np.bool_]:
        """Where a wave that lasts goes on."""
        return self.sigmas >= _HOLDS


class Young:
    """Shares of all nodes after some bucket. `after` gives those after the next; nothing is set."""

    def __init__(self, rows: Floats, recent: tuple[Floats, ...] = ()) -> None:
        self._rows = rows
        self._recent = recent  # of the last buckets: comers told, then young ones by group

    @classmethod
    def of_none(cls) -> "Young":
        """Of no node yet."""
        return cls(np.zeros((len(ROWS), 0)))

    def ahead(self, counts: Floats | None) -> list[tuple["Young", Evidence]]:
        """What `after` gives of each of these buckets; nothing as long as no age is told."""
        if counts is None or not (self._rows.any() or counts.any()):
            return []
        found, young = list[tuple[Young, Evidence]](), self
        for of_one in counts:
            young, evidence = young.after(of_one)
            found.append((young, evidence))
        return found

    def accepted(self) -> "Young":
        """With what was young in the last bucket as usual: a wave that has lasted for long."""
        if not self._recent:
            return self
        rows, last = self._rows.copy(), self._recent[-1]
        share = last[1:].sum(axis=0) / np.maximum(last[0], 1.0)
        rows[2] = np.maximum(rows[2], share * rows[1])
        return Young(rows, self._recent)

    def after(self, counts: Floats) -> tuple["Young", Evidence]:
        """See and learn a bucket: rows of comers told and young ones by group, a column a node."""
        rows = self._wide(counts.shape[1])
        age, told_before, young_before, scatter = rows
        told, groups = counts[0], counts[1:]
        share = young_before + _SHARE_FIRST * _SHARE_WEIGHT
        share = share / (told_before + _SHARE_WEIGHT)
        spread = np.sqrt(1.0 + scatter)
        known, sums = age >= WARM_BUCKETS, counts
        last = _sigmas_of(share, spread, sums)
        begins = (last >= BARS[0]) & _are_many(sums)
        for bar, before in zip(BARS[1:], reversed(self._recent), strict=False):
            sums = sums + _widened(before, len(age))
            begins |= (_sigmas_of(share, spread, sums) >= bar) & _are_many(sums)
        begins &= known & (last >= _HOLDS)
        new = np.empty_like(rows)
        usual, young = share * told, groups.sum(axis=0)
        most = _ALLOWED * usual + 3.0 * spread * np.sqrt(usual) + 3.0
        new[0] = age + (told > 0)
        new[1] = told_before * _KEPT + told
        new[2] = young_before * _KEPT + np.minimum(young, most)
        gain = 1.0 / (np.minimum(age, _SCATTER_AGE_MAX) + _SCATTER_WEIGHT)
        square = np.minimum((young - usual) ** 2 / (usual + 0.5), _SCATTER_CLIP * (1.0 + scatter))
        learnt = scatter + gain * (np.maximum(square - 1.0, -1.0) - scatter)
        teaches = (told > 0) & (last < _QUIET)  # a wave that rises is no scatter
        new[3] = np.where(teaches, np.maximum(learnt, 0.0), scatter)
        recent = (*self._recent, counts)[-len(BARS) + 1 :]
        return Young(new, recent), Evidence(np.where(known, last, 0.0), begins, young, usual)

    def state(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {"rows": self._rows.tolist(), "recent": [one.tolist() for one in self._recent]}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Young":
        """Of a state."""
        rows = np.array(state["rows"], dtype=np.float64).reshape(len(ROWS), -1)
        recent = (np.array(one, dtype=np.float64).reshape(1 + GROUPS, -1)
                  for one in state["recent"])  # fmt: skip
        return cls(rows, tuple(recent))

    def _wide(self, size: int) -> Floats:
        return _widened(self._rows, size)


def _widened(rows: Floats, size: int) -> Floats:
    """With 0 of nodes met since."""
    room = np.zeros((len(rows), size - rows.shape[1]))
    return np.concatenate((rows, room), axis=1) if room.size else rows


def _are_many(counts: Floats) -> NDArray[np.bool_]:
    many: NDArray[np.bool_] = counts[1:].sum(axis=0) >= _YOUNG_MIN
    return many


def _sigmas_of(share: Floats, spread: Floats, counts: Floats) -> Floats:
    """How far young comers are above what is allowed: all together, and as their groups say.

    By Anscombe's transform (Biometrika 35, 1948), which makes a small count's noise 1.
    """
    allowed, young = _ALLOWED * share * counts[0], counts[1:]
    every = _above(young.sum(axis=0), allowed)
    low = np.sort(_above(young, allowed / GROUPS), axis=0)[_LEFT_OUT]
    sigmas: Floats = np.minimum(every, (low + _LOW) * np.sqrt(GROUPS)) / spread
    return sigmas


def _above(count: Floats, allowed: Floats) -> Floats:
    above: Floats = 2.0 * (np.sqrt(count + _CONTINUITY) - np.sqrt(allowed + _CONTINUITY))
    return above
