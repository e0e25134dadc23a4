"""How rare an evidence is: the predictive tail of a key's own daily maxima, one key at a time.

Excesses of daily maxima over their mean are exponential with a scale that has a Gamma prior
worth k days. With few days the tail is heavy, so a rare budget has a far bar instead of a wrong
promise.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from streams.core.detection.policy import SCORE_LOG_MAX, DetectorPolicy


@dataclass(slots=True)
class TailState:
    """Fading sums over the days learnt: their number, maxima, and excesses over the mean."""

    days: float = 0.0
    """W"""
    level: float = 0.0
    """S: sum of the maxima."""
    share: float = 0.0
    """C: number of maxima above the mean."""
    excess: float = 0.0
    """V: sum of their excess."""


class Tail(NamedTuple):
    """Days w, shape c, scale v, level m, share q of days above it; prior included.

    A tuple: made once a score, it costs a third of a frozen dataclass.
    """

    days: float
    shape: float
    scale: float
    level: float
    share: float


def tail_of(state: TailState, policy: DetectorPolicy) -> Tail:
    """Predictive tail of a key: its own days and the prior's."""
    prior = policy.tail_prior_days
    days, sureness = prior + state.days, policy.tail_sureness
    above = prior * policy.tail_prior_share + state.share
    excess = prior * policy.tail_prior_share * policy.tail_prior_excess + state.excess
    return Tail(
        days=days,
        shape=sureness * above,
        scale=sureness * excess,
        level=(prior * policy.tail_prior_level + state.level) / days,
        share=above / days,
    )


def score_of(statistic: float, tail: Tail, policy: DetectorPolicy) -> float:
    """How many times rarer than the budget an evidence is: >= 1 alarms. At most about e**600.

    beta / N(s): N(s) = q (1 + (s-m)/v)**(-c) daily maxima as large are expected a day when s
    lies above the level m, else 1. An evidence of 0 scores beta here; no event scores 0.
    """
    if statistic <= tail.level:
        return policy.alarms_per_day
    rarity = tail.shape * math.log((statistic - tail.level) / tail.scale + 1.0)
    rarity += math.log(1.0 / tail.share)
    return policy.alarms_per_day * math.exp(min(rarity, SCORE_LOG_MAX))


def bar_of(tail: Tail, policy: DetectorPolicy) -> float:
    """Evidence above which (at which, when it is above the level) an alarm is due.

    >>> policy = DetectorPolicy(alarms_per_day=1 / 6, tail_prior_days=5.0)
    >>> tail = tail_of(TailState(), policy)
    >>> round(bar_of(tail, policy), 3)
    6.828
    >>> round(score_of(bar_of(tail, policy), tail, policy), 6)
    1.0
    """
    rarity = max(tail.share / policy.alarms_per_day, 1.0)
    return tail.level + tail.scale * (math.exp(math.log(rarity) / tail.shape) - 1.0)


def learnt(state: TailState, top: float, policy: DetectorPolicy) -> TailState:
    """State after a day whose largest evidence was ``top`` (0: a day without events).

    One artefact of counting must not ruin the tail for months: a day teaches at most
    ``learn_excess`` mean excesses.
    """
    tail = tail_of(state, policy)
    factor = policy.day_factor
    held = min(top, tail.level + policy.learn_excess * tail.scale / tail.shape)
    return TailState(
        days=factor * state.days + 1.0,
        level=factor * state.level + held,
        share=factor * state.share + (held > tail.level),
        excess=factor * state.excess + max(held - tail.level, 0.0),
    )


def faded(state: TailState, days: int, policy: DetectorPolicy) -> TailState:
    """State after days that taught nothing."""
    factor = policy.day_factor**days
    return TailState(
        factor * state.days, factor * state.level, factor * state.share, factor * state.excess
    )
