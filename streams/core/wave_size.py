"""Evidence of keys that a wave lifts: what is far for the size that they have in it.

What a key's own days say of its evidence holds for its own size. A large key's days are wilder than
a small one's: what moves its rate for an hour is lost in chance where there are few events, and is
not where there are many. A key with twelve times its events is as wild as the keys that always have
so many, so its evidence counts as many times less as their far days lie farther out than those of
its own class.
"""

from typing import Final

import numpy as np

from streams.core.block_maths import Outlook
from streams.core.block_tables import Floats
from streams.core.tail_prior import TailPrior

_FAR: Final = 6.0
"""Mean excesses of a day over the level that come about once in a thousand days."""


def lift_of(
    faded: Floats, more: Floats, exposure: Floats | float, factor: Floats | float
) -> Floats:
    """How many times its size each key has in the wave, 1 or more: the mean of its windows.

    ``faded`` are the windows' exposures before the open bucket, three rows, the part ``more`` of
    them by the wave; ``exposure`` is the open bucket's without its ``factor``.
    """
    lift = (faded + exposure * factor) / (faded - more + exposure)
    mean: Floats = (lift[0] + lift[1] + lift[2]) / 3.0
    return np.maximum(mean, 1.0)


def wildness_of(prior: TailPrior, outlook: Outlook, lift: Floats) -> Floats | float:
    """How many times farther out far days of keys of the lifted size are; 1 or more."""
    own, lifted = prior.of(outlook.rate), prior.of(outlook.rate * lift)
    far = (lifted.level + _FAR * lifted.excess) / (own.level + _FAR * own.excess)
    return np.maximum(far, 1.0)
