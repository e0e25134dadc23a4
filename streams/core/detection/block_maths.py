"""The detector's formulas for many keys at once: evidence, tail and learning, in numpy.

The same formulas as `evidence` and `tail`, which show them one key at a time (all but
`put_early`). Arrays are fresh and contiguous, so a key's result does not depend on its place in a
batch. float64 throughout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import FadingPowers, Floats, Ints
from streams.core.detection.first_days import EARLY_BUCKETS
from streams.core.detection.policy import COUNT_MAX, SCORE_LOG_MAX, DetectorPolicy
from streams.core.detection.tail_prior import Ended, Prior

_LASTING = 1.6
"""How many times the fastest window's excess the middle one has of what is no burst: at an even
rate, after an hour; 2.8 in the end."""
_EARLY_EVENTS = 2.0
"""So many events of a short-lived key's first minutes are evidence of 1, the first edge counted."""
_TINY = 1e-300
"""Stands for a window of no events: X ln X is 0 there and no logarithm is infinite."""


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """What the detector says of some keys' open buckets, one entry a key.

    ``score``: how many times rarer than the budget; >= 1 alarms, 0 where the count is 0.
    ``statistic``: the evidence (>= 0) behind it. ``expected``: events a whole bucket would
    usually bring (> 0). ``prior_weight``: share (0..1) of that which is prior, not history.
    ``history_buckets``: how many buckets the key has been known.
    """

    score: Floats
    expected: Floats
    prior_weight: Floats
    statistic: Floats
    history_buckets: Ints
    in_wave: Floats | None = None
    """``expected`` times the wave's factor; None: no wave, and none in the last day."""
    exposure: Floats | float = 1.0
    """How busy the buckets usually are."""
    is_brief: NDArray[np.bool_] | None = None
    """Whether a score of 1 or more comes of a burst: of the last half hour mostly; None: none."""

    def only(self, chosen: NDArray[np.bool_]) -> "ScoreColumns":
        """Of the chosen keys."""
        score, expected = self.score[chosen], self.expected[chosen]
        in_wave, exposure, is_brief = self.in_wave, self.exposure, self.is_brief
        return ScoreColumns(
            score,
            expected,
            self.prior_weight[chosen],
            self.statistic[chosen],
            self.history_buckets[chosen],
            None if in_wave is None else in_wave[chosen],
            exposure if isinstance(exposure, float) else exposure[chosen],
            None if is_brief is None else is_brief[chosen],
        )


@dataclass(frozen=True, slots=True)
class Outlook:
    """What was usual just before the open bucket: rate, its shape and the windows' sums."""

    rate: Floats
    """Events a bucket of exposure 1 (r = a / b)."""
    shape: Floats
    """Shape of the negative binomial (A), at most 1 / dispersion."""
    faded_exposure: Floats
    """Three rows: f_j times the exposure before the open bucket."""

    def only(self, rows: Ints) -> "Outlook":
        """Of these keys."""
        return Outlook(self.rate[rows], self.shape[rows], self.faded_exposure[:, rows])


def shape_of(rate_count: Floats, policy: DetectorPolicy) -> Floats:
    """Shape A = 1 / (1/a + phi) of the negative binomial of a key's counts."""
    return 1.0 / (1.0 / rate_count + policy.dispersion)


def statistic_of(window_counts: Floats, exposure: Floats | float, outlook: Outlook) -> Floats:
    """Evidence s = max(mean signed root deviance, 0)**2 of three windows (three rows each)."""
    size = window_counts.shape[1]
    counts = np.maximum(window_counts, _TINY)
    expected = outlook.rate * (outlook.faded_exposure + exposure)
    logs = np.empty((6, size))
    np.divide(counts, expected, out=logs[:3])
    shifted = counts + outlook.shape
    np.divide(shifted, expected + outlook.shape, out=logs[3:])
    np.log(logs, out=logs)
    deviance = counts * logs[:3]
    shifted *= logs[3:]
    deviance -= shifted
    deviance *= 2.0
    np.maximum(deviance, 0.0, out=deviance)
    np.sqrt(deviance, out=deviance)
    np.copysign(deviance, counts - expected, out=deviance)
    mean: Floats = deviance[0]
    mean += deviance[1]
    mean += deviance[2]
    mean /= 3.0
    np.maximum(mean, 0.0, out=mean)
    mean *= mean
    return mean


def put_early(
    statistic: Floats,
    window_counts: Floats,
    exposure: Floats | float,
    outlook: Outlook,
    age: Ints,
    powers: FadingPowers,
) -> None:
    """Set ``statistic``, in place, to what short-lived keys brought in all in their first minutes.

    Columns have one entry a key, ``window_counts`` three rows that hold the open bucket;
    ``exposure`` is the open bucket's, with its wave; ``age`` in buckets. Evidence is the mean of
    the three windows, each over how many times busier than plain buckets its own were: fast is a
    little more than slow. How it is spread over the first buckets says nothing, for a key begins
    anywhere in a bucket. A formula of our own (docs/detection.md); only `DetectorBlock` has it.
    """
    rows = (age < EARLY_BUCKETS).nonzero()[0]
    if not len(rows):
        return
    plain = powers.sums_of_age(age[rows])[:3]
    plain *= powers.factors[:3]
    plain += 1.0
    busy = outlook.faded_exposure[:, rows] + np.broadcast_to(exposure, age.shape)[rows]
    brought = window_counts[:, rows] * plain
    brought /= busy
    mean = brought[0] + brought[1]
    mean += brought[2]
    mean /= 3.0 * _EARLY_EVENTS
    statistic[rows] = mean


