"""How much a number of cases allows to say: intervals of counts and of shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

NEVER: Final = math.inf
"""A delay of what was not told."""
_CASES_MIN: Final = 6
"""Of fewer a median has no interval of 95 %."""


def poisson_interval(count: int) -> tuple[float, float]:
    """Means that a count does not contradict at 95 %: exact (Garwood 1936).

    >>> tuple(round(end, 2) for end in poisson_interval(4))
    (1.09, 10.24)
    """
    top = 2.0 * count + 20.0

    def high(mean: float) -> float:
        return 0.025 - _at_most(count, mean)

    def low(mean: float) -> float:
        return 1.0 - _at_most(count - 1, mean) - 0.025

    return (_root_of(low, top) if count else 0.0), _root_of(high, top)


def share_interval(hits: int, cases: int) -> tuple[float, float]:
    """Shares that so many hits do not contradict at 95 % (Wilson 1927).

    >>> tuple(round(end, 2) for end in share_interval(49, 60))
    (0.7, 0.89)
    """
    if not cases:
        return 0.0, 1.0
    z, share = 1.959964, hits / cases
    middle = share + z * z / (2 * cases)
    width = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
    below = 1 + z * z / cases
    return max((middle - width) / below, 0.0), min((middle + width) / below, 1.0)


def ratio_words(count: int, asked: float) -> str:
    """Seen over asked with its interval, in words.

    >>> ratio_words(4, 8.0)
    '0.50 (0.14 to 1.28), 4 of 8'
    """
    if not asked:
        return "-"
    low, high = (end / asked for end in poisson_interval(count))
    return f"{count / asked:.2f} ({low:.2f} to {high:.2f}), {count:,} of {asked:,.3g}"


def share_words(hits: int, cases: int) -> str:
    """Share in % with its interval, in words.

    >>> share_words(49, 60)
    '82 % (70 to 89), 49 of 60'
    """
    if not cases:
        return "-"
    low, high = share_interval(hits, cases)
    return f"{hits / cases:.0%} ({100 * low:.0f} to {100 * high:.0f}), {hits} of {cases}".replace(
        "%", " %", 1
    )


def middle_of(delays: Sequence[float]) -> float:
    """Median of delays, those that are `NEVER` counted as the longest.

    >>> middle_of([5.0, NEVER, 10.0]), middle_of([5.0, NEVER])
    (10.0, inf)
    """
    if not delays:
        return NEVER
    ordered = sorted(delays)
    last = len(ordered) - 1
    low, high = ordered[last // 2], ordered[(last + 1) // 2]
    return low if low == high else (low + high) / 2


def middle_interval(delays: Sequence[float]) -> tuple[float, float]:
    """Medians that these delays do not contradict at 95 %, whatever their distribution.

    Between two order statistics, each with at most 2.5 % beyond it (the sign test, Thompson 1936);
    of fewer than six there are none: from nothing to never.

    >>> middle_interval([float(n) for n in range(1, 13)]), middle_interval([1.0] * 5)
    ((3.0, 10.0), (0.0, inf))
    """
    cases, beyond, place = len(delays), 0.0, -1
    while place < cases // 2:
        beyond += math.comb(cases, place + 1) / 2**cases
        if beyond > 0.025:
            break
        place += 1
    if place < 0:
        return 0.0, NEVER
    ordered = sorted(delays)
    return ordered[place], ordered[-1 - place]


def middle_words(delays: Sequence[float]) -> str:
    """Median with its interval, in words.

    >>> middle_words([float(n) for n in range(1, 13)]), middle_words([1.0, 2.0, NEVER])
    ('6.5 (3.0 to 10.0)', '2.0')
    """
    low, high = middle_interval(delays)
    middle = minutes_words(middle_of(delays))
    if len(delays) < _CASES_MIN:
        return middle
    return f"{middle} ({minutes_words(low)} to {minutes_words(high)})"


def minutes_words(minutes: float) -> str:
    """Minutes, or never.

    >>> minutes_words(7.25), minutes_words(NEVER)
    ('7.2', 'never')
    """
    return "never" if math.isinf(minutes) else f"{minutes:.1f}"


def _at_most(count: int, mean: float) -> float:
    """Chance of at most so many where so many are expected."""
    if count < 0:
        return 0.0
    if mean <= 0.0:
        return 1.0
    logs = [k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(count + 1)]
    return min(math.fsum(map(math.exp, logs)), 1.0)


def _root_of(rising: Callable[[float], float], top: float) -> float:
    """Where a rising function of (0, 2 * top) crosses 0."""
    low, high = 0.0, 2.0 * top
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
