"""Evidence that a key's count is unusual, one key at a time: expectation, learning, statistic.

The formulas of the detector in plain Python; `block_maths` has them for thousands of keys.
Counts are Gamma-Poisson: y ~ Poisson(rate x exposure), rate ~ Gamma(a, b) with forgetting toward
its prior. A full bucket has exposure 1 on average.
"""

import math
from dataclasses import dataclass
from typing import Final

from streams.core.detection.policy import COUNT_MAX, PLAIN_EXPOSURE, DetectorPolicy

_ROOT_TWO: Final = math.sqrt(2.0)


@dataclass(slots=True)
class RateState:
    """What is known of a key's rate and of its last quarter hour, hour and six hours.

    ``count`` and ``buckets`` are a and b of the rate's Gamma, prior included; the windows are
    fading sums of counts (X_j) and of exposures (E_j) before the open bucket.
    """

    count: float
    buckets: float
    window_counts: tuple[float, float, float] = (0.0, 0.0, 0.0)
    window_exposures: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def newborn(cls, policy: DetectorPolicy) -> "RateState":
        """State of a key with no history: the prior."""
        return cls(policy.rate_prior_count, policy.rate_prior_buckets)

    @property
    def rate(self) -> float:
        """Expected events in a bucket of exposure 1; above 0."""
        return self.count / self.buckets


def held(count: float) -> float:
    """Hold a count to 0..`COUNT_MAX`; what is not a number is 0.

    >>> held(-3.0), held(float("nan")), held(7.0)
    (0.0, 0.0, 7.0)
    """
    if 0.0 < count < COUNT_MAX:
        return count
    return COUNT_MAX if count >= COUNT_MAX else 0.0


def deviance_of(count: float, expected: float, shape: float) -> float:
    """Half deviance (>= 0) of a negative binomial count with the given mean and shape.

    >>> round(deviance_of(9.0, 3.0, 2.0), 4)
    1.2145
    """
    shift = math.log((count + shape) / (expected + shape))
    if count <= 0.0:
        return max(-shape * shift, 0.0)
    return max(count * math.log(count / expected) - (count + shape) * shift, 0.0)


def statistic_of(
    state: RateState, count: float, policy: DetectorPolicy, exposure: float = PLAIN_EXPOSURE
) -> float:
    """Evidence s >= 0 of the open bucket with this count so far: 0 when it is at most usual.

    s = max(mean of the windows' signed root deviances, 0)**2; it never falls when the count
    grows. A count of 0 gives 0.
    """
    if count <= 0.0:
        return 0.0
    shape = 1.0 / (1.0 / state.count + policy.dispersion)
    rate, total, log = state.rate, 0.0, math.log
    windows = zip(policy.window_factors, state.window_counts, state.window_exposures, strict=True)
    for factor, events, exposed in windows:
        seen = factor * events + count
        expected = rate * (factor * exposed + exposure)
        # deviance_of, written out: two calls a window are a third of a score's cost.
        half = seen * log(seen / expected) - (seen + shape) * log(
            (seen + shape) / (expected + shape)
        )
        if half > 0.0:
            total += math.sqrt(half) if seen >= expected else -math.sqrt(half)
    total *= _ROOT_TWO
    return max(total / 3.0, 0.0) ** 2


def taught_of(count: float, expected: float, policy: DetectorPolicy) -> float:
    """Part of the count that teaches the rate: a surge must not become the usual.

    >>> taught_of(3.0, 4.0, DetectorPolicy())
    3.0
    >>> round(taught_of(50_000.0, 4.0, DetectorPolicy()), 2)
    21.97
    """
    spread = policy.dispersion + policy.learn_dispersion
    noise = policy.learn_noise * math.sqrt(expected + spread * expected * expected)
    return min(count, expected + noise + 1.0)


def learnt(
    state: RateState, count: float, policy: DetectorPolicy, exposure: float = PLAIN_EXPOSURE
) -> RateState:
    """State after a closed bucket with this count."""
    factor, (short, middle, long) = policy.rate_factor, policy.window_factors
    taught = taught_of(count, state.rate * exposure, policy)
    one, two, three = state.window_counts
    spent_one, spent_two, spent_three = state.window_exposures
    return RateState(
        factor * state.count + (1.0 - factor) * policy.rate_prior_count + taught,
        factor * state.buckets + (1.0 - factor) * policy.rate_prior_buckets + exposure,
        (short * one + count, middle * two + count, long * three + count),
        (
            short * spent_one + exposure,
            middle * spent_two + exposure,
            long * spent_three + exposure,
        ),
    )


def faded(state: RateState, buckets: int, policy: DetectorPolicy) -> RateState:
    """State after buckets of which nothing is known: buckets of no exposure, in closed form."""
    kept = policy.rate_factor**buckets
    short, middle, long = (factor**buckets for factor in policy.window_factors)
    one, two, three = state.window_counts
    spent_one, spent_two, spent_three = state.window_exposures
    return RateState(
        kept * state.count + (1.0 - kept) * policy.rate_prior_count,
        kept * state.buckets + (1.0 - kept) * policy.rate_prior_buckets,
        (short * one, middle * two, long * three),
        (short * spent_one, middle * spent_two, long * spent_three),
    )


def settled(usual: float, buckets: int, policy: DetectorPolicy) -> RateState:
    """State of a key that has had ``usual`` events in each of its first buckets."""
    short, middle, long = (
        (1.0 - factor**buckets) / (1.0 - factor) for factor in policy.window_factors
    )
    return RateState(
        policy.rate_prior_count + buckets * usual,
        policy.rate_prior_buckets + buckets,
        (short * usual, middle * usual, long * usual),
        (short, middle, long),
    )