def are_brief(faded_counts: Floats, outlook: Outlook) -> NDArray[np.bool_]:
    """Whether what the windows hold before the open bucket is a burst, or nothing unusual.

    The open bucket has no part in it: one more event must not make a burst of a surge.
    """
    fast, middle, _ = faded_counts - outlook.rate * outlook.faded_exposure
    brief: NDArray[np.bool_] = (middle <= 0.0) | (middle < _LASTING * fast)
    return brief


@dataclass(frozen=True, slots=True)
class TailColumns:
    """Predictive tail of the daily maxima: shape c, scale v, level m, share q of days above it."""

    shape: Floats
    scale: Floats
    level: Floats
    share: Floats


def tail_of(sums: Floats, learnt_days: Floats, prior: Prior, policy: DetectorPolicy) -> TailColumns:
    """Tail from the rows S, C, V and the fading number of learnt days W, with its prior.

    How sure the prior is of its mean excess (its shape) is the policy's: where few days are above
    the level, one is still not taken to be as wild as can be.
    """
    worth = policy.tail_prior_days
    days, shape = worth + learnt_days, worth * policy.tail_prior_share
    return TailColumns(
        shape=policy.tail_sureness * (shape + sums[1]),
        scale=policy.tail_sureness * (shape * prior.excess + sums[2]),
        level=(worth * prior.level + sums[0]) / days,
        share=(worth * prior.share + sums[1]) / days,
    )


def tail_at(
    sums: Floats, age: Ints, prior: Prior, powers: FadingPowers, policy: DetectorPolicy
) -> TailColumns:
    """Tail of keys of this age in buckets, whose first day taught nothing."""
    learnt = np.maximum(age // policy.buckets_per_day - 1, 0)
    return tail_of(sums, powers.sum_of_days(learnt), prior, policy)


def rarity_of(statistic: Floats, tail: TailColumns) -> Floats:
    """-ln N(s) >= 0: N = q (1 + (s-m)/v)**(-c) above the level m, else 1."""
    excess = statistic - tail.level
    above = excess > 0.0
    np.maximum(excess, 0.0, out=excess)
    excess /= tail.scale
    excess += 1.0
    np.log(excess, out=excess)
    excess *= tail.shape
    excess -= np.log(tail.share)
    excess *= above
    return excess


def score_of(rarity: Floats, policy: DetectorPolicy) -> Floats:
    """Score beta / N of a rarity -ln N, which is overwritten."""
    np.minimum(rarity, SCORE_LOG_MAX, out=rarity)
    np.exp(rarity, out=rarity)
    rarity *= policy.alarms_per_day
    return rarity


@dataclass(frozen=True, slots=True)
class DaysPast:
    """Key-days that ended with maximum ``top``, at ``age`` buckets; ``ended`` days in all.

    All but the first of them are empty.
    """

    top: Floats
    age: Ints
    ended: Ints


def tail_after_days(
    sums: Floats, past: DaysPast, prior: Prior, powers: FadingPowers, policy: DetectorPolicy
) -> tuple[Floats, Ended]:
    """Rows S, C, V after days that ended, and what they teach others.

    The first day does not know the rate: it teaches nothing.
    """
    tail = tail_at(sums, past.age, prior, powers, policy)
    limit = tail.level + policy.learn_excess * tail.scale / tail.shape
    held = np.minimum(past.top, limit)
    learnt = powers.day_factor * sums
    learnt[0] += held
    learnt[1] += held > tail.level
    learnt[2] += np.maximum(held - tail.level, 0.0)
    first = past.age < policy.buckets_per_day
    learnt[:, first] = sums[:, first]
    learnt *= powers.of_days(past.ended - 1)
    rarity = rarity_of(past.top, tail)
    return learnt, Ended(prior.classes, held, tail.level, rarity, past.ended, first)


def taught_of(counts: Floats, expected: Floats, policy: DetectorPolicy) -> Floats:
    """Part of the count that teaches the rate: a surge must not become the usual."""
    spread = policy.dispersion + policy.learn_dispersion
    limit = policy.learn_noise * np.sqrt(expected + spread * expected * expected)
    limit += expected
    limit += 1.0
    return np.minimum(counts, limit)


def as_counts(counts: NDArray[np.int64]) -> Floats:
    """Give counts as fresh contiguous float64, held to 0..`COUNT_MAX`."""
    return np.clip(np.asarray(counts, dtype=np.float64), 0.0, COUNT_MAX)
