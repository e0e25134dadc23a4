"""When the languages of a post or creator shift: the share of one against what is usual.

Of ``total`` comments of a window ``found`` are in a language that usually has the share ``usual``.
Comments of one language come in clusters, and what is usual is known of N comments only: the
window is a beta-binomial's with concentration C, 1 / C = 1 / 200 + 1 / N, and weighs as many as

    n' = n (C + 1) / (n + C)

independent comments, for its variance is that of a binomial times (C + n) / (C + 1). How much more
the creator's own buckets scattered than a binomial's divides it again (`dispersion_of`). With
p = found / total and q = usual the chance of such a share or a larger one is at most (Chernoff)

    exp(-n' KL(p, q)),   KL(p, q) = p ln(p / q) + (1 - p) ln((1 - p) / (1 - q)),

and by Bahadur and Rao (1960) it is about that over

    sqrt(2 pi n' p (1 - p)) (1 - q (1 - p) / (p (1 - q))),   where this is above 1.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOWS: Final = (3, 4, 6, 12)
"""Buckets of the windows that are looked at: a quarter of an hour to an hour."""
COUNT_MIN: Final = 6
"""Comments of the language in a window, at least."""
RISE_MIN: Final = 0.1
"""How much its share must rise at least."""
USUAL_MIN: Final = 60
"""What is usual is known of a creator who had so many comments in the 23 hours before."""
USUAL_BUCKETS_MIN: Final = 24
"""And had them in so many buckets: fewer do not say how they scatter."""
GROWTH_MIN: Final = 2.0
"""How many times its mean hour the language's comments of the last one must be at least: a share
also rises when the other languages go to sleep."""
BEFORE_HOURS: Final = 23.0
CREATOR_WEIGHT: Final = 20.0
"""Comments that a creator's usual share weighs against a post's own."""
_CLUSTERED: Final = 200.0
_CALM_BUCKETS: Final = 3.0
_OTHERS_BUCKETS: Final = 30.0
_LOOKS: Final = 120.0
"""Independent looks at a key in a day that all of them come to: four windows, at every comment in a
language of some dozens a day (docs/detection.md)."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Lift(NamedTuple):
    """What a wave adds to a language: comments for one usual comment, known of ``votes``."""

    more: float
    votes: float


NO_LIFT: Final = Lift(0.0, math.inf)
NO_LIFTS: Final = (NO_LIFT,) * len(WINDOWS)
"""One for each of `WINDOWS`."""


class Moved(NamedTuple):
    """Comments found in a language in the window of ``buckets``, and its usual share.

    ``known``: of how many comments the usual share is known; ``dispersion``: see there.
    ``lift``: what a wave adds to the usual.
    """

    buckets: int
    found: int
    total: int
    usual: float
    known: float
    dispersion: float = 1.0
    lift: Lift = NO_LIFT

    @property
    def share(self) -> float:
        """Share of the language in the window."""
        return self.found / self.total if self.total else 0.0

    @property
    def in_wave(self) -> float:
        """The share that is usual in the wave."""
        return float(lifted_share(self.usual, self.lift.more))

    @property
    def evidence(self) -> float:
        """Minus the logarithm of the chance, at most; 0 where there is too little to say."""
        p, q = self.share, self.in_wave
        if self.found < COUNT_MIN or p - q < RISE_MIN:
            return 0.0
        known = known_of(self.known, self.lift.votes)
        weight = self.total * float(_weight(self.total, known)) / self.dispersion
        if p == 1.0:
            return -weight * math.log(q)
        divergence = p * math.log(p / q) + (1.0 - p) * math.log((1.0 - p) / (1.0 - q))
        lattice = 1.0 - q * (1.0 - p) / (p * (1.0 - q))
        spread = math.sqrt(2.0 * math.pi * weight * p * (1.0 - p)) * lattice
        return weight * divergence + math.log(max(spread, 1.0))


NOTHING: Final = Moved(WINDOWS[-1], 0, 0, 1.0, 0.0)
"""Too little is known."""


def evidence_at_most(found: Ints, totals: Ints, usual: Floats, known: Floats) -> Floats:
    """No less than the evidence of each window, nor of one with as many or fewer found in it.

    The others of its total are the same, and its dispersion is 1 or more; row by row.
    """
    shares, weights = found / np.maximum(totals, 1), totals * _weight(totals, known)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = (1.0 - shares) * np.log((1.0 - shares) / (1.0 - usual))
        divergence = shares * np.log(shares / usual) + np.where(shares < 1.0, rest, 0.0)
    most = weights * divergence + 0.5 * np.log(np.maximum(0.5 * np.pi * weights, 1.0))
    return np.where((found >= COUNT_MIN) & (shares - usual >= RISE_MIN), most, 0.0)


