"""Ordinary posts of a running platform: short-lived, few comments each, a heavy tail.

A post's direct comments are Pareto from 1 on. Each comes after a delay that is as likely anywhere
in the first five minutes and then falls with the power 1.242 (the reaction times measured by Zhao
et al., SEISMIC, 2015), and brings half a comment on average in its turn, with the same delays.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DAY_MS: Final = 86_400_000
TAME_POWER: Final = 2.0
"""One post in 10,000 has a hundred direct comments."""
MIDDLE_POWER: Final = 1.8
"""One in 4,000."""
HEAVY_POWER: Final = 1.2
"""One in 250: as the tweets that are reshared at all (Goel et al., 2015)."""
_FLAT_S: Final = 300.0
_FALL: Final = 0.242
_REPLIES: Final = 0.5
_DIRECT_MAX: Final = 10_000
_LIFE_MS: Final = 2 * DAY_MS


class Crowd(NamedTuple):
    """Comments by time: number of the post, and milliseconds since the crowd began."""

    post: Ints
    at_ms: Ints


def crowd_of(seed: int, *, power: float, posts_a_day: int, days: int) -> Crowd:
    """Draw the comments that posts get in so many days, each at most two days after its post."""
    rng = np.random.default_rng([seed, 14])
    posts = int(rng.poisson(posts_a_day * days))
    born_ms = np.sort(rng.random(posts)) * days * DAY_MS
    direct = np.minimum(rng.random(posts) ** (-1.0 / power), _DIRECT_MAX).astype(np.int64)
    post = np.repeat(np.arange(posts), direct)
    at_ms = born_ms[post] + _delays_ms(rng, len(post))
    found: list[tuple[Ints, Floats]] = []
    while len(post):
        found.append((post, at_ms))
        replies = rng.poisson(_REPLIES, len(post))
        post, at_ms = np.repeat(post, replies), np.repeat(at_ms, replies)
        at_ms = at_ms + _delays_ms(rng, len(post))
    every, when = (np.concatenate(column) for column in zip(*found, strict=True))
    kept = (when < days * DAY_MS) & (when < born_ms[every] + _LIFE_MS)
    every, times = every[kept], when[kept].astype(np.int64)
    order = np.argsort(times, kind="stable")
    return Crowd(every[order], times[order])


def _delays_ms(rng: np.random.Generator, count: int) -> Floats:
    """Invert the delay's distribution: flat to five minutes, a power's tail after it."""
    drawn = rng.random(count)
    flat = _FALL / (1.0 + _FALL)
    past = np.maximum(drawn - flat, 0.0) / (1.0 - flat)
    after: Floats = np.where(drawn < flat, drawn / flat, (1.0 - past) ** (-1.0 / _FALL))
    return after * (_FLAT_S * 1000)
