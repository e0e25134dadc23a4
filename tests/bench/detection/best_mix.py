"""The most that any test of a post's languages reaches at a rate of false alarms.

Of all tests that tell a shift between two known shares as seldom falsely, Page's CUSUM is quickest
(Moustakides 1986). It knows what nobody does: both shares, and that nothing else ever happens. Its
run lengths are a Markov chain's (Brook and Evans 1972).
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEP: Final = 0.02
_SETTLED: Final = 1_000
"""Comments after which the chain has forgotten its begin."""


class Shares(NamedTuple):
    """Shares of a language before and after a shift, comments an hour."""

    before: float
    after: float
    per_hour: float


def best_share(shares: Shares, alarms_per_day: float, minutes: float) -> float:
    """Part of the shifts that can be told within so many minutes at that rate of false alarms.

    >>> shares = Shares(0.03, 0.4, 100.0)
    >>> round(best_share(shares, 1e-3, 15.0), 2), round(best_share(shares, 0.06, 15.0), 2)
    (0.83, 0.95)
    """
    wanted = 24.0 * shares.per_hour / alarms_per_day
    low, high = 1, 1_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _run_length(shares, middle) < wanted else (low, middle)
    chain = _chain(shares, shares.before, high)
    state = np.zeros(high)
    state[0] = 1.0
    for _ in range(_SETTLED):
        state = state @ chain
        state /= state.sum()
    chain = _chain(shares, shares.after, high)
    mean = shares.per_hour * minutes / 60.0
    told, weight = 0.0, math.exp(-mean)
    for count in range(1, int(mean + 12.0 * math.sqrt(mean))):
        state = state @ chain
        weight *= mean / count
        told += weight * (1.0 - float(state.sum()))
    return told


def _chain(shares: Shares, share: float, states: int) -> Floats:
    """Chances to go from each state to each; what is missing alarms."""
    up = round(math.log(shares.after / shares.before) / _STEP)
    down = round(math.log((1.0 - shares.before) / (1.0 - shares.after)) / _STEP)
    at = np.arange(states)
    chain = np.zeros((states, states))
    np.add.at(chain, (at, np.maximum(at - down, 0)), 1.0 - share)
    rises = at[at + up < states]
    chain[rises, rises + up] += share
    return chain


def _run_length(shares: Shares, states: int) -> float:
    """Mean comments until an alarm where nothing shifts."""
    chain: Any = np.eye(states) - _chain(shares, shares.before, states)
    lengths: Floats = np.linalg.solve(chain, np.ones(states))
    return float(lengths[0])
