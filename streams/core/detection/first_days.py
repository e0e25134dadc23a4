"""How wild first days are: of keys met in a partition's own first day, and of true newcomers.

A key's first day does not know its rate, so its evidence says as much about its size as about a
surge. So it is judged by what other first days reached, counted at edges half an octave apart: a
Dirichlet process with a base measure worth some days, and a Pareto tail past the counted ones.

A key that is born large is at its height in its first minutes; later evidence of a first day is
chance and bursts. So what the first twenty minutes reached is counted apart, and judges them. Of
short-lived keys that is what they brought in all in these minutes (`block_maths.put_early`).

Keys met in the partition's own first day are mostly old ones that it sees for the first time; they
say little about newcomers. Until these have been seen the policy's tail judges them, mixed with
a little of the others'. Short-lived keys are newcomers from the first: once some have been
seen at all the same tail judges those met as the partition began.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints
from streams.core.detection.policy import DetectorPolicy

EDGES: Final = 30
"""Edges 1, 1.4, 2, … of the largest evidence of a first day."""
KINDS: Final = 2
"""Rows: keys met as the partition began, newcomers."""
SPANS: Final = 2
"""Rows of each: the first twenty minutes, and the rest of the day."""
EARLY, LATE = 0, 1
EARLY_BUCKETS: Final = 4
SHAPE: Final = (KINDS, SPANS, 1 + EDGES)
"""Of the counts: first days, and how many of them reached each edge."""
_KNOTS: Final = 64
_HALF_OCTAVE: Final = 0.5 * math.log(2.0)
_EDGES: Final = 2.0 ** (0.5 * np.arange(EDGES))
_BASE_DAYS: Final = 100.0
"""How many first days a base measure is worth."""
_MET_LEVELS: Final = (1.0, 5.0)
_MET_POWERS: Final = (1.2, 1.6)
"""Base measure of keys met as the partition began, by span: (level / evidence) ** power."""
_MET_WEIGHTS: Final = (0.002, 0.05)
"""How far a newcomer is believed to be as those met are, by span, before any have been seen."""
_DAYS_MIN: Final = 500.0
"""From so many first days on their tail is their own; before, the base measure's."""
_COUNTED_MIN: Final = 5.0
_TAIL_SHARE: Final = 0.05
"""A tail begins where so few are left: what most reach says nothing about it."""
_TAIL_DAYS: Final = 8.0
"""How many exceedances the belief in a tail's power is worth."""

_EDGES_APART: Final = 3
"""By so many edges what short-lived keys brought is above the evidence of versions before."""
_MOVED_DAYS: Final = 5_000.0
"""How many first days counts that are carried over weigh at most: new days soon outweigh them."""


class _Span(NamedTuple):
    """What is believed of a span of newcomers' first days."""

    budget: float
    """Its share of a first day's budget."""
    share: float
    fall: float
    """No more than share / evidence ** fall of them reach an evidence."""
    power: float
    """Power of the tail."""


_SPANS: Final = (_Span(0.5, 0.1, 1.5, 2.0), _Span(0.5, math.inf, 0.0, 2.0))
"""Few are born large; of later hours the policy's tail says enough."""
_SPANS_SHORT_LIVED: Final = (_Span(0.7, 0.1, 1.5, 2.0), _Span(0.6, 1.0, 3.0, 4.0))
"""Such keys have their height early and only fade later; of their later hours too few are heard,
so both spans' budgets make more than one."""


