"""Evidence of keys that a wave lifts: what is far for the size that they have in it.

What a key's own days say of its evidence holds for its own size. A large key's days are wilder than
a small one's: what moves its rate for an hour is lost in chance where there are few events, and is
not where there are many. A key with twelve times its events is as wild as the keys that always have
so many, so its evidence counts as many times less as their far days lie farther out than those of
its own class.
"""

from typing import Final

import numpy as np

from streams.core.detection.block_maths import Outlook
from streams.core.detection.block_tables import Floats
from streams.core.detection.tail_prior import TailPrior

_FAR: Final = 6.0
"""Mean excesses of a day over the level that come about once in a thousand days."""


def size_of(
    faded: Floats, more: Floats, exposure: Floats | float, factor: Floats | float
) -> Floats:
    """How many times its size each key has in the wave, 1 or more.

    ``faded`` are the windows' exposures before the open bucket, three rows, the part ``more`` of
    them by the wave; ``exposure`` is the open bucket's without its ``factor``. With L the mean of
    the windows' lifts that is 1 + (L - 1) times the part of its events (L - 1) / L that the wave
    brings: one that brings a fifth of them leaves a key the size it has.
    """
    lifts = (faded + exposure * factor) / (faded - more + exposure)
    lift: Floats = (lifts[0] + lifts[1] + lifts[2]) / 3.0
    brought = np.maximum(lift - 1.0, 0.0)
    size: Floats = 1.0 + brought * brought / (1.0 + brought)
    return size


def wildness_of(prior: TailPrior, outlook: Outlook, size: Floats) -> Floats:
    """How many times farther out far days are of keys so many times as large; 1 or more."""
    own, lifted = prior.of(outlook.rate), prior.of(outlook.rate * size)
    far = (lifted.level + _FAR * lifted.excess) / (own.level + _FAR * own.excess)
    return np.maximum(far, np.ones(len(size)))
