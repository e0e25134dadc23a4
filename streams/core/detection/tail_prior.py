"""What is believed of a key's tail before its own days say it: the seam, and fixed constants.

`Pool` is the other body: it learns from all keys of a partition.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints
from streams.core.detection.policy import DetectorPolicy


class Prior(NamedTuple):
    """Mean daily maximum m0, share q0 of days above it and their mean excess e0, by key.

    Floats where all keys have the same. ``classes``: which keys are alike; None: all.
    """

    level: Floats | float
    share: Floats | float
    excess: Floats | float
    classes: Ints | None = None


class Ended(NamedTuple):
    """Key-days that ended, one entry a key: its last known day, and the empty ones after it.

    ``rarity`` is -ln N of the day's maximum; ``held`` the maximum as far as it teaches, ``level``
    what it was compared with. ``is_first``: of the key's life, which teaches no class of rate.
    """

    classes: Ints | None
    held: Floats
    level: Floats
    rarity: Floats
    days: Ints
    is_first: NDArray[np.bool_]

    def only(self, chosen: NDArray[np.bool_]) -> "Ended":
        """Of the chosen keys."""
        classes = None if self.classes is None else self.classes[chosen]
        held, level, rarity = (one[chosen] for one in (self.held, self.level, self.rarity))
        return Ended(classes, held, level, rarity, self.days[chosen], self.is_first[chosen])


class Risen(NamedTuple):
    """Maxima of keys in their first day that have risen, with the key's birth and age."""

    birth: Ints
    age: Ints
    before: Floats
    after: Floats

    def only(self, chosen: NDArray[np.bool_]) -> "Risen":
        """Of the chosen keys."""
        birth, age = self.birth[chosen], self.age[chosen]
        return Risen(birth, age, self.before[chosen], self.after[chosen])


class TailPrior(Protocol):
    """Answers for many keys at once. Only ``enter`` changes the answers."""

    def epochs_of(self, water: Ints) -> Ints:
        """See KeyDetector."""
        ...

    def enter(self, bucket: int) -> None:
        """See KeyDetector."""
        ...

    def packed(self) -> bytes | None:
        """State for the store."""
        ...

    def restore(self, state: bytes) -> None:
        """Put it back."""
        ...

    def of(self, rate: Floats) -> Prior:
        """Prior of keys with these rates in events a bucket."""
        ...

    def judged(self, rarity: Floats, prior: Prior, statistic: Floats, lived: "Lived") -> Floats:
        """-ln of the daily maxima to be expected, from what the key's own tail says it is."""
        ...

    @property
    def learns(self) -> bool:
        """Whether it wants to hear of births and days."""
        ...

    @property
    def seen_over_asked(self) -> float | None:
        """Alarms told over those that the budget allows, of some weeks; None: not known."""
        ...

    def take_alarms(self, count: int) -> None:
        """So many alarms were told."""
        ...

    def take_met(self, birth: Ints) -> None:
        """Keys were met for the first time."""
        ...

    def take_births(self, birth: Ints) -> None:
        """The buckets in which keys were first met closed.

        Not sooner: what a key that never comes again reached is never heard of, so among first
        days it would be one that reached nothing.
        """
        ...

    def take_risen(self, risen: Risen) -> None:
        """Maxima of first days rose."""
        ...

    def take_ended(self, ended: Ended) -> None:
        """Key-days ended."""
        ...


class Lived(NamedTuple):
    """When keys were first met, and how many buckets ago; arrays of equal length."""

    birth: Ints
    age: Ints


class ConstantPrior:
    """The policy's constants, for every key and for ever."""

    learns = False
    seen_over_asked = None

    def __init__(self, policy: DetectorPolicy) -> None:
        self._prior = Prior(
            policy.tail_prior_level, policy.tail_prior_share, policy.tail_prior_excess
        )

    def epochs_of(self, water: Ints) -> Ints:
        """See TailPrior: one for ever."""
        return np.zeros(len(water), np.int64)

    def enter(self, bucket: int) -> None:
        """See TailPrior."""

    def packed(self) -> None:
        """See TailPrior."""

    def restore(self, state: bytes) -> None:
        """See TailPrior."""

    def of(self, rate: Floats) -> Prior:
        """See TailPrior."""
        return self._prior

    def judged(self, rarity: Floats, prior: Prior, statistic: Floats, lived: Lived) -> Floats:
        """See TailPrior: as the key's own tail says."""
        return rarity

    def take_alarms(self, count: int) -> None:
        """Nothing is learnt."""

    def take_met(self, birth: Ints) -> None:
        """Nothing is learnt."""

    def take_births(self, birth: Ints) -> None:
        """Nothing is learnt."""

    def take_risen(self, risen: Risen) -> None:
        """Nothing is learnt."""

    def take_ended(self, ended: Ended) -> None:
        """Nothing is learnt."""
