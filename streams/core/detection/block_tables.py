"""Fading powers f_1**n, f_2**n, f_3**n, g**n and h**n for whole arrays of n, by table.

A table and one multiplication give the same bits wherever a key stands in a batch, and cost a
tenth of an exponential where the machine has no vector unit for it.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.policy import DetectorPolicy, PolicyError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LOW_BITS: Final = 10
_LOW: Final = 1 << _LOW_BITS
_HIGH: Final = 512
GAP_MAX: Final = _LOW * _HIGH - 1
"""Longest gap told apart, in buckets (five years); what a longer one would forget is gone."""
_DAYS_MAX: Final = 4095
_MEMORY_MAX: Final = 10_000
"""Longest memory in buckets of which nothing is left after `GAP_MAX`."""
_RATE_MEMORY: Final = "rate_memory_days"


class FadingPowers:
    """Powers of the four fading factors a bucket (three windows, rate) and of the one a day."""

    def __init__(self, policy: DetectorPolicy) -> None:
        memories = (*policy.window_buckets, policy.rate_memory_days * policy.buckets_per_day)
        if max(memories) > _MEMORY_MAX:
            name = "window_buckets" if max(policy.window_buckets) > _MEMORY_MAX else _RATE_MEMORY
            raise PolicyError(name, getattr(policy, name), "10,000 buckets at most in a block")
        self.factors: Floats = np.array([[*policy.window_factors, policy.rate_factor]]).T
        self._low = _table(memories, _LOW, 1)
        self._high = _table(memories, _HIGH, _LOW)
        self._scale: Floats = 1.0 / (1.0 - self.factors)
        self.day_factor = policy.day_factor
        self._days = np.array(
            [math.exp(-n / policy.tail_memory_days) for n in range(_DAYS_MAX + 1)]
        )

    def of_gap(self, buckets: Ints) -> Floats:
        """Rows f_1**n, f_2**n, f_3**n, g**n for each gap n >= 0 (longer than `GAP_MAX`: that)."""
        gap = np.minimum(buckets, GAP_MAX)
        low = self._low.take(gap & (_LOW - 1), axis=1)
        low *= self._high.take(gap >> _LOW_BITS, axis=1)
        return low

    def sums_of_age(self, buckets: Ints) -> Floats:
        """Rows 1 + f + ... + f**(n-1): fading sums of a constant 1 over n buckets."""
        powers = self.of_gap(buckets)
        np.subtract(1.0, powers, out=powers)
        powers *= self._scale
        return powers

    def of_days(self, days: Ints) -> Floats:
        """h**n for each number of days n >= 0."""
        return self._days.take(np.minimum(days, _DAYS_MAX))

    def sum_of_days(self, days: Ints) -> Floats:
        """1 + h + ... + h**(n-1): how many days a tail has learnt, fading."""
        return (1.0 - self.of_days(days)) / (1.0 - self.day_factor)


def _table(memories: tuple[float, ...], size: int, step: int) -> Floats:
    return np.array([[math.exp(-n * step / memory) for n in range(size)] for memory in memories])