class FirstDays:
    """Rarity of an evidence on a first day, as of counts in days."""

    def __init__(self, policy: DetectorPolicy) -> None:
        self._short_lived = policy.short_lived
        self._spans = _SPANS_SHORT_LIVED if policy.short_lived else _SPANS
        edges = np.array([2.0 ** (0.5 * n) for n in range(_KNOTS)])
        self._met_base = [
            np.minimum([(level / edge) ** power for edge in edges.tolist()], 1.0)
            for level, power in zip(_MET_LEVELS, _MET_POWERS, strict=True)
        ]
        self._policy_tail = tail = _policy_tail_of(edges, policy)
        self._new_base = [
            np.minimum(tail, [span.share * edge**-span.fall for edge in edges.tolist()])
            for span in self._spans
        ]
        self._rarity = np.zeros((KINDS, SPANS, _KNOTS))
        self._steps = np.zeros_like(self._rarity)
        self.settle(np.zeros(SHAPE))

    def settle(self, counts: Floats) -> None:
        """Put counts, in days, in force."""
        counts = np.minimum.accumulate(counts, axis=2)
        for place, span in enumerate(self._spans):
            base, weight = self._new_base[place], _MET_WEIGHTS[place]
            met_base = base if place == EARLY else self._policy_tail
            met = _exceeded_of(counts[0, place], self._met_base[place], span.power)
            mixed = (1.0 - weight) * base + weight * met
            if self._short_lived and counts[0, place, 0] > 0.0:
                met = _exceeded_of(counts[0, place], met_base, span.power)
            new = _exceeded_of(counts[1, place], mixed, span.power)
            for kind, exceeded in enumerate((met, new)):
                shares = (exceeded / span.budget).tolist()
                rarity = np.array([-math.log(max(share, 1e-300)) for share in shares])
                self._rarity[kind, place] = np.maximum.accumulate(np.maximum(rarity, 0.0))
        self._steps = np.diff(self._rarity, append=self._rarity[:, :, -1:])

    def rarity_of(self, statistic: Floats, kind: Ints, is_early: NDArray[np.bool_]) -> Floats:
        """-ln of the share of first days of the kind that reach this evidence."""
        place = np.maximum(statistic, 1.0)
        np.log2(place, out=place)
        place *= 2.0
        np.minimum(place, _KNOTS - 1.001, out=place)
        knot = place.astype(np.int64)
        place -= knot
        knot += (kind * SPANS + np.where(is_early, EARLY, LATE)) * _KNOTS
        place *= self._steps.take(knot)
        place += self._rarity.take(knot)
        place *= statistic >= 1.0  # below the first edge nothing is counted
        return place


def edge_of(statistic: Floats) -> Ints:
    """How many edges an evidence has reached."""
    return np.searchsorted(_EDGES, statistic, side="right").astype(np.int64)


def risen_counts_of(before: Floats, after: Floats, kind: Ints, is_early: NDArray[np.bool_]) -> Ints:
    """Counts to add when maxima rise from ``before`` to ``after``."""
    row = kind * SPANS + np.where(is_early, EARLY, LATE)
    size = KINDS * SPANS * (EDGES + 1)
    counts, minus = (
        np.bincount(row * (EDGES + 1) + edge_of(one), minlength=size) for one in (before, after)
    )
    counts -= minus
    risen = np.zeros(SHAPE, np.int64)
    np.cumsum(counts.reshape(SHAPE)[:, :, :EDGES], axis=2, out=risen[:, :, 1:])
    return risen


def early_by_total(counts: Floats) -> Floats:
    """Counts of first minutes, in days, by what keys brought: from those by the evidence of before.

    That was some 3 times less for what is looked at (ten to a thousand events): three edges. Below
    nothing is known; what is known is believed for as much as some thousand days.
    """
    days = counts[:, :1]
    first = 1 + _EDGES_APART
    moved = np.concatenate((counts[:, :first], counts[:, 1:-_EDGES_APART]), axis=1)
    share = np.maximum(counts[:, 1:2], 1.0) / np.maximum(days, 1.0)
    moved[:, 1:first] = days * np.minimum(share, 1.0) ** (np.arange(1, first) / first)
    moved *= np.minimum(_MOVED_DAYS / np.maximum(days, 1.0), 1.0)
    return moved


def _policy_tail_of(edges: Floats, policy: DetectorPolicy) -> Floats:
    """Share of days that reach each edge, by the policy's prior alone."""
    shape = policy.tail_prior_days * policy.tail_prior_share
    scale = shape * policy.tail_prior_excess
    above = np.maximum(edges - policy.tail_prior_level, 0.0) / scale
    tail: Floats = np.array(
        [policy.tail_prior_share * math.exp(-shape * math.log1p(one)) for one in above.tolist()]
    )
    return np.where(above > 0.0, tail, 1.0)


def _exceeded_of(counts: Floats, base: Floats, power: float) -> Floats:
    """Share of first days that reach each knot.

    Past the last well counted edge u: E[(x / u) ** -power] where the power has a Gamma prior,
    which N exceedances with the sum S of ln(x / u) make Gamma(a + N, b + S) (Pareto's conjugate).
    """
    days, reached = counts[0], counts[1:]
    share = _BASE_DAYS * base
    share[:EDGES] += reached
    share /= _BASE_DAYS + days
    counted = np.flatnonzero((reached >= _COUNTED_MIN) & (share[:EDGES] <= _TAIL_SHARE))
    if len(counted) and days >= _DAYS_MIN:
        last = int(counted[-1])
        many, more = float(reached[last]), float(reached[last + 1 :].sum())
        shape = _TAIL_DAYS + many
        # an exceedance lies half way to the next edge on average
        scale = _TAIL_DAYS / power + _HALF_OCTAVE * (more + 0.5 * many)
        steps = [_HALF_OCTAVE * n / scale for n in range(1, _KNOTS - last)]
        share[last + 1 :] = share[last] * np.array(
            [math.exp(-shape * math.log1p(step)) for step in steps]
        )
    return share
