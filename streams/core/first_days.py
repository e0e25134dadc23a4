"""How wild first days are: of keys met in a partition's own first day, and of true newcomers.

A key's first day does not know its rate, so its evidence says as much about its size as about a
surge. So it is judged by what other first days reached, counted at edges half an octave apart: a
Dirichlet process with a base measure worth some days, and a Pareto tail past the counted ones.

Keys met in the partition's own first day are mostly old ones that it sees for the first time; they
say little about newcomers. Until these have been seen the policy's tail judges them, mixed with
a two-hundredth of the others'. Short-lived keys are newcomers from the first: once some have been
seen at all the same tail judges those met as the partition began.
"""

import math
from typing import Final

import numpy as np

from streams.core.block_tables import Floats, Ints
from streams.core.detector_policy import DetectorPolicy

EDGES: Final = 30
"""Edges 1, 1.4, 2, … of the largest evidence of a first day."""
KINDS: Final = 2
"""Rows: keys met as the partition began, newcomers."""
SHAPE: Final = (KINDS, 1 + EDGES)
"""Of the counts: first days, and how many of them reached each edge."""
_KNOTS: Final = 64
_EDGES: Final = 2.0 ** (0.5 * np.arange(EDGES))
_MET_DAYS: Final = 100.0
_MET_LEVEL: Final = 5.0
_MET_POWER: Final = 1.6
_NEW_DAYS: Final = 100.0
_MET_WEIGHT: Final = 0.005
_DAYS_MIN: Final = 1000.0
"""From so many first days on their tail is their own; before, the base measure's."""
_UNSEEN: Final = 1.5
"""Days that have begun are counted before their keys have reached all that they will."""
_COUNTED_MIN: Final = 8.0
_TAIL_SHARE: Final = 0.05
"""A tail begins where so few are left: what most reach says nothing about it."""
_TAIL_DAYS: Final = 8.0
"""How many exceedances the belief in a tail of power 2 is worth."""


class FirstDays:
    """Rarity of an evidence on a first day, as of counts in days."""

    def __init__(self, policy: DetectorPolicy, *, short_lived: bool = False) -> None:
        self._short_lived = short_lived
        edges = np.array([2.0 ** (0.5 * n) for n in range(_KNOTS)])
        self._met_base = np.minimum((_MET_LEVEL / edges) ** _MET_POWER, 1.0)
        self._new_base = _policy_tail_of(edges, policy)
        self._rarity = np.zeros((KINDS, _KNOTS))
        self._steps = np.zeros_like(self._rarity)
        self.settle(np.zeros(SHAPE))

    def settle(self, counts: Floats) -> None:
        """Put counts, in days, in force."""
        met = _exceeded_of(counts[0], self._met_base, _MET_DAYS)
        base = (1.0 - _MET_WEIGHT) * self._new_base + _MET_WEIGHT * met
        if self._short_lived and counts[0, 0] > 0.0:
            met = _exceeded_of(counts[0], self._new_base, _NEW_DAYS)
        new = _exceeded_of(counts[1], base, _NEW_DAYS)
        for kind, exceeded in enumerate((met, new)):
            shares = (_UNSEEN * exceeded).tolist()
            rarity = np.array([-math.log(max(share, 1e-300)) for share in shares])
            self._rarity[kind] = np.maximum.accumulate(np.maximum(rarity, 0.0))
        self._steps = np.diff(self._rarity, append=self._rarity[:, -1:])

    def rarity_of(self, statistic: Floats, kind: Ints) -> Floats:
        """-ln of the share of first days of the kind that reach this evidence."""
        place = np.maximum(statistic, 1.0)
        np.log2(place, out=place)
        place *= 2.0
        np.minimum(place, _KNOTS - 1.001, out=place)
        knot = place.astype(np.int64)
        place -= knot
        knot += kind * _KNOTS
        place *= self._steps.take(knot)
        place += self._rarity.take(knot)
        return place


def edge_of(statistic: Floats) -> Ints:
    """How many edges an evidence has reached."""
    return np.searchsorted(_EDGES, statistic, side="right").astype(np.int64)


def risen_counts_of(before: Floats, after: Floats, kind: Ints) -> Ints:
    """Counts to add when maxima rise from ``before`` to ``after``."""
    first = kind * (EDGES + 1)
    counts, minus = (
        np.bincount(first + edge_of(one), minlength=KINDS * (EDGES + 1)) for one in (before, after)
    )
    counts -= minus
    passed = np.cumsum(counts.reshape(KINDS, EDGES + 1), axis=1)[:, :EDGES]
    return np.concatenate((np.zeros((KINDS, 1), np.int64), passed), axis=1)


def _policy_tail_of(edges: Floats, policy: DetectorPolicy) -> Floats:
    """Share of days that reach each edge, by the policy's prior alone."""
    shape = policy.tail_prior_days * policy.tail_prior_share
    scale = shape * policy.tail_prior_excess
    above = np.maximum(edges - policy.tail_prior_level, 0.0) / scale
    tail: Floats = np.array(
        [policy.tail_prior_share * math.exp(-shape * math.log1p(one)) for one in above.tolist()]
    )
    return np.where(above > 0.0, tail, 1.0)


def _exceeded_of(counts: Floats, base: Floats, base_days: float) -> Floats:
    """Share of first days that reach each knot."""
    days, reached = counts[0], counts[1:]
    share = base_days * base
    share[:EDGES] += reached
    share /= base_days + days
    counted = np.flatnonzero((reached >= _COUNTED_MIN) & (share[:EDGES] <= _TAIL_SHARE))
    if len(counted) and days >= _DAYS_MIN:
        last = int(counted[-1])
        stays = (reached[last + 1 :].sum() + 0.5 * _TAIL_DAYS) / (reached[last:].sum() + _TAIL_DAYS)
        steps = np.arange(1, _KNOTS - last)
        share[last + 1 :] = share[last] * np.array([stays**n for n in steps.tolist()])
    return share