def _weight(total: Any, known: Any) -> Any:
    """Part of a window's comments that count as independent."""
    concentration = 1.0 / (1.0 / _CLUSTERED + 1.0 / (known + 2.0))
    return (concentration + 1.0) / (total + concentration)


def dispersion_of(
    buckets: Iterable[tuple[int, int]],
    usual: float,
    mean_of: Callable[[int], float] = lambda _: 1.0,
) -> float:
    """How much more a language's comments scatter from bucket to bucket than at random; 1 or more.

    ``buckets``: comments found in the language and in all, of those with any. Pearson's statistic
    over its degrees of freedom (McCullagh and Nelder 1989, 4.5), of buckets that weigh the less the
    more their own term scatters: v / (v + 1/2) with v the variance of a binomial, for one of few
    events says little. Drawn toward 1 as if by three buckets more, or toward ``mean_of`` so many
    comments as others have it by thirty, whichever is more: a creator may scatter more than others,
    and of one with few comments in the language her own buckets cannot say that she does not.

    >>> calm, threads = [(1, 2), (2, 4)], [(6, 6), (0, 6)] * 9
    >>> dispersion_of(calm, 0.5), round(dispersion_of(threads, 0.5), 2)
    (1.0, 5.09)
    >>> round(dispersion_of([(0, 5)] * 9, 0.02, lambda _: 5.0), 2)
    4.77
    """
    pearson = degrees = others = 0.0
    for found, total in buckets:
        variance = total * usual * (1.0 - usual)
        weight = variance / (variance + 0.5)
        pearson += (found - total * usual) ** 2 / (variance + 0.5)
        degrees += weight
        others += weight * mean_of(total)
    mean = others / degrees if degrees else 1.0
    alone = (pearson + _CALM_BUCKETS) / (degrees + _CALM_BUCKETS)
    as_others = (pearson + _OTHERS_BUCKETS * mean) / (degrees + _OTHERS_BUCKETS)
    return max(alone, as_others, 1.0)


def lifted_share(share: Any, more: Any) -> Any:
    """A language's share when ``more`` comments in it come for one usual comment.

    >>> lifted_share(0.25, 0.5)
    0.5
    """
    return (share + more) / (1.0 + more)


def known_of(known: Any, votes: Any) -> Any:
    """Of how many comments a usual share is known that so many votes have lifted."""
    return 1.0 / (1.0 / (known + 1.0) + 1.0 / votes) - 1.0


def usual_share(found: Any, total: Any, prior: Any = 0.5, weight: float = 2.0) -> Any:
    """Usual share of a language that ``found`` of ``total`` comments were in; numbers or arrays.

    ``weight`` are the comments that the share ``prior`` counts for; as it is, Laplace's rule.

    >>> usual_share(0, 98), round(usual_share(57, 1900), 3)
    (0.01, 0.03)
    """
    return (found + weight * prior) / (total + weight)


def post_share(found: Any, total: Any, usual: tuple[Any, Any]) -> Any:
    """Usual share of a language on a post that ``found`` of ``total`` comments were in.

    ``usual`` are those of its creator: in the language and in all, the post's among them. That the
    language never came is said once, though post and creator both say it: the share is no less than
    if all of the creator's comments had been on the post.

    >>> round(float(post_share(0, 0, (3, 98))), 3), round(float(post_share(0, 98, (0, 98))), 3)
    (0.04, 0.01)
    """
    drawn = usual_share(found, total, usual_share(*usual), CREATOR_WEIGHT)
    return np.maximum(drawn, usual_share(found, usual[1]))


def has_grown(hour: Any, before: Any) -> Any:
    """Whether a language has more comments in an hour than in those of the day before it."""
    return hour * BEFORE_HOURS >= GROWTH_MIN * before


@dataclass(frozen=True, slots=True)
class MixPolicy:
    """How seldom a shift of languages may be told falsely: ``alarms_per_day`` of a key."""

    alarms_per_day: float

    @property
    def bar(self) -> float:
        """Evidence from which on a shift is told."""
        return math.log(_LOOKS / self.alarms_per_day)

    def score(self, evidence: float) -> float:
        """From 1 on a shift is told: how much rarer than asked it is."""
        return math.exp(min(evidence - self.bar, 700.0))
